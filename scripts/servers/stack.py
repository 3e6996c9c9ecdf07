"""All servers as one: started side by side, stopped together, their directory removed."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from scripts.servers.directory import temporary_directory
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.postgres import Postgres
from scripts.servers.rabbitmq import RabbitMQ


class Stack:
    """A RabbitMQ, a PostgreSQL and a Memory API stand-in; a context manager."""

    def __init__(self) -> None:
        self._resources = contextlib.ExitStack()
        self.rabbitmq: RabbitMQ
        self.postgres: Postgres
        self.memory_api: MemoryApiStandIn

    def start(self) -> Self:
        """Start the three, the slow two at the same time.

        Raises ServerMissing or ServerFailed, with none left running.
        """
        with contextlib.ExitStack() as resources:
            directory = resources.enter_context(temporary_directory())
            self.memory_api = MemoryApiStandIn.start(directory)
            resources.callback(self.memory_api.close)
            with ThreadPoolExecutor(2) as pool:
                rabbitmq = pool.submit(RabbitMQ.start, directory)
                postgres = pool.submit(Postgres.start, directory)
                for server in (rabbitmq, postgres):
                    if server.exception() is None:
                        resources.callback(server.result().close)
                self.rabbitmq, self.postgres = rabbitmq.result(), postgres.result()
            self._resources = resources.pop_all()
        return self

    def stop(self) -> None:
        self._resources.close()

    def environment(self, database: str = "postgres") -> dict[str, str]:
        """Return the variables that point friendship-supervisor at these servers."""
        return {
            "RABBITMQ_URL": self.rabbitmq.url,
            "DATABASE_URL": self.postgres.url_of(database),
            "MEMORY_API_URL": self.memory_api.url,
        }

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
