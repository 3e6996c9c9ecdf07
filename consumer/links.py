"""How the ways to broker, database, Memory API, S3 and LLM are protected: one sentence for each that is not."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from consumer.settings import ConsumerSettings
from repository import link


def exposures(settings: ConsumerSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Say which links leave this machine unprotected, and what to give instead. Holds host names, no more of a URL.

    settings: with URLs that were read without an error. environ: where libpq looks for what the URL leaves out.
    """
    database = link.exposure(settings.database_url, environ)
    found = (
        _plain("RABBITMQ_URL", settings.broker.url, "amqp", "amqps"),
        database and f"DATABASE_URL: {database}: give sslmode=verify-full and sslrootcert=",
        _plain("MEMORY_API_URL", settings.memory_api.url, "http", "https"),
        settings.s3 and _plain("S3_ENDPOINT_URL", settings.s3.endpoint or "", "http", "https"),
        settings.llm and _plain("GROQ_BASE_URL", settings.llm.base_url, "http", "https"),
    )
    return tuple(sentence for sentence in found if sentence)


def _plain(name: str, url: str, plain: str, safe: str) -> str | None:
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    if parts.scheme != plain or link.is_local(host):
        return None
    return (
        f"{name}: the link to {host} is not encrypted, and whoever answers is taken for the server: "
        f"conversations and password can be read on the way; give an {safe}:// URL"
    )
