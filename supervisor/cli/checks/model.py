"""The LLM: does it answer to the key, and has it the model? Its absence stops no start, so it is a warning."""

from dataclasses import replace
from http import HTTPStatus

import orjson

from consumer.llm import Analyst
from consumer.settings import LlmSettings
from supervisor.cli.checks.finding import Finding, fail, ok, warn

SUBJECT = "LLM"
TIMEOUT_S = 5.0


def look(settings: LlmSettings) -> Finding:
    """Ask for the list of models, as conversations are asked about; it costs nothing and shows none of them."""
    try:
        analyst = Analyst(replace(settings, timeout_s=TIMEOUT_S), ssl_context=None, pump=lambda: None)
    except ValueError as error:
        return fail(SUBJECT, str(error), "correct GROQ_BASE_URL, GROQ_API_KEY or GROQ_MODEL")
    reply = analyst.models()
    if reply.status is None or (reply.status == HTTPStatus.OK and reply.failed is not None):
        seen = f"GET /models: {reply.reason}"
        return warn(SUBJECT, seen, "start it, or correct GROQ_BASE_URL", status=reply.status)
    return judged(reply.status, reply.body, settings.model)


def judged(status: int, body: bytes, model: str) -> Finding:
    """Say what the answer to GET /models means. A server need not have that path: a 404 shows that it is there."""
    seen = f"GET /models: {status}"
    if status in {401, 403}:
        return warn(SUBJECT, f"{seen}: the key is refused", "correct GROQ_API_KEY", status=status)
    if status in {404, 405, 501}:
        return ok(SUBJECT, f"{seen}: it answers, and has no such path", status=status)
    if status != HTTPStatus.OK:
        return warn(SUBJECT, seen, "see why it is not well, or correct GROQ_BASE_URL", status=status)
    names = _names(body)
    if names and model not in names:
        return warn(SUBJECT, f"{seen}: it does not name {model}", "correct GROQ_MODEL", status=status)
    return ok(SUBJECT, f"{seen}: it has {model}" if names else seen, status=status)


def _names(body: bytes) -> set[str]:
    """Read the ids of an OpenAI-style list of models; none in anything else."""
    try:
        return {entry["id"] for entry in orjson.loads(body)["data"]}
    except (ValueError, LookupError, TypeError):
        return set()
