"""What every test may ask for."""

import signal

# So a shell starts what runs in its background, and nohup all: programs that a test starts would be deaf as well
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

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
