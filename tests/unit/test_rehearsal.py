"""The lines of a rehearsal: bytes in, bytes out, however they are cut."""

import struct
from collections.abc import Callable

import pytest
from pika import frame, spec

from consumer.rehearsal.api import Api
from consumer.rehearsal.broker import Broker
from consumer.rehearsal.database import Database
from consumer.rehearsal.play import BODY, script
from consumer.rehearsal.prompter import Peer
from consumer.rehearsal.understudy import Curtain, Understudy


def method(channel: int, said: object) -> bytes:
    marshalled: bytes = frame.Method(channel, said).marshal()
    return marshalled


CONSUMER = b"".join(
    [
        frame.ProtocolHeader().marshal(),
        method(0, spec.Connection.StartOk({}, "PLAIN", "x", "en_US")),
        method(0, spec.Connection.TuneOk(1, 4096, 60)),
        method(0, spec.Connection.Open("/")),
        method(1, spec.Channel.Open()),
        method(1, spec.Queue.Declare(queue="q", passive=True)),
        method(1, spec.Basic.Qos(prefetch_count=1)),
        method(1, spec.Basic.Consume(queue="q", consumer_tag="ours")),
        method(1, spec.Basic.Ack(1)),
        method(1, spec.Basic.Cancel("ours")),
        method(1, spec.Basic.Ack(2)),
        method(0, spec.Connection.Close(200, "", 0, 0)),
    ]
)
STARTUP = struct.pack("!ii", 8, 80877103) + struct.pack("!iii", 12, 196608, 0)
SESSION = STARTUP + b"Q" + struct.pack("!i", 10) + b"BEGIN\0" + b"X" + struct.pack("!i", 4)
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"

PLAYS = [
    pytest.param(lambda: Broker(BODY, 5), CONSUMER, id="broker"),
    pytest.param(lambda: Database(script()), SESSION, id="database"),
    pytest.param(Api, REQUEST, id="api"),
]


@pytest.mark.parametrize(("peer", "heard"), PLAYS)
def test_it_says_the_same_however_it_hears(peer: Callable[[], Peer], heard: bytes) -> None:
    """Byte by byte or all at once; and it is over at the end, not before."""
    at_once, bytewise = peer(), peer()
    said = at_once.receive(heard)
    assert said
    assert at_once.over
    assert not bytewise.over
    assert b"".join(bytewise.receive(heard[i : i + 1]) for i in range(len(heard))) == said
    assert bytewise.over


def test_a_consumer_hears_an_answer_to_each_word_and_one_delivery_at_a_time() -> None:
    """The second comes for the first's acknowledgement, and none for the second's: it has been cancelled by then."""
    said, methods = Broker(BODY, 5).receive(CONSUMER), []
    bodies = []
    while said:
        used, heard = frame.decode_frame(said)
        said = said[used:]
        if isinstance(heard, frame.Method):
            methods.append(heard.method.NAME)
        elif isinstance(heard, frame.Body):
            bodies.append(heard.fragment)
    assert methods == [
        "Connection.Start",
        "Connection.Tune",
        "Connection.OpenOk",
        "Channel.OpenOk",
        "Queue.DeclareOk",
        "Basic.QosOk",
        "Basic.ConsumeOk",
        "Basic.Deliver",
        "Basic.Deliver",
        "Basic.CancelOk",
        "Connection.CloseOk",
    ]
    assert bodies == [BODY, BODY]


def test_no_two_statements_begin_alike() -> None:
    """Each has one row to return; a known statement is not taken for another of the same file."""
    from repository import events  # noqa: PLC0415 - for this test only

    starts = list(script())
    sqls = [statement.sql for statement in events.SQL.values()]
    for start in starts:
        assert start
        assert sum(sql.startswith(start) for sql in sqls) <= 1
        assert sum(other.startswith(start) for other in starts) == 1


def test_an_understudy_stops_after_its_deliveries_at_an_obstacle_and_in_time() -> None:
    """Whichever is first; only the last two are a reason to hurry."""
    through = Understudy(deliveries=2, end=float("inf"))
    through.acking()
    assert not through.stop_requested()
    through.acking()
    assert through.stop_requested()
    assert not through.hurry_requested()

    stuck = Understudy(deliveries=2, end=float("inf"))
    stuck.waiting("database", "")
    assert not stuck.stop_requested()
    with pytest.raises(Curtain):
        stuck.waiting("broker", "refused")
    assert stuck.obstacle == "broker: refused"
    assert stuck.stop_requested()
    assert stuck.hurry_requested()

    assert Understudy(deliveries=2, end=0.0).hurry_requested()
