"""What every test may ask for."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background so, and every program that a test starts would be deaf to ^C as well
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "tests.fixtures.cgroup",
    "tests.fixtures.servers",
    "tests.fixtures.postgres",
    "tests.fixtures.rabbitmq",
    "tests.fixtures.memory_api",
    "tests.fixtures.s3",
    "tests.fixtures.llm",
    "tests.fixtures.stack",
    "tests.fixtures.tls",
    "tests.fixtures.worker",
    "tests.fixtures.desk",
    "tests.fixtures.commands",
]
