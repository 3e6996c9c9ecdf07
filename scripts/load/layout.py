"""Where words go so that none covers another; pure. Lengths in pixels."""

from collections.abc import Sequence

LETTER = 6.3  # how wide a letter of the 11 px font is, rather more than on average


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Move labels apart along a line as little as needed: each is centred near where it is wanted.

    low, high: what they may fill; where they do not fit, they go past `high`. Returns the centres, in the given order.
    """
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    centres = list(wanted)
    end = low
    for n in order:
        centres[n] = max(wanted[n], end + heights[n] / 2)
        end = centres[n] + heights[n] / 2
    end = max(high, low + sum(heights))
    for n in reversed(order):
        centres[n] = min(centres[n], end - heights[n] / 2)
        end = centres[n] - heights[n] / 2
    return centres


def lanes(starts: Sequence[float], words: Sequence[str], gap: float = 14) -> list[int]:
    """Give each text a lane, 0 the lowest, so that no text covers another.

    A text begins at its start, where a rule comes up to it: so it also stays above all rules that it passes over.
    """
    found = [0] * len(starts)
    for n in sorted(range(len(starts)), key=lambda n: (starts[n], n), reverse=True):
        end = starts[n] + LETTER * len(words[n]) + gap
        passed = [m for m in range(len(starts)) if (starts[n], n) < (starts[m], m) and starts[m] < end]
        found[n] = max((found[m] + 1 for m in passed), default=0)
    return found
