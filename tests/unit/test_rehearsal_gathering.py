"""Code that runs gets copies; nothing else changes."""

import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType

import pytest

from consumer.rehearsal import gathering

SOURCE = """
def called(n):
    def inner(m):
        return m + 1
    return inner(n)

def idle(n):
    return n

def generated(n):
    yield from range(n)
"""


def module(file: str = "one.py") -> dict[str, FunctionType]:
    space: dict[str, FunctionType] = {}
    exec(compile(SOURCE, file, "exec"), space)
    return space


def inner(code: CodeType) -> CodeType:
    return next(constant for constant in code.co_consts if isinstance(constant, CodeType))


@pytest.fixture
def no_profiler() -> Iterator[None]:
    """Stand in for a tool that watches the tests themselves."""
    usual = sys.getprofile()
    sys.setprofile(None)
    yield
    sys.setprofile(usual)


def test_what_ran_is_copied_and_does_the_same(no_profiler: None) -> None:
    """Functions made while it runs included; what did not run keeps its code, and so do both their places."""
    one = module()
    before = {name: one[name].__code__ for name in ("called", "idle", "generated")}
    codes = gathering.ran(lambda: (one["called"](1), list(one["generated"](2))))
    assert {code.co_name for code in codes.values()} >= {"called", "inner", "generated"}
    assert gathering.gather(codes) >= 2

    assert one["idle"].__code__ is before["idle"]
    for name in ("called", "generated"):
        assert one[name].__code__ is not before[name]
        assert one[name].__code__ == before[name]
        assert list(one[name].__code__.co_positions()) == list(before[name].co_positions())
    assert inner(one["called"].__code__) is not inner(before["called"])
    assert one["called"](1) == 2
    assert list(one["generated"](2)) == [0, 1]


def test_closures_keep_their_cells_and_share_one_copy(no_profiler: None) -> None:
    """Two functions of one code, each with its own value, before and after."""

    def adder(by: int) -> Callable[[int], int]:
        def add(to: int) -> int:
            return to + by

        return add

    one, two = adder(1), adder(2)
    before = one.__code__
    gathering.gather(gathering.ran(lambda: one(0)))
    assert one.__code__ is two.__code__
    assert one.__code__ is not before
    assert (one(10), two(10)) == (11, 12)


def test_equal_code_of_another_file_stays_there(no_profiler: None) -> None:
    """A traceback must name the file that the code is from."""
    one, other = module("one.py"), module("other.py")
    assert one["idle"].__code__ == other["idle"].__code__
    gathering.gather(gathering.ran(lambda: (one["idle"](1), other["idle"](1))))
    assert one["idle"].__code__.co_filename == "one.py"
    assert other["idle"].__code__.co_filename == "other.py"


def test_a_profiler_at_work_is_left_alone(no_profiler: None) -> None:
    """The work is done, and nothing learnt."""
    seen: list[str] = []

    def profiler(_frame: object, event: str, _argument: object) -> None:
        seen.append(event)

    done: list[int] = []
    sys.setprofile(profiler)
    codes = gathering.ran(lambda: done.append(1))
    assert sys.getprofile() is profiler
    sys.setprofile(None)
    assert not codes
    assert done == [1]
    assert seen


def test_a_failure_ends_the_noting(no_profiler: None) -> None:
    """The exception comes through, and no profiler stays behind."""
    with pytest.raises(ZeroDivisionError):
        gathering.ran(lambda: 1 / 0)
    assert sys.getprofile() is None
