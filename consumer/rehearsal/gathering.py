"""Code that runs, brought together in memory.

Theory of operation. To call a function is to write to it: the interpreter counts references on its code object, and
specialised bytecode keeps counters beside its instructions. A module's code objects lie as they were loaded, those that
run among many more that never do, so a child that runs a tenth of the functions writes to far
more than a tenth of the pages. Copies of the code objects that ran, made one after the other, lie close together; the
functions are given the copies.

`function.__code__ = code.replace()` changes nothing that a program can see but the identity of the code. What is
written by running is not copied: gather first, rehearse then.
"""

import gc
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FrameType, FunctionType
from typing import Any

Codes = Mapping[int, CodeType]
"""Code objects by identity: two of different files may be equal."""


_kept: list[CodeType] = []
"""What was copied. Freed, it would leave holes on shared pages, which each child would fill for itself."""


def ran(work: Callable[[], object]) -> Codes:
    """Do the work; return all code that ran in this thread meanwhile, in the order in which it first did.

    Nothing is learnt where a profiler is at work already: it is left alone.
    """
    seen: dict[int, CodeType] = {}

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            seen[id(frame.f_code)] = frame.f_code

    if sys.getprofile() is not None:
        work()
        return {}
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return seen


def gather(codes: Codes) -> int:
    """Give every function that the collector knows a copy of its code if that is one of these; return how many."""
    functions: dict[int, list[FunctionType]] = {}
    for candidate in gc.get_objects():
        if type(candidate) is FunctionType and id(candidate.__code__) in codes:
            functions.setdefault(id(candidate.__code__), []).append(candidate)
    for key, code in codes.items():
        if key in functions:
            copy = _copied(code, codes)
            _kept.append(code)
            for function in functions[key]:
                function.__code__ = copy
    return sum(map(len, functions.values()))


def _copied(code: CodeType, codes: Codes) -> CodeType:
    """Copy code, and what it holds of the code of functions that are made while it runs."""
    inner = (
        _copied(constant, codes) if isinstance(constant, CodeType) and id(constant) in codes else constant
        for constant in code.co_consts
    )
    return code.replace(co_consts=tuple(inner))
