"""What an error of pika's means, in a few words that may be shown to anyone."""

import re

from pika import exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from consumer.silence import Unanswered
from consumer.tls import BadTls
from consumer.wording import explain

LONGEST = 200
MEANING = {
    exceptions.AuthenticationError: "login refused",
    exceptions.IncompatibleProtocolError: "what answers there does not speak AMQP 0-9-1, or hangs up at once",
    AMQPConnectorStackTimeout: "no answer in time",
    exceptions.AMQPHeartbeatTimeout: "no heartbeat came",
    exceptions.ConnectionBlockedTimeout: "it takes no messages: an alarm for memory or disk, for too long",
    exceptions.StreamLostError: "connection lost",
    exceptions.ConnectionWrongStateError: "connection closed",
    exceptions.ChannelWrongStateError: "channel closed",
    exceptions.UnroutableError: "there is no queue for the message",
    exceptions.NackError: "it did not take the message",
}


def broken(error: Exception) -> str:
    """Say what happened; of what the broker said only its reply text, which names queues, vhosts and users.

    No URL, no password, and no class of pika's where there are words for it.
    """
    match error:
        case BadTls() | Unanswered():
            words = str(error)
        case exceptions.ProbableAuthenticationError():
            words = _turned_away(str(error))
        case exceptions.ProbableAccessDeniedError():
            words = _barred(str(error))
        case exceptions.ConnectionClosed():
            words = f"connection closed: {error.reply_text}"
        case exceptions.ChannelClosed():
            words = f"refused: {error.reply_text}"
        case OSError():
            words = explain(error)
        case _:
            words = MEANING.get(type(error)) or _within(error)
    return words[:LONGEST]


def _turned_away(text: str) -> str:
    # pika guesses from the step that was reached; the broker says ACCESS_REFUSED, or nothing when it was kept waiting
    if "ACCESS_REFUSED" in text:
        return "login refused: wrong user or password"
    return "the broker ended the connection during the login: wrong user or password, or too slow an answer"


def _barred(text: str) -> str:
    # pika keeps only the repr of what the broker said
    if "StreamLostError" in text:
        return "the broker ended the connection before the vhost was open: not allowed, or too slow an answer"
    if "not found" in text:
        return "vhost not found"
    limit = re.search(r"NOT_ALLOWED - ([^\"]*(?:limit|down)[^\"]*)", text)
    return f"refused: {limit[1]}" if limit else "vhost not allowed to this user"


def _within(error: Exception) -> str:
    # AMQPConnectionError wraps what happened on the last address
    inner = getattr(error.args[0] if error.args else None, "exception", None)
    return broken(inner) if isinstance(inner, Exception) else f"connection broken ({type(error).__name__})"
