"""What is repeated of a command line to whoever reads the terminal or the journal: no URL, no password."""

import re

SECRETIVE = re.compile(r"([a-z][a-z0-9+.-]*://|\bpassword\s*=)\S+", re.IGNORECASE)


def redacted(text: str) -> str:
    """Leave out of a text all that might be a secret: a URL that lost its option, by a space too many, may hold one."""
    return SECRETIVE.sub(r"\1***", text)
