"""Variables that are not ours and can keep us from work: every command tries what they name before it is used."""

from collections.abc import Iterator, Mapping, MutableMapping
from urllib.parse import urlsplit

from consumer import tls
from consumer.settings import ConsumerSettings
from repository import link
from repository.connection import refusal
from supervisor.cli.options import CONNECTIONS
from supervisor.cli.settings import Examined, Problem

KEY_LOG = "SSLKEYLOGFILE"


def without_key_log(environ: MutableMapping[str, str]) -> list[Problem]:
    """Try where TLS is to write its keys: no context can be made while that fails, so the variable goes then."""
    reason = tls.key_log_fault(environ.get(KEY_LOG, ""))
    if reason is None:
        return []
    del environ[KEY_LOG]
    return [_problem(KEY_LOG, f"cannot be written: {reason}", "unset it, or name a file that can be")]


def look(found: Examined, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Try what the servers in use need. found: all settings; of those with a problem, nothing more is asked."""
    consumer = found.settings.consumer
    if _uses_tls(consumer):
        for name, reason in tls.authority_faults(environ):
            remedy = "unset it for the system's authorities, or name what can be read"
            yield _problem(name, f"holds no certificate authorities: {reason}", remedy)
    if found.usable("database_url"):
        refused = refusal(consumer.database_url)
        if refused is not None:
            given = ", ".join(sorted(name for name in environ if name.startswith("PG")))
            remedy = f"correct it, or {given}" if given else "correct it, and name the user in it"
            yield Problem("database_url", CONNECTIONS, f"DATABASE_URL is refused by libpq: {refused}", remedy)
        root = link.missing_root(consumer.database_url, environ)
        if root is not None:
            yield _problem(root, "names no file that can be read", "name the authority of the database")


def _uses_tls(consumer: ConsumerSettings) -> bool:
    broker = urlsplit(consumer.broker.url)
    return (
        (broker.scheme == "amqps" and "ssl_options" not in broker.query)
        or consumer.memory_api.url.lower().startswith("https:")
        or (consumer.s3 is not None and not (consumer.s3.endpoint or "").lower().startswith("http:"))
        or "sslrootcert=system" in consumer.database_url
        or (consumer.llm is not None and consumer.llm.base_url.lower().startswith("https:"))
    )


def _problem(name: str, seen: str, remedy: str) -> Problem:
    return Problem(name, CONNECTIONS, f"{name} {seen}", remedy)
