"""The page as a file: it stands alone, its policy fits it, and it has words for all that can happen."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from consumer.disposition import ErrorCode
from supervisor.events import Cause, Event
from supervisor.lifecycle import Phase
from supervisor.status import page

PAGE = page.load()
TEXT = PAGE.body.decode()
NAMESPACE = "http://www.w3.org/2000/svg"


class Elements(HTMLParser):
    """What the page is made of. inline: the texts of scripts and styles, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[tuple[str, str]] = []
        self.feed(TEXT)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in {"script", "style"} and data.strip() and self.cdata_elem:
            self.inline.append((self.tags[-1][0], data))


def test_names_no_other_host() -> None:
    """Nothing is fetched from anywhere: the only address in it is the name of SVG's vocabulary."""
    assert set(re.findall(r"(?:https?:|\s|[\"'(])//[\w.-]+[^\s\"')]*", TEXT.replace(NAMESPACE, ""))) == set()
    fetched = [
        (tag, attributes)
        for tag, attributes in Elements().tags
        if "src" in attributes or tag in {"iframe", "object", "embed", "base", "form"}
        or (tag == "link" and not (attributes["href"] or "").startswith("data:"))
    ]  # fmt: skip
    assert fetched == []
    assert "@import" not in TEXT
    assert "url(" not in TEXT


def test_markup_needs_nothing_that_the_policy_forbids() -> None:
    """No style attribute and no handler stands in the markup, and no text ever becomes markup."""
    attributes = {name for _, attributes in Elements().tags for name in attributes}
    assert [name for name in attributes if name == "style" or name.startswith("on")] == []
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "srcdoc",
    ):
        assert way not in TEXT


def test_policy_allows_the_page_and_nothing_else() -> None:
    """The hashes are those of the one script and the one style, and everything else is switched off."""
    headers = dict(PAGE.headers)
    policy = headers[b"content-security-policy"].decode()
    inline = Elements().inline
    assert [tag for tag, _ in inline] == ["style", "script"]
    for tag, text in inline:
        assert f"{tag}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "\r" not in TEXT  # a browser would hash it as a line feed
    assert headers[b"content-type"] == b"text/html; charset=utf-8"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert headers[b"cache-control"] == b"no-cache"


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def table(name: str) -> str:
    found = re.search(rf"^const {name} = \{{(.*?)^\}};", TEXT, re.DOTALL | re.MULTILINE)
    assert found, name
    return found[1]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("REASONS", [cause.value for cause in Cause]),
        ("CODES", [code.value for code in ErrorCode]),
        ("PHASES", [phase.name.lower() for phase in Phase]),
        ("EVENTS", [snake(one.__name__) for one in Event.__args__]),
    ],
)
def test_every_reason_code_phase_and_event_has_words(name: str, wanted: list[str]) -> None:
    """Whatever the supervisor can say of a child is explained on the page."""
    explained = set(re.findall(r"\b([A-Za-z_]+):", table(name)))
    assert [word for word in wanted if word not in explained] == []
