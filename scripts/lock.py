"""Write requirements.lock: every package that `setup.cfg` brings along, pinned, with the hashes of all its files."""

import sys

from scripts.one_off import ToolMissing, checkout, complain, run, tool

LOCK = "requirements.lock"
OLDEST = "3.11"
HEAD = """\
# What production installs, with the extra s3, for Python 3.11 and newer:
#     pip install --require-hashes -r requirements.lock && pip install --no-deps .
# Written by ./scripts/lock; held against setup.cfg by tests/security/test_dependencies.py.
"""


def main() -> int:
    try:
        with tool("uv") as uv:
            done = run(
                *(uv, "pip", "compile", "setup.cfg", "--universal", "--python-version", OLDEST, "--upgrade"),
                *("--extra", "s3", "--generate-hashes", "--no-header", "--quiet"),
            )
    except ToolMissing as missing:
        complain("lock", str(missing))
        return 1
    if done.returncode != 0:
        complain("lock", done.stderr.strip())
        return 1
    (checkout() / LOCK).write_text(HEAD + done.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
