"""RabbitMQ: is it there, and would its queue as it is lose, refuse or hold up messages?"""

from collections.abc import Iterator, Mapping

from consumer import topology
from consumer.amqp import DELIVERY_LIMIT
from consumer.disposition import CLAIMS_MAX
from consumer.errors import BrokerAway
from consumer.settings import MIB
from consumer.topology import Broker, Queue, Value
from supervisor.cli.checks.finding import Finding, fail, ok, warn
from supervisor.cli.settings import Settings

SUBJECT, QUEUE, DEAD = "broker", "queue", "dead queue"
QUORUM_SINCE = (3, 8)
DEFAULT_DELIVERY_LIMIT = 20
"""Of a quorum queue that names none, from RabbitMQ 4 on; before there was no limit."""
DEFAULT_MESSAGE_BYTES_4, DEFAULT_MESSAGE_BYTES_3 = 16 * MIB, 128 * MIB
DEFAULT_CONSUMER_TIMEOUT_S = 1800.0
POLICIES = "policies were not looked at (rabbitmqctl list_queues name policy effective_policy_definition)"


def look(given: Settings) -> Iterator[Finding]:
    """Ask the broker, and judge what it says."""
    try:
        broker = topology.survey(given.consumer.broker)
    except BrokerAway as away:
        yield fail(
            SUBJECT, away.reason, "start RabbitMQ, or correct RABBITMQ_URL (host, user, password, vhost)"
        )
        return
    yield from judged(broker, given)


def judged(broker: Broker, given: Settings) -> Iterator[Finding]:
    """Judge the broker and both queues."""
    names = given.consumer.broker
    yield _server(broker, names.queue)
    yield _size(broker, given.consumer.max_message_bytes)
    if broker.queue is None:
        yield ok(QUEUE, f"{names.queue} is not there yet: the first start declares it")
    else:
        yield from _queue(broker.queue, broker, given.supervisor.message_deadline_s)
    yield from _dead(broker, names.dead_queue)


def _server(broker: Broker, queue: str) -> Finding:
    way = broker.tls or "not encrypted"
    there = broker.queue
    seen = f"{broker.product} {broker.version}, {way}" + (
        ""
        if there is None
        else f"; queue {queue}: {there.ready} messages ready, {there.consumers} consumers now"
    )
    facts: dict[str, object] = {"version": broker.version, "tls": broker.tls}
    if there is not None:
        facts |= {"ready": there.ready, "consumers": there.consumers}
    if broker.product == "RabbitMQ" and broker.release < QUORUM_SINCE and there is None:
        return fail(
            SUBJECT,
            f"{seen}: it knows no quorum queues, which the first start declares",
            "RabbitMQ 3.8 or newer",
        )
    return ok(SUBJECT, seen, **facts)


def _size(broker: Broker, max_message_bytes: int) -> Finding:
    """Tell the broker's own limit. It can be configured, and is not told to clients: what is known is its default."""
    four = broker.release >= (4, 0)
    default = DEFAULT_MESSAGE_BYTES_4 if four else DEFAULT_MESSAGE_BYTES_3
    seen = f"the broker's max_message_size is {default // MIB} MB unless it is configured"
    ours = f"--max-message-mb is {max_message_bytes / MIB:g}"
    if max_message_bytes <= default:
        return ok("message size", f"{seen}; {ours}")
    return warn(
        "message size",
        f"{seen}, and refuses what publishers send beyond it; {ours}",
        f"max_message_size = {max_message_bytes} in rabbitmq.conf, or --max-message-mb {default // MIB}",
    )


def _queue(queue: Queue, broker: Broker, deadline_s: float) -> Iterator[Finding]:
    if queue.arguments is None:
        yield ok(
            QUEUE, f"{queue.name}: its arguments are not told to a user who may not configure it; {POLICIES}"
        )
        return
    found = list(_harm(queue, broker, deadline_s))
    yield from found
    if not found:
        yield ok(QUEUE, f"{_described(queue)}; {POLICIES}", arguments=dict(queue.arguments))


def _harm(queue: Queue, broker: Broker, deadline_s: float) -> Iterator[Finding]:
    arguments = queue.arguments or {}
    kind = _kind(arguments)
    if kind == "stream":
        yield fail(
            QUEUE,
            f"{queue.name} is a stream, which keeps what is acknowledged",
            "name another queue (--queue)",
        )
        return
    if kind != "quorum":
        yield warn(
            QUEUE,
            f"{_described(queue)}: it lives on one node, and is lost with that node",
            "a quorum queue; with a new name, or deleted when it is empty, the next start declares one",
        )
    if not queue.durable:
        yield warn(
            QUEUE, f"{queue.name} is not durable: a restart of the broker loses it", "declare it durable"
        )
    yield from _vanishing(queue)
    yield from _dropping(queue)
    yield from _limited(queue, broker)
    timeout_s = _number(arguments, "x-consumer-timeout") / 1000 or DEFAULT_CONSUMER_TIMEOUT_S
    if timeout_s <= deadline_s:
        yield warn(
            QUEUE,
            f"{queue.name}: the broker takes a message back after {timeout_s:g} s, before the message deadline"
            f" ({deadline_s:g} s)",
            "raise consumer_timeout beyond --message-deadline",
        )
    if arguments.get("x-single-active-consumer") is True:
        yield warn(
            QUEUE,
            f"{queue.name} has a single active consumer: of all children one works",
            "declare it without",
        )


def _vanishing(queue: Queue) -> Iterator[Finding]:
    if queue.auto_delete:
        yield warn(
            QUEUE,
            f"{queue.name} is deleted with its messages when its last consumer goes (auto-delete)",
            "declare it without",
        )
    if expires_s := _number(queue.arguments, "x-expires") / 1000:
        yield warn(
            QUEUE,
            f"{queue.name} is deleted with its messages after {expires_s:g} s without a consumer (x-expires)",
            "declare it without",
        )


def _dropping(queue: Queue) -> Iterator[Finding]:
    """Find what takes messages out of the queue before a child has seen them."""
    arguments = queue.arguments or {}
    fate = "sets aside" if "x-dead-letter-exchange" in arguments else "drops"
    if "x-message-ttl" in arguments:
        ttl_s = _number(arguments, "x-message-ttl") / 1000
        yield warn(
            QUEUE,
            f"{queue.name} {fate} messages that wait for {ttl_s:g} s (x-message-ttl): an outage lasts longer",
            "declare it without; a TTL cannot be changed on a queue that is there",
        )
    overflow = str(arguments.get("x-overflow", "drop-head"))
    for name, unit in (("x-max-length", "messages"), ("x-max-length-bytes", "bytes")):
        if name not in arguments:
            continue
        most = _number(arguments, name)
        if overflow == "drop-head":
            yield warn(
                QUEUE,
                f"{queue.name} {fate} the oldest beyond {most} {unit} ({name})",
                "declare it without, or with x-overflow reject-publish",
            )
        else:
            yield warn(
                QUEUE,
                f"{queue.name} refuses messages beyond {most} {unit} ({name}, {overflow})",
                "see that publishers wait for confirms and try again",
            )


def _limited(queue: Queue, broker: Broker) -> Iterator[Finding]:
    """Find what happens to a message that was delivered too often."""
    arguments = queue.arguments or {}
    if _kind(arguments) != "quorum":
        return
    limit = _number(arguments, "x-delivery-limit")
    if not limit and broker.release >= (4, 0):
        limit = DEFAULT_DELIVERY_LIMIT
    if not limit:
        return
    exchange = arguments.get("x-dead-letter-exchange")
    if exchange is None:
        yield warn(
            QUEUE,
            f"{queue.name} deletes a message after {limit} deliveries, as there is no dead-letter exchange",
            f"a policy with dead-letter-exchange, or delivery-limit -1 (RabbitMQ 4) or {DELIVERY_LIMIT}",
        )
    elif (
        exchange == ""
        and arguments.get("x-dead-letter-routing-key") == f"{queue.name}.dead"
        and broker.dead is None
    ):
        yield warn(
            QUEUE,
            f"{queue.name} sets aside into {queue.name}.dead, which is not there: what goes there is lost",
            "start the supervisor, which declares it",
        )
    if limit <= CLAIMS_MAX:
        yield warn(
            QUEUE,
            f"{queue.name} gives a message up after {limit} deliveries, before its event ends (after {CLAIMS_MAX})",
            f"a policy with delivery-limit {DELIVERY_LIMIT}",
        )


def _dead(broker: Broker, name: str) -> Iterator[Finding]:
    queue = broker.dead
    if queue is None:
        yield ok(DEAD, f"{name} is not there yet: the first start declares it")
        return
    seen = f"{name}: {queue.ready} messages"
    if queue.arguments is None:
        yield ok(DEAD, seen, ready=queue.ready)
        return
    harmful = [
        each
        for each in ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes")
        if each in queue.arguments
    ]
    if harmful or not queue.durable or queue.auto_delete:
        told = ", ".join(
            [*harmful, *([] if queue.durable else ["not durable"]), *(["auto-delete"] * queue.auto_delete)]
        )
        yield warn(
            DEAD, f"{seen}; it may lose them ({told})", "declare it durable, without these", ready=queue.ready
        )
    elif (
        _kind(queue.arguments) == "quorum"
        and broker.release >= (4, 0)
        and "x-delivery-limit" not in queue.arguments
    ):
        yield warn(
            DEAD,
            f"{seen}; it drops one that was looked at {DEFAULT_DELIVERY_LIMIT} times",
            "a policy with a higher delivery-limit",
            ready=queue.ready,
        )
    else:
        yield ok(DEAD, seen, ready=queue.ready)


def _described(queue: Queue) -> str:
    arguments = queue.arguments or {}
    kind = _kind(arguments)
    words = [kind, "durable" if queue.durable else "not durable"]
    if "x-dead-letter-exchange" in arguments:
        target = arguments.get("x-dead-letter-routing-key") or arguments["x-dead-letter-exchange"]
        words.append(f"dead letters to {target or 'the default exchange'}")
    if limit := _number(arguments, "x-delivery-limit"):
        words.append(f"delivery limit {limit}")
    return f"{queue.name} is {', '.join(words)}"


def _kind(arguments: Mapping[str, Value]) -> str:
    return str(arguments.get("x-queue-type", "classic"))


def _number(arguments: Mapping[str, Value] | None, name: str) -> int:
    value = (arguments or {}).get(name, 0)
    return value if isinstance(value, int) else 0
