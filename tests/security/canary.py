"""Canaries: words that are planted where a secret or a child's words would be, and searched for everywhere else."""

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote


def shapes(word: str) -> list[bytes]:
    """Give the forms in which a word might escape: as it is, percent-encoded, in JSON, and within base64."""
    plain = word.encode()
    forms = [plain, quote(word, safe="").encode(), json.dumps(word)[1:-1].encode()]
    # Of what stands before a word in base64 only the length counts, modulo 3: its letters begin after 0, 2 or 3 of the
    # text's, the first of which it may share, as it may the last two.
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        coded = base64.b64encode(b"\0" * before + plain).rstrip(b"=")
        forms.append(coded[skipped:-2])
    return forms


def sung(words: Iterable[str], where: str | bytes) -> list[str]:
    """Say which of the words are in there, in any form."""
    text = where.encode("utf-8", "surrogateescape") if isinstance(where, str) else where
    return [word for word in words if any(shape in text for shape in shapes(word))]
