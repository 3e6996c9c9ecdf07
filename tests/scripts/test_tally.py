"""The last line of a test run speaks of all parts."""

from scripts.tally import main, read, told, verdict

GREEN = """<testsuites><testsuite><testcase classname="tests.a" name="test_x"/>
<testcase classname="tests.a" name="test_y"><skipped message="no server"/></testcase></testsuite></testsuites>"""
RED = """<testsuites><testsuite><testcase classname="tests.b" file="tests/b.py" name="test_z[1]">
<failure message="assert 1 == 2&#10;more">long</failure></testcase>
<testcase classname="tests.b" name="test_w"/>
<testcase classname="tests.b" name="test_v"><error message="fixture"/></testcase>
<testcase classname="tests.b.TestOuter.TestIn" file="tests/b.py" name="test_u[x.y]">
<failure message="no"/></testcase></testsuite></testsuites>"""


def test_failures_of_the_first_part_are_repeated_at_the_end() -> None:
    """Each by the name that pytest takes to run it again, and then the counts of both."""
    parts = [read(1, RED), read(0, GREEN)]
    assert list(told(parts)) == [
        "FAILED tests/b.py::test_z[1] - assert 1 == 2",
        "ERROR tests.b::test_v - fixture",
        "FAILED tests/b.py::TestOuter::TestIn::test_u[x.y] - no",
        "all parts: 2 failed, 1 error, 2 passed, 1 skipped",
    ]
    assert verdict(parts) == 1


def test_a_run_without_failures_says_so_and_is_0() -> None:
    """In one line."""
    parts = [read(0, GREEN), read(0, GREEN)]
    assert list(told(parts)) == ["all parts: 2 passed, 2 skipped"]
    assert verdict(parts) == 0


def test_a_part_that_died_is_no_success() -> None:
    """Nor is one that ended badly without a failed test, as when nothing was collected."""
    for report in (None, "<testsuites><testsu"):
        parts = [read(0, GREEN), read(0, report)]
        (line,) = told(parts)
        assert line == (
            "all parts: 1 passed, 1 skipped; 1 of 2 parts ended without a report: "
            "what had failed there is not counted, and is an F or E in its output above"
        )
        assert verdict(parts) == 1
    parts = [read(0, GREEN), read(5, GREEN)]
    assert list(told(parts)) == ["all parts: 2 passed, 2 skipped; exit statuses 0, 5"]
    assert verdict(parts) == 5


def test_a_report_that_is_not_there_is_none() -> None:
    """As where pytest could not begin."""
    assert main(["4", "/nonexistent/first.xml", "0", "/nonexistent/second.xml"]) == 4
