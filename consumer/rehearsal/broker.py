"""A broker's lines: AMQP 0-9-1 as one consumer hears it, in pika's own words."""

from collections.abc import Callable
from typing import Any

from pika import frame, spec

FRAME_MAX_BYTES = 128 * 1024
CHANNELS_MAX = 2047


class Broker:
    """One connection's other end. It delivers `body`, so many times, one at a time: the next when one is acknowledged.

    A method that a consumer does not send is answered by silence.
    """

    def __init__(self, body: bytes, deliveries: int) -> None:
        self.over = False
        self._body = body
        self._left = deliveries
        self._tag = 0
        self._consumer: str | None = None
        self._unread = b""

    def receive(self, data: bytes) -> bytes:
        """Take what has come; give what is to be said to it."""
        self._unread += data
        said = b""
        while self._unread and not self.over:
            used, heard = frame.decode_frame(self._unread)
            if heard is None:
                break
            self._unread = self._unread[used:]
            if isinstance(heard, frame.ProtocolHeader):
                said += frame.Method(0, _start()).marshal()
            elif isinstance(heard, frame.Method):
                said += self._answer(heard.channel_number, heard.method)
        return said

    def _answer(self, channel: int, heard: Any) -> bytes:
        match heard:
            case spec.Basic.Consume():
                self._consumer = heard.consumer_tag
                return _said(channel, spec.Basic.ConsumeOk(heard.consumer_tag)) + self._deliver(channel)
            case spec.Basic.Ack():
                return self._deliver(channel)
            case spec.Basic.Cancel():
                self._consumer = None
                return _said(channel, spec.Basic.CancelOk(heard.consumer_tag))
            case spec.Queue.Declare():
                return _said(channel, spec.Queue.DeclareOk(heard.queue, 0, 0))
            case spec.Connection.Close():
                self.over = True
                return _said(channel, spec.Connection.CloseOk())
        answer = ANSWERS.get(type(heard))
        return _said(channel, answer()) if answer else b""

    def _deliver(self, channel: int) -> bytes:
        if self._consumer is None or self._left == 0:
            return b""
        self._left -= 1
        self._tag += 1
        deliver = spec.Basic.Deliver(
            self._consumer, self._tag, redelivered=False, exchange="", routing_key="q"
        )
        properties = spec.BasicProperties(
            delivery_mode=2, content_type="application/json", message_id="rehearsal"
        )
        return b"".join(
            [
                _said(channel, deliver),
                frame.Header(channel, len(self._body), properties).marshal(),
                frame.Body(channel, self._body).marshal(),
            ]
        )


def _said(channel: int, method: Any) -> bytes:
    said: bytes = frame.Method(channel, method).marshal()
    return said


def _start() -> Any:
    """What RabbitMQ says of itself, as far as pika asks."""
    able = dict.fromkeys(
        [
            "publisher_confirms",
            "exchange_exchange_bindings",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
            "consumer_priorities",
            "authentication_failure_close",
            "per_consumer_qos",
            "direct_reply_to",
        ],
        True,
    )
    told = {"capabilities": able, "product": "RabbitMQ", "version": "3.13.0", "platform": "rehearsal"}
    return spec.Connection.Start(server_properties=told, mechanisms="AMQPLAIN PLAIN")


ANSWERS: dict[type, Callable[[], Any]] = {
    spec.Connection.StartOk: lambda: spec.Connection.Tune(CHANNELS_MAX, FRAME_MAX_BYTES, 60),
    spec.Connection.Open: spec.Connection.OpenOk,
    spec.Channel.Open: spec.Channel.OpenOk,
    spec.Channel.Close: spec.Channel.CloseOk,
    spec.Basic.Qos: spec.Basic.QosOk,
}
