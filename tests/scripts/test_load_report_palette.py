"""The colours of the charts."""

from itertools import combinations

import pytest

from scripts.load import palette
from scripts.load.palette import Colour

# How each kind of colour blindness sees linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.0.
SIGHTS = {
    "all colours": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "no red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "no green": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "no blue": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.089)
Triple = tuple[float, float, float]
Matrix = tuple[Triple, Triple, Triple]


def linear(colour: str) -> Triple:
    def one(start: int) -> float:
        value = int(colour[start : start + 2], 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    return one(1), one(3), one(5)


def times(matrix: Matrix, vector: Triple) -> Triple:
    a, b, c = (sum(x * y for x, y in zip(row, vector, strict=True)) for row in matrix)
    return a, b, c


def lab(colour: str, sight: Matrix) -> Triple:
    xyz = times(TO_XYZ, times(sight, linear(colour)))
    x, y, z = (max(0.0, value) / white for value, white in zip(xyz, WHITE, strict=True))
    fx, fy, fz = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def apart(one: str, other: str, sight: Matrix) -> float:
    pairs = zip(lab(one, sight), lab(other, sight), strict=True)
    return float(sum((x - y) ** 2 for x, y in pairs) ** 0.5)


def contrast(one: str, other: str) -> float:
    dark, light = sorted(times(TO_XYZ, linear(colour))[1] for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("shade", ["light", "dark"])
def test_workers_are_told_apart_with_every_kind_of_sight(sight: str, shade: str) -> None:
    """A difference of 2.3 is just noticeable; lines want much more."""
    colours = [getattr(colour, shade) for colour in palette.WORKERS.values()]
    assert min(apart(*pair, SIGHTS[sight]) for pair in combinations(colours, 2)) > 15


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_labels_are_legible(shade: str) -> None:
    """A contrast of 4.5 to the page is what accessible text of this size needs."""
    page = getattr(palette.PAGE, shade)
    for colour in (*palette.WORKERS.values(), *palette.OTHERS, palette.INK, palette.SOFT, palette.LIMIT):
        assert contrast(getattr(colour, shade), page) >= 4.5


def test_each_light_colour_has_one_dark_one() -> None:
    """The style sheet finds a colour's meaning by its light form."""
    lights = [colour.light for colour in palette.every()]
    assert len(set(lights)) == len(lights)
    sheet = palette.follow_reader()
    assert sheet.startswith("@media (prefers-color-scheme:dark)")
    for colour in palette.every():
        assert f'[stroke="{colour.light}"]{{stroke:{colour.dark}}}' in sheet


def test_an_unknown_worker_gets_a_colour_of_its_own() -> None:
    """The known have theirs wherever they stand."""
    assert palette.worker("supervised", 3) == palette.WORKERS["supervised"]
    unknown = {palette.worker("another", n) for n in range(3)}
    assert len(unknown) == 3
    assert all(isinstance(colour, Colour) and colour not in palette.WORKERS.values() for colour in unknown)
