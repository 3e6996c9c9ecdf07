"""What every test may ask for."""

pytest_plugins = [
    "tests.fixtures.cgroup",
    "tests.fixtures.servers",
    "tests.fixtures.postgres",
    "tests.fixtures.rabbitmq",
    "tests.fixtures.memory_api",
    "tests.fixtures.stack",
    "tests.fixtures.tls",
    "tests.fixtures.worker",
    "tests.fixtures.desk",
    "tests.fixtures.commands",
]
