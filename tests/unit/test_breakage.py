"""What people are told when the broker is away: no class of a library, no URL, no password."""

import socket
import ssl

import pytest
from pika import exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorSocketConnectError, AMQPConnectorStackTimeout

from consumer.breakage import broken
from consumer.silence import Unanswered
from consumer.tls import BadTls


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            exceptions.ProbableAuthenticationError("(403) ACCESS_REFUSED - Login was refused"),
            "login refused: wrong user or password",
        ),
        (
            exceptions.ProbableAuthenticationError('StreamLostError: ("Stream connection lost: ...",)'),
            "the broker ended the connection during the login: wrong user or password, or too slow an answer",
        ),
        (
            exceptions.ProbableAccessDeniedError("StreamLostError: ('Transport indicated EOF',)"),
            "the broker ended the connection before the vhost was open: not allowed, or too slow an answer",
        ),
        (exceptions.ProbableAccessDeniedError("NOT_ALLOWED - vhost x not found"), "vhost not found"),
        (
            exceptions.ProbableAccessDeniedError("access to vhost 'x' refused for user 'u'"),
            "vhost not allowed to this user",
        ),
        (
            exceptions.ProbableAccessDeniedError(
                "ConnectionClosedByBroker: (530) \"NOT_ALLOWED - access to vhost '/' refused for user 'u': "
                'connection limit (5) is reached"'
            ),
            "refused: access to vhost '/' refused for user 'u': connection limit (5) is reached",
        ),
        (Unanswered(10.0), "no answer for 10 s"),
        (
            exceptions.AMQPConnectionError(
                AMQPConnectorSocketConnectError(ConnectionRefusedError(111, "Connection refused"))
            ),
            "Connection refused",
        ),
        (socket.gaierror(-2, "Name or service not known"), "host not found: Name or service not known"),
        (ssl.SSLError(1, "wrong"), "TLS: handshake failed"),
        (AMQPConnectorStackTimeout("127.0.0.1"), "no answer in time"),
        (
            exceptions.IncompatibleProtocolError("x"),
            "what answers there does not speak AMQP 0-9-1, or hangs up at once",
        ),
        (exceptions.StreamLostError("eof"), "connection lost"),
        (
            exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED - shutdown"),
            "connection closed: CONNECTION_FORCED - shutdown",
        ),
        (
            exceptions.ChannelClosedByBroker(403, "ACCESS_REFUSED - to queue 'q'"),
            "refused: ACCESS_REFUSED - to queue 'q'",
        ),
        (exceptions.UnroutableError([]), "there is no queue for the message"),
        (BadTls("verify=ignore is no option"), "verify=ignore is no option"),
        (ValueError("amqp://u:hunter2@h"), "connection broken (ValueError)"),
    ],
)
def test_what_is_wrong_with_the_broker_is_said_in_plain_words(error: Exception, words: str) -> None:
    """A person on call knows what to correct; whatever else pika raises is a broken connection."""
    assert broken(error) == words
