"""`python -m scripts.servers`: start all servers, print how to reach them, stop them on ^C."""

import signal
import sys

from scripts.servers.process import ServerFailed, ServerMissing
from scripts.servers.stack import Stack


def main() -> int:
    wanted = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    try:
        with Stack() as stack:
            stack.postgres.create_database("robot_context_handling")
            for name, value in stack.environment("robot_context_handling").items():
                print(f"export {name}={value}")
            print("# ^C stops them", file=sys.stderr)
            sys.stdout.flush()
            # Blocked only now: during the start ^C must be able to interrupt.
            signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
            signal.sigwait(wanted)
    except KeyboardInterrupt:
        return 130
    except (ServerMissing, ServerFailed) as error:
        print(f"servers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
