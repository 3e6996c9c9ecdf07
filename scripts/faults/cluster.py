"""Three supervisors and a three-node RabbitMQ cluster on this machine, whose queue's leader is killed in mid-run.

    python -m scripts.faults.cluster --kills 3

The queue is a quorum queue with a replica on every node, and everybody reaches the nodes through a TCP balancer, as
behind a cluster's service name. Each time the node that leads the queue gets SIGKILL while all supervisors are at work;
what was published is waited for, the node comes back, and the next leader is killed. Exits 1 when a message is lost,
counted twice or failed.
"""

import contextlib
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import sleep

import click
import orjson

from repository.migrations import migrate
from scripts.faults.cluster_balancer import Balancer
from scripts.faults.outages_load import Books, Load, Verdict
from scripts.faults.supervised import Supervised
from scripts.measure import NotReached, machine
from scripts.servers.directory import temporary_directory
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.postgres import Postgres
from scripts.servers.process import ServerFailed, ServerMissing
from scripts.servers.rabbitmq import RabbitMQ

QUEUE = "conversations"
DATABASE = "cluster"
SUPERVISORS = 3
CHILDREN = 3
API_S = 0.5
PER_S = 12.0
LOADED_S = 4.0
DOWN_S = 4.0
"""Publishing goes on for so long without the node."""
LEASE_S = 60.0
LIMIT_S = 30.0 + LEASE_S + 5.0


class Nodes:
    """The cluster's nodes."""

    def __init__(self, nodes: list[RabbitMQ]) -> None:
        self.nodes = nodes

    @property
    def any_running(self) -> RabbitMQ:
        return next(node for node in self.nodes if node.running)

    def leader(self) -> RabbitMQ:
        """Return the node that leads the queue. Raises ServerFailed while there is none."""
        for line in self.any_running.rabbitmqctl("list_queues", "name", "leader", "members").splitlines():
            name, leader, *_ = line.split("\t")
            if name == QUEUE:
                return next(node for node in self.nodes if node.node == leader and node.running)
        raise ServerFailed(f"no queue {QUEUE}")

    def replicas(self) -> int:
        """Count the nodes that hold the queue."""
        lines = self.any_running.rabbitmqctl("list_queues", "name", "members").splitlines()
        return next(line.count("@") for line in lines if line.split("\t")[0] == QUEUE)


def run(directory: Path, kills: int) -> Verdict:
    """Do it, and judge what became of the conversations."""
    with contextlib.ExitStack() as resources:
        nodes = [RabbitMQ.start(directory)]
        resources.callback(nodes[0].close)
        for number in (2, 3):
            nodes.append(RabbitMQ.start_another(nodes[0], directory, f"rabbitmq-{number}"))
            resources.callback(nodes[-1].close)
        postgres = Postgres.start(directory)
        resources.callback(postgres.close)
        memory_api = MemoryApiStandIn.start(directory)
        resources.callback(memory_api.close)
        memory_api.set_mode("delay", seconds=API_S, spread_s=API_S / 2)
        url = postgres.create_database(DATABASE)
        migrate(url)
        balancer = resources.enter_context(Balancer([node.port for node in nodes]))
        broker_url = f"amqp://guest:guest@127.0.0.1:{balancer.port}/%2F"
        environment = {
            "RABBITMQ_URL": broker_url,
            "RABBITMQ_QUEUE": QUEUE,
            "DATABASE_URL": url,
            "MEMORY_API_URL": memory_api.url,
            "MEMORY_API_TIMEOUT_SECONDS": "10",
            "FRIENDSHIP_LEASE": str(LEASE_S),
            "FRIENDSHIP_RETRY_EVERY": "5",
            "FRIENDSHIP_CHILDREN": str(CHILDREN),
        }
        supervisors = []
        for number in range(SUPERVISORS):
            own = directory / f"supervisor-{number}"
            own.mkdir()
            supervisors.append(resources.enter_context(Supervised(own, environment)))
        for one in supervisors:
            one.wait_until(partial(all_ready, one), "all children are ready")
        load = resources.enter_context(Load([broker_url], QUEUE, per_s=PER_S))
        cluster, books = Nodes(nodes), Books(url)
        resources.callback(books.close)
        print(f"{cluster.replicas()} replicas, {SUPERVISORS} supervisors with {CHILDREN} children each")
        for _ in range(kills):
            say(kill_the_leader(cluster, load, books))
        for one in supervisors:
            one.look()
        say({"waiting_lines": [len(one.logged("waiting")) for one in supervisors]})
        return books.verdict(load, memory_api)


def all_ready(supervised: Supervised) -> bool:
    return len(supervised.ready()) == CHILDREN


def kill_the_leader(cluster: Nodes, load: Load, books: Books) -> dict[str, object]:
    """Kill it under load; return what happened, with times in seconds."""
    load.resume()
    sleep(LOADED_S)
    leader = cluster.leader()
    before = len(load.confirmed)
    leader.kill()
    sleep(DOWN_S)
    confirmed = len(load.confirmed) - before
    load.pause()
    caught_up_s = books.wait_until_done(load, LIMIT_S)
    leader.start_again()
    return {
        "killed": leader.node,
        "confirmed_before": before,
        "confirmed_without_it": confirmed,
        "caught_up_s": caught_up_s,
        "led_by": cluster.leader().node,
    }


def say(what: dict[str, object]) -> None:
    print(orjson.dumps(what).decode(), flush=True)


@click.command(help=(__doc__ or "").partition("\n\n")[0])
@click.option("--kills", default=3, show_default=True)
def main(kills: int) -> None:
    """Run it."""
    print(machine())
    try:
        with temporary_directory() as directory:
            verdict = run(directory, kills)
    except (ServerMissing, ServerFailed, NotReached) as failed:
        sys.exit(str(failed))
    say(asdict(verdict))
    sys.exit(0 if verdict.good else 1)


if __name__ == "__main__":
    main()
