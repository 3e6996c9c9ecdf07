"""The runs that the cells of the fault matrix share: each takes a laboratory to its end and says who ended it."""

import os
import signal
from collections.abc import Callable
from functools import partial
from time import sleep

from scripts.faults.failpoints import Fault, happened
from tests.faults.cells import Cell, Ground
from tests.faults.laboratory import Laboratory
from tests.fixtures.amqp_proxy import AmqpProxy, Fate, nth
from tests.fixtures.eventually import eventually
from tests.fixtures.proxy import Loss, Proxy, Relay, host_and_port, through
from tests.fixtures.worker import Worker

ORDINARY = 4  # conversations to each faulty one
PARTITION_S = 2.0
LEAST_TIMES = 2  # of what happens again and again: after so many the message is judged
EXCHANGES = {
    "claim": b"INSERT INTO conversation_events",
    "complete": b"COMMIT",
    "fail": b"SET status = 'FAILED'",
    "park": b"SET parked_log",
    "call": b"]}",  # the end of the request: its head goes before in a packet of its own
}


def crowd(lab: Laboratory) -> Worker:
    return _among_others(lab, lab.start(8))


def late(lab: Laboratory) -> Worker:
    limits = {"MEMORY_API_TIMEOUT_SECONDS": "1", "FRIENDSHIP_MESSAGE_DEADLINE": "16"}
    return _among_others(lab, lab.start(16, **limits))


def _among_others(lab: Laboratory, worker: Worker) -> Worker:
    lab.publish_all(ordinary=ORDINARY * len(lab.cells))
    worker.wait_until(lambda: all(_happened(lab, cell) for cell in lab.cells), "every fault has happened")
    worker.wait_until(lab.all_ended, "all have ended")
    assert worker.stop() == 0
    return worker


def _happened(lab: Laboratory, cell: Cell) -> bool:
    fault = Fault.of(cell.conversation_id)
    assert fault is not None
    return happened(lab.directory, cell.conversation_id) >= min(fault.times, LEAST_TIMES)


def stopped(lab: Laboratory) -> Worker:
    """Each supervisor is told to stop in the middle of one message, ends well, and the next takes up what it left."""
    for cell in lab.cells:
        worker = _take_up(lab)
        lab.publish(cell.conversation_id)
        assert worker.wait() == 0
        assert worker.left_behind() == []
        assert _happened(lab, cell)
    return _finish(lab)


def killed(lab: Laboratory) -> Worker:
    """Each supervisor is killed in the middle of one message; its children go with it."""
    for cell in lab.cells:
        worker = _take_up(lab)
        lab.publish(cell.conversation_id)
        assert worker.wait() == -signal.SIGKILL
        eventually(partial(_gone, worker), "the children are gone", limit_s=10)
        assert _happened(lab, cell)
    return _finish(lab)


def _gone(worker: Worker) -> bool:
    return not worker.left_behind()


def _take_up(lab: Laboratory) -> Worker:
    """Start the next supervisor, and let it finish what the last one left."""
    heir = lab.start(2)
    heir.wait_until(lab.all_ended, "all have ended")
    return heir


def _finish(lab: Laboratory) -> Worker:
    heir = _take_up(lab)
    assert heir.stop() == 0
    return heir


def lost(lab: Laboratory) -> Worker:
    """One exchange with PostgreSQL or the Memory API after the other is lost, or comes late."""
    database_url, api_url = lab.environment["DATABASE_URL"], lab.environment["MEMORY_API_URL"]
    with Proxy(*host_and_port(database_url)) as database, Proxy(*host_and_port(api_url)) as api:
        urls = {"DATABASE_URL": through(database, database_url), "MEMORY_API_URL": through(api, api_url)}
        worker = lab.start(1, **urls)
        for cell in lab.cells:
            _lose(lab, worker, api if cell.step == "call" else database, cell)
        worker.wait_until(lab.all_ended, "all have ended")
        assert worker.stop() == 0
    return worker


def _lose(lab: Laboratory, worker: Worker, proxy: Proxy, cell: Cell) -> None:
    name = cell.conversation_id
    loss = Loss[name.rpartition("-")[2].upper()]
    if cell.step == "fail":
        lab.memory_api.set_mode("error", status=500, conversation_id=name)
    if cell.step == "park":
        _not_due(lab, name)
    proxy.arm(EXCHANGES[cell.step], loss)
    lab.publish(name)
    worker.wait_until(proxy.fired.is_set, f"the exchange is lost: {cell.id}")
    if loss is Loss.LATE:
        # Its second try waits for the lock that the first one holds, where that had done more than ask
        worker.wait_until(lambda: cell.step != "complete" or _waits_for_a_lock(lab), "the next try waits")
        proxy.deliver()
    calls = cell.outcome.calls
    worker.wait_until(
        lambda: _told(worker, name) and _one_session(lab) and lab.memory_api.calls().of(name) == calls,
        f"it has ended: {cell.id}",
    )


def _told(worker: Worker, name: str) -> bool:
    outcomes = ("message_processed", "message_failed", "message_left")
    return any(worker.logged(outcome, conversation_id=name) for outcome in outcomes)


def _not_due(lab: Laboratory, name: str) -> None:
    """Give the conversation a failed event that knows of no log, due tomorrow."""
    lab.desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status, error_code, attempt_count,"
        " next_attempt_at) VALUES (%s, %s, 'FAILED', 'MEMORY_API_ERROR', 1, now() + interval '1 day')",
        name,
        lab.user_of(name),
    )


def _sessions(lab: Laboratory) -> list[str]:
    rows = lab.desk.query(
        "SELECT coalesce(wait_event_type, '') AS waits FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'friendship-supervisor child%%'"
    )
    return [row["waits"] for row in rows]


def _waits_for_a_lock(lab: Laboratory) -> bool:
    return "Lock" in _sessions(lab)


def _one_session(lab: Laboratory) -> bool:
    """Say whether the session of the lost exchange is over: what it was sent late is carried out by then."""
    return len(_sessions(lab)) <= 1


def link(lab: Laboratory, *, heartbeat_s: int = 60) -> Worker:
    """One link after the other fails in the middle of a call."""
    rabbitmq_url, database_url, api_url = (
        lab.environment[name] for name in ("RABBITMQ_URL", "DATABASE_URL", "MEMORY_API_URL")
    )
    with (
        AmqpProxy(*host_and_port(rabbitmq_url)) as broker,
        Relay(*host_and_port(database_url)) as database,
        Relay(*host_and_port(api_url)) as api,
    ):
        worker = lab.start(
            2,
            RABBITMQ_URL=f"{through(broker, rabbitmq_url)}?heartbeat={heartbeat_s}",
            DATABASE_URL=through(database, database_url),
            MEMORY_API_URL=through(api, api_url),
            MEMORY_API_TIMEOUT_SECONDS="12",
        )
        links: dict[str, Relay] = {"rabbitmq": broker, "postgresql": database, "memory_api": api}
        for cell in lab.cells:
            _disturb(lab, worker, links[cell.step], cell)
        worker.wait_until(lab.all_ended, "all have ended")
        assert worker.stop() == 0
    return worker


def _disturb(lab: Laboratory, worker: Worker, relay: Relay, cell: Cell) -> None:
    name = cell.conversation_id
    taken_over = cell.outcome.calls > 1 and not cell.outcome.deaths
    lab.memory_api.set_mode("delay", seconds=10.0 if taken_over else 1.0, conversation_id=name)
    if cell.id == "deaf-at-memory_api":
        relay.deafen()
    lab.publish(name)
    ended = partial(_told, worker, name)
    if cell.id != "deaf-at-memory_api":
        worker.wait_until(lambda: lab.memory_api.calls().of(name), f"the call is under way: {cell.id}")
    match cell.fault:
        case "partition":
            relay.stall()
            sleep(PARTITION_S)  # the fault's own time
        case "deaf":
            relay.deafen()
            if cell.step == "postgresql":
                worker.wait_for("child_exited", conversation_id=name)
            else:
                worker.wait_until(ended, f"somebody has given up: {cell.id}")
        case "slow":
            relay.delay_s = 0.1
            worker.wait_until(ended, f"it has ended: {cell.id}")
        case "reset":
            relay.cut()
        case "idle_cut":
            relay.cut_when_idle(2.0)
            worker.wait_until(partial(_taken_over, lab, name), "another child has it")
            relay.cut_when_idle(None)
        case "heartbeats_lost":
            assert isinstance(relay, AmqpProxy)
            relay.drop_heartbeats = True
            worker.wait_until(partial(_taken_over, lab, name), "another child has it")
            relay.drop_heartbeats = False
        case _:
            raise AssertionError(cell.fault)
    relay.heal()
    worker.wait_until(ended, f"it has ended: {cell.id}")
    worker.wait_until(lambda: _both_are_free(worker, lab), f"both are free: {cell.id}")


def _taken_over(lab: Laboratory, name: str) -> bool:
    row = lab.desk.event(name)
    return row is not None and row["claim_epoch"] > 1


def _both_are_free(worker: Worker, lab: Laboratory) -> bool:
    return len(worker.children()) == 2 and not lab.memory_api.calls().in_flight and lab.all_ended()


def ack(lab: Laboratory) -> Worker:
    """One acknowledgement after the other is lost with its connection."""
    url = lab.environment["RABBITMQ_URL"]
    with AmqpProxy(*host_and_port(url)) as proxy:
        worker = lab.start(1, RABBITMQ_URL=through(proxy, url))
        for cell in lab.cells:
            fate, number = Fate[cell.conversation_id.rpartition("-")[2].upper()], proxy.acks + 1
            proxy.choose = nth(number, fate)
            lab.publish(cell.conversation_id)
            # A copy that comes back is dropped as done, which takes an acknowledgement of its own
            acks = number if fate is Fate.PASSED_AND_CUT else number + 1
            worker.wait_until(partial(_acknowledged, proxy, acks), f"acknowledged: {cell.id}")
        assert proxy.acks_cut == len(lab.cells)
        worker.wait_until(lab.all_ended, "all have ended")
        assert worker.stop() == 0
    assert len(worker.logged("message_left", outcome="duplicate")) == len(lab.cells) - 1
    return worker


def _acknowledged(proxy: AmqpProxy, times: int) -> bool:
    return proxy.acks == times


def zombie(lab: Laboratory) -> Worker:
    """Children stand still at their steps; the broker takes their messages for lost, and others do the work."""
    url = lab.environment["RABBITMQ_URL"]
    with AmqpProxy(*host_and_port(url)) as proxy:
        first = lab.start(len(lab.cells), RABBITMQ_URL=through(proxy, url))
        lab.publish_all(ordinary=0)
        first.wait_until(lambda: all(_happened(lab, cell) for cell in lab.cells), "all stand still")
        holders = first.children()
        second = lab.start(len(lab.cells))
        proxy.desert()
        second.wait_until(lambda: lab.desk.statuses()["PROCESSED"] == len(lab.cells), "others have done it")
        for pid in holders:
            os.kill(pid, signal.SIGCONT)
        # All but the one that had its outcome written before it stood still
        first.wait_for("message_fenced", times=len(lab.cells) - 1)
        assert first.stop() == second.stop() == 0
    assert first.logged("child_exited", blamed=True) == []
    lab.desk.assert_clean_ending(first)
    return second


RUNS: dict[Ground, Callable[[Laboratory], Worker]] = {
    Ground.CROWD: crowd,
    Ground.LATE: late,
    Ground.STOPPED: stopped,
    Ground.KILLED: killed,
    Ground.LOST: lost,
    Ground.LINK: link,
    Ground.PULSE: partial(link, heartbeat_s=2),
    Ground.ACK: ack,
    Ground.ZOMBIE: zombie,
}
