"""Fewer points for the same picture: what a line a few pixels wide can show; pure.

Time is cut into equal buckets. A bucket keeps its lowest and its highest point, so that no peak is lost; or, where a
count only says where things stand, its last.
"""

from collections.abc import Sequence
from itertools import groupby

Point = tuple[float, float]


def extremes(points: Sequence[Point], width: float) -> list[Point]:
    """Keep the lowest and the highest of each bucket, in the order of time. width: of a bucket, in minutes.

    points: ordered by time.
    """
    kept: list[Point] = []
    for bucket in _buckets(points, width):
        lowest, highest = min(bucket, key=lambda point: point[1]), max(bucket, key=lambda point: point[1])
        kept += [lowest] if lowest == highest else sorted([lowest, highest])
    return kept


def lasts(points: Sequence[Point], width: float) -> list[Point]:
    """Keep the last of each bucket."""
    return [bucket[-1] for bucket in _buckets(points, width)]


def held(points: Sequence[Point], times: Sequence[float], before: float = 0.0) -> list[Point]:
    """Give what held at each of these times: the last point's value, `before` while there was none.

    times: ordered. So lines that were read at different times can be stacked, or set side by side.
    """
    found: list[Point] = []
    rest, value = iter(points), before
    coming = next(rest, None)
    for time in times:
        while coming is not None and coming[0] <= time:
            value, coming = coming[1], next(rest, None)
        found.append((time, value))
    return found


def _buckets(points: Sequence[Point], width: float) -> list[list[Point]]:
    return [list(bucket) for _, bucket in groupby(points, key=lambda point: point[0] // width)]
