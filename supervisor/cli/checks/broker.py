"""RabbitMQ: is it there, and would its queue as it is lose, refuse or hold up messages?"""

import re
import shlex
from collections.abc import Iterator, Mapping

from consumer import topology
from consumer.amqp import DELIVERY_LIMIT, parameters
from consumer.disposition import CLAIMS_MAX
from consumer.errors import BrokerAway
from consumer.settings import MIB, BrokerSettings
from consumer.topology import Broker, Locked, Queue, Value
from supervisor.cli.checks.finding import Finding, fail, ok, warn
from supervisor.cli.settings import Settings

SUBJECT, QUEUE, DEAD = "broker", "queue", "dead queue"
QUORUM_SINCE = (3, 8)
DEFAULT_DELIVERY_LIMIT = 20
"""Of a quorum queue that names none, from RabbitMQ 4 on; before there was no limit."""
DEFAULT_MESSAGE_BYTES_4, DEFAULT_MESSAGE_BYTES_3 = 16 * MIB, 128 * MIB
DEFAULT_CONSUMER_TIMEOUT_S = 1800.0
POLICIES = "policies were not looked at (rabbitmqctl list_queues name policy effective_policy_definition)"
UNWRITTEN = "whether this user may write to it was not tried, as that takes publishing"


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
    yield from _rights(broker, names)
    match broker.queue:
        case None if broker.refusals.declare is None:
            yield ok(QUEUE, f"{names.queue} is not there yet: the first start declares it")
        case None:
            pass  # told with the rights
        case Locked():
            yield _locked(QUEUE, broker.queue, names)
        case Queue():
            yield from _queue(broker.queue, broker, given.supervisor.message_deadline_s)
    match broker.dead:
        case None if broker.refusals.declare_dead is None:
            yield ok(DEAD, f"{names.dead_queue} is not there yet: the first start declares it")
        case None:
            pass
        case Locked():
            yield _locked(DEAD, broker.dead, names)
        case Queue():
            yield _dead(broker.dead, broker)


def _rights(broker: Broker, names: BrokerSettings) -> Iterator[Finding]:
    """Tell what the broker refuses to this user, with the command that grants all of it."""
    refusals = broker.refusals
    remedy = _grant(names, declaring=bool(refusals.declare or refusals.declare_dead))
    if refusals.declare:
        seen = f"{names.queue} is not there, and may not be declared: {refusals.declare}"
        yield fail(QUEUE, seen, remedy)
    if refusals.read:
        yield fail(QUEUE, f"no message of {names.queue} would be received: {refusals.read}", remedy)
    if refusals.alone:
        yield fail(
            QUEUE,
            f"no message of {names.queue} would be received: {refusals.alone}",
            f"end the one consumer that it has (rabbitmqctl list_consumers -p {_vhost(names)} tells which)",
        )
    if refusals.declare_dead:
        seen = f"{names.dead_queue} is not there, and may not be declared: {refusals.declare_dead}"
        yield fail(DEAD, seen, remedy)


def _grant(names: BrokerSettings, *, declaring: bool) -> str:
    """Spell the command of docs/security.md for this user. declaring: and with the right to make the two queues."""
    found = parameters(names, "check")
    queues = rf"^{re.escape(names.queue)}(\.dead)?$"
    words = (found.virtual_host, found.credentials.username, queues if declaring else "^$", queues)
    vhost, user, configure, read = map(shlex.quote, words)
    command = rf"rabbitmqctl set_permissions -p {vhost} {user} {configure} '^amq\.default$' {read}"
    note = "; the first of the three may be '^$' once another user has declared both queues"
    return command + note if declaring else command


def _vhost(names: BrokerSettings) -> str:
    return shlex.quote(parameters(names, "check").virtual_host)


def _locked(subject: str, queue: Locked, names: BrokerSettings) -> Finding:
    vhost = _vhost(names)
    return fail(
        subject,
        f"{queue.name} is exclusive to another connection: nobody else may use it, and it goes with that connection",
        f"wait for its end, or rabbitmqctl delete_queue -p {vhost} {shlex.quote(queue.name)}"
        f" (rabbitmqctl list_queues -p {vhost} name owner_pid names the connection)",
    )


def _server(broker: Broker, queue: str) -> Finding:
    way = broker.tls or "not encrypted"
    there = broker.queue if isinstance(broker.queue, Queue) else None
    seen = f"{broker.product} {broker.version}, {way}" + (
        ""
        if there is None
        else f"; queue {queue}: {there.ready} messages ready, {there.consumers} consumers now"
    )
    facts: dict[str, object] = {"version": broker.version, "tls": broker.tls}
    if there is not None:
        facts |= {"ready": there.ready, "consumers": there.consumers}
    if broker.product == "RabbitMQ" and broker.release < QUORUM_SINCE and broker.queue is None:
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
        yield _untold(QUEUE, queue, f"{queue.name}: ")
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


def _untold(subject: str, queue: Queue, seen: str, **facts: object) -> Finding:
    why = "are not told to a user who may not configure it" if queue.hidden else "could not be learnt"
    return warn(
        subject,
        f"{seen}its arguments {why}: they may lose or refuse messages; {POLICIES}",
        "check once as a user who may configure it, or rabbitmqctl list_queues name type durable arguments",
        **facts,
    )


def _dead(queue: Queue, broker: Broker) -> Finding:
    seen = f"{queue.name}: {queue.ready} messages"
    if queue.arguments is None:
        return _untold(DEAD, queue, f"{seen}; {UNWRITTEN}; ", ready=queue.ready)
    harmful = [
        each
        for each in ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes")
        if each in queue.arguments
    ]
    if harmful or not queue.durable or queue.auto_delete:
        told = ", ".join(
            [*harmful, *([] if queue.durable else ["not durable"]), *(["auto-delete"] * queue.auto_delete)]
        )
        return warn(
            DEAD, f"{seen}; it may lose them ({told})", "declare it durable, without these", ready=queue.ready
        )
    if (
        _kind(queue.arguments) == "quorum"
        and broker.release >= (4, 0)
        and "x-delivery-limit" not in queue.arguments
    ):
        return warn(
            DEAD,
            f"{seen}; it drops one that was looked at {DEFAULT_DELIVERY_LIMIT} times",
            "a policy with a higher delivery-limit",
            ready=queue.ready,
        )
    return ok(DEAD, f"{seen}; {UNWRITTEN}", ready=queue.ready)


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
