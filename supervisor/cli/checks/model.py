"""The LLM: does it answer to the key, and has it the model? Its absence stops no start, so it is a warning."""

import httpx
import orjson

from consumer.memory_api import prepare
from consumer.settings import LlmSettings
from supervisor.cli.checks.finding import Finding, ok, warn

SUBJECT = "LLM"
TIMEOUT_S = 5.0


def look(settings: LlmSettings) -> Finding:
    """Ask for the list of models, which costs nothing and shows no conversation."""
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    try:
        with httpx.Client(verify=prepare(), trust_env=False, timeout=TIMEOUT_S) as client:
            answer = client.get(f"{settings.base_url.rstrip('/')}/models", headers=headers)
    except httpx.HTTPError as error:
        return warn(SUBJECT, f"no answer ({type(error).__name__})", "start it, or correct GROQ_BASE_URL")
    return judged(answer.status_code, answer.content, settings.model)


def judged(status: int, body: bytes, model: str) -> Finding:
    """Say what the answer to GET /models means. A server need not have that path: a 404 shows that it is there."""
    seen = f"GET /models: {status}"
    if status in {401, 403}:
        return warn(SUBJECT, f"{seen}: the key is refused", "correct GROQ_API_KEY", status=status)
    if status in {404, 405, 501}:
        return ok(SUBJECT, f"{seen}: it answers, and has no such path", status=status)
    if status != httpx.codes.OK:
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
