"""The report as one HTML file, and as pictures."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import orjson
import pytest

from scripts.load import charts, renderer
from scripts.load.page import page, specs
from scripts.load.renderer import NoRenderer
from scripts.load.report import headline_chart, report
from scripts.load.results import Run
from scripts.load.verdict import sentence
from tests.scripts import replayed

HOSTILE = '</script><img src="http://x/">&\'"'
FETCHED = (
    "script",
    "link",
    "img",
    "iframe",
    "object",
    "embed",
    "source",
    "video",
    "audio",
    "use",
    "image",
    "a",
)
NAMED = {"src", "href", "xlink:href", "srcset", "data", "action"}


class Reader(HTMLParser):
    """Collects what a browser would: elements with what they refer to, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.referring: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.referring += [(name, value) for name, value in attrs if name in NAMED]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem is None:
            self.words.append(data)


def everyone() -> Run:
    workers = (replayed.threaded(), replayed.supervised(), replayed.celery(), replayed.dramatiq())
    return replayed.run(*workers, steps=replayed.STEPS)


def hostile() -> Run:
    worker = replace(replayed.supervised(), title=HOSTILE, version=HOSTILE)
    return replace(replayed.run(worker), title=HOSTILE, machine=HOSTILE, command=HOSTILE, limit=HOSTILE)


def test_the_page_says_all_that_is_known() -> None:
    """Verdicts, figures, what was run and where."""
    run = everyone()
    words = " ".join(Reader(page(run, "<svg></svg>", "")).words)
    for worker in run.workers:
        assert sentence(run, worker) in words
    for known in (run.title, run.machine, run.command, run.started_at, "11,420", "Celery 5.7.0", "1.48%"):
        assert known in words
    assert "$" not in words


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """Nothing refers to anything, and the page itself forbids what would."""
    text = page(everyone(), "<svg></svg>", "1")
    found = Reader(text)
    assert found.referring == []
    assert set(found.tags).isdisjoint(set(FETCHED) - {"script"})
    assert "Content-Security-Policy" in text
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text)


def test_whatever_names_are_given_the_page_stays_itself() -> None:
    """Titles, the machine and the command are text, in the page and in its charts' data."""
    plain = page(replace(hostile(), title="a"), "", "")
    assert Reader(plain).tags.count("img") == 0
    harmless = page(replayed.run(replace(replayed.supervised(), version="1")), "", "")
    assert Reader(plain).tags == Reader(harmless).tags
    data = orjson.loads(Reader(page(hostile(), "", "")).scripts[0])
    assert HOSTILE in orjson.dumps(data).decode().replace('\\"', '"')


def test_a_script_cannot_end_its_element() -> None:
    """Even if a library brought such a string."""
    found = Reader(page(everyone(), "", 'const a = "</SCRIPT><img src=x>"'))
    assert "img" not in found.tags


def test_each_chart_has_its_place() -> None:
    """As many places as specifications, the first already filled."""
    run = everyone()
    text = page(run, "<svg>first</svg>", "")
    count = len(specs(run))
    assert count == 6
    assert re.findall(r'id="chart-(\d+)"', text) == [str(n) for n in range(count)]
    assert '<div class="chart" id="chart-0"><svg>first</svg></div>' in text


@pytest.mark.parametrize(
    ("run", "count"),
    [
        (replayed.run(), 0),
        (replayed.run(steps=replayed.STEPS), 1),
        (replayed.run(replace(replayed.supervised(), readings=(), progress=())), 0),
        (replayed.run(replace(replayed.supervised(), progress=())), 1),
    ],
)
def test_only_what_was_measured_is_drawn(run: Run, count: int) -> None:
    """A run of steps has no memory over time; one that read nothing has no charts."""
    text = page(run, "", "")
    assert len(re.findall(r'id="chart-', text)) == count == len(specs(run))


def test_pictures_and_script_come_from_one_start_of_the_library() -> None:
    """The page holds the library once; the picture is well-formed, fits 900 pixels and is for both themes."""
    made = report(replace(hostile(), title=HOSTILE))
    assert made.html.count("window.vegaEmbed=") == 1
    assert Reader(made.html).referring == []
    picture = ET.fromstring(made.svg)
    assert float(picture.get("width", "")) <= 900
    assert HOSTILE in "".join(picture.itertext())
    assert "prefers-color-scheme:dark" in made.svg
    names = {name.rpartition("}")[2] for element in picture.iter() for name in element.attrib}
    assert names.isdisjoint(NAMED)
    assert "@import" not in made.svg


def test_the_headline_is_the_memory_unless_there_are_only_steps() -> None:
    """What is drawn for the README."""
    assert headline_chart(everyone()) == charts.memory(everyone())
    assert "hconcat" in headline_chart(replayed.run(steps=replayed.STEPS))


def test_a_chart_that_cannot_be_drawn_says_why() -> None:
    """The library's own words are kept."""
    with pytest.raises(NoRenderer, match="vl-convert ended with 1"):
        renderer.svg({"vconcat": 7})


def test_who_asks_for_charts_starts_no_thread() -> None:
    """The library works in a process of its own: this one may fork afterwards."""
    program = (
        "import sys\nfrom scripts.load import report, renderer\n"
        "assert 'vl_convert' not in sys.modules\n"
        "renderer.svg({'data': {'values': [{'a': 1}]}, 'mark': 'bar', 'encoding': {}})\n"
        "assert 'vl_convert' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=renderer.ROOT, check=True)
