"""The broker's URL: what of it is TLS, and what is left for pika."""

import ssl

import pytest

from consumer import amqp, tls
from consumer.settings import BrokerSettings


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "vhost"),
    [
        ("amqps://broker.example", "broker.example", 5671, "guest", "/"),
        ("amqps://broker.example:/", "broker.example", 5671, "guest", "/"),
        ("amqps://u%40x:p%2Fw@broker.example/a%2Fb", "broker.example", 5671, "u@x", "a/b"),
        ("amqps://u:p@broker.example:443/%2F?heartbeat=7", "broker.example", 443, "u", "/"),
        ("amqps://u:p@[::1]/", "::1", 5671, "u", "/"),
        ("amqps://u:p@[::1]:443/", "::1", 443, "u", "/"),
        ("AMQPS://u:p@broker.example", "broker.example", 5671, "u", "/"),
        ("amqps://h?heartbeat=7&ssl_options={'server_hostname':'n'}", "h", 5671, "guest", "/"),
    ],
)
def test_a_url_of_tls_keeps_all_that_is_in_it(url: str, host: str, port: int, user: str, vhost: str) -> None:
    """And is verified, certificate and name."""
    found = amqp.parameters(BrokerSettings(url, "q"), "test")
    assert (found.host, found.port, found.credentials.username) == (host, port, user)
    assert found.virtual_host == vhost
    assert found.heartbeat == (7 if "heartbeat" in url else amqp.HEARTBEAT_S)
    assert found.ssl_options.context.verify_mode is ssl.CERT_REQUIRED
    assert found.ssl_options.context.check_hostname
    assert found.ssl_options.server_hostname == ("n" if "server_hostname" in url else None)


def test_plain_amqp_is_left_alone() -> None:
    """It has no TLS, and its own port."""
    url = "amqp://u:p@broker.example/x?heartbeat=7"
    assert tls.split(url) == (url, None)
    assert amqp.parameters(BrokerSettings(url, "q"), "test").port == 5672


def test_contexts_of_the_system_s_authorities_are_shared() -> None:
    """Each costs 17 ms and 0.8 MB; those with files of their own are read again, as the files may have changed."""
    first, second = (tls.split("amqps://h")[1] for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.context is second.context
    own, other = (tls.split("amqps://h?ssl_options={'ciphers':'HIGH'}")[1] for _ in range(2))
    assert own is not None
    assert other is not None
    assert own.context is not other.context
