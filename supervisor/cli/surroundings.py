"""Variables that are not ours and can keep us from work: a command tries those of the servers that it uses."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from consumer import tls
from consumer.settings import ConsumerSettings
from repository import link
from repository.refusals import refusals
from supervisor.cli.options import CONNECTIONS, SOURCES
from supervisor.cli.settings import Examined, Problem

BROKER, DATABASE, MEMORY_API, S3, LLM = SERVERS = (
    "rabbitmq_url", "database_url", "memory_api_url", "s3_buckets", "groq_base_url",
)  # fmt: skip
"""Servers by the names of their settings."""
AWS_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE")
NAME_ANOTHER = "unset it, or name a file that can be used"


def look(found: Examined, environ: Mapping[str, str], uses: frozenset[str]) -> Iterator[Problem]:
    """Try what these servers need. found: all settings; of those with a problem, nothing more is asked."""
    consumer = found.settings.consumer
    yield from _tls(consumer, environ, uses)
    if DATABASE in uses and found.usable(DATABASE):
        yield from _database(consumer.database_url, environ)
    if S3 in uses and consumer.s3 is not None:
        for name in AWS_FILES:
            if link.is_pipe(environ.get(name, "")):
                text = f"{name} {link.PIPE}"
                yield Problem(name, SOURCES, text, NAME_ANOTHER, keeps_from=frozenset({S3}))


def _tls(consumer: ConsumerSettings, environ: Mapping[str, str], uses: frozenset[str]) -> Iterator[Problem]:
    secured = uses & _secured(consumer)
    # For the Memory API's calls a context is made before the fork, whatever its URL
    if not secured and MEMORY_API not in uses:
        return
    try:
        tls.require()
    except tls.NoTls as obstacle:
        yield Problem(obstacle.name, CONNECTIONS, str(obstacle), NAME_ANOTHER, keeps_from=secured)
        return
    if secured - ({BROKER} if "ssl_options" in urlsplit(consumer.broker.url).query else set()):
        for name, reason in tls.authority_faults(environ):
            remedy = "unset it for the system's authorities, or name what can be read"
            yield Problem(name, CONNECTIONS, f"{name} holds no certificate authorities: {reason}", remedy)


def _secured(consumer: ConsumerSettings) -> frozenset[str]:
    """Name the servers that are reached by a context of ours, or by libpq with the same authorities."""
    uses_tls = {
        BROKER: urlsplit(consumer.broker.url).scheme == "amqps",
        DATABASE: "sslrootcert=system" in consumer.database_url,
        MEMORY_API: consumer.memory_api.url.lower().startswith("https:"),
        S3: consumer.s3 is not None and not (consumer.s3.endpoint or "").lower().startswith("http:"),
        LLM: consumer.llm is not None and consumer.llm.base_url.lower().startswith("https:"),
    }
    return frozenset(name for name, secured in uses_tls.items() if secured)


def _database(url: str, environ: Mapping[str, str]) -> Iterator[Problem]:
    pipe = link.pipe(url, environ)
    if pipe is not None:
        # libpq would open it at the next question
        yield Problem(DATABASE, CONNECTIONS, f"{pipe} {link.PIPE}", NAME_ANOTHER)
        return
    for blamed, reason in refusals(url):
        names = " or ".join(blamed) or "DATABASE_URL"
        remedy = "correct it, or unset it" if blamed else "correct it"
        if "user" in reason:
            remedy = "name the user in DATABASE_URL"
        yield Problem(DATABASE, CONNECTIONS, f"{names} is refused by libpq: {reason}", remedy)
    root = link.missing_root(url, environ)
    if root is not None:
        remedy = "name the authority of the database"
        yield Problem(root, CONNECTIONS, f"{root} names no file that can be read", remedy)
