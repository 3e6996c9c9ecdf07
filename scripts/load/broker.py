"""A connection to the broker for a thread that looks after it only now and then."""

import pika

BLOCKED_LIMIT_S = 10.0


def patient(url: str) -> pika.BlockingConnection:
    """Connect. A broker that blocks its publishers (an alarm) is an error after a while, not a wait without end."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 0  # nobody pumps it between two uses
    parameters.blocked_connection_timeout = BLOCKED_LIMIT_S
    return pika.BlockingConnection(parameters)
