"""What /readyz says, asked until it says it."""

import httpx

from tests.fixtures.worker import Worker


def why_not_ready(worker: Worker) -> str:
    """Give the text once it is not ready for the sake of a server that is waited for."""
    said: list[str] = []

    def refused() -> bool:
        answer = httpx.get(_url(worker), trust_env=False)
        said[:] = [answer.text]
        return answer.status_code == 503 and "waiting for" in answer.text

    worker.wait_until(refused, "/readyz says why not")
    return said[0]


def until_ready(worker: Worker) -> None:
    worker.wait_until(lambda: httpx.get(_url(worker), trust_env=False).status_code == 200, "it is ready")


def _url(worker: Worker) -> str:
    return f"http://{worker.wait_for('status_listening')['address']}/readyz"
