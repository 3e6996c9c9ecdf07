"""What the page shows of the past: each slot's memory, and how fast messages are settled."""

from collections import deque
from collections.abc import Mapping
from typing import Any

EVERY_S = 2.0
SAMPLES = 150
RATE_S = 60.0


class History:
    """Samples of the last five minutes, the oldest first."""

    def __init__(self) -> None:
        self._rss: dict[int, deque[float | None]] = {}
        self._settled: deque[tuple[float, int, int]] = deque(maxlen=SAMPLES)

    def add(self, status: Mapping[str, Any], now: float) -> None:
        """Take a sample of /status's object (monotonic seconds)."""
        totals = status["totals"]
        self._settled.append((now, totals["processed"], totals["failed"]))
        shown = {child["slot"]: child["rss_mb"] for child in status["children"]}
        for slot in shown.keys() - self._rss.keys():
            # Slots that came later line up with the others
            before = len(self._settled) - 1
            self._rss[slot] = deque([None] * before, maxlen=SAMPLES)
        for slot, sizes in self._rss.items():
            sizes.append(shown.get(slot))

    def rates(self, now: float) -> dict[str, float]:
        """Return what was settled in a minute, by the samples of the last one; 0 while there are too few."""
        recent = [sample for sample in self._settled if now - sample[0] <= RATE_S + EVERY_S]
        if len(recent) < 2:
            return {"processed_per_min": 0.0, "failed_per_min": 0.0}
        first, last = recent[0], recent[-1]
        minutes = (last[0] - first[0]) / 60.0
        return {
            "processed_per_min": round((last[1] - first[1]) / minutes, 1),
            "failed_per_min": round((last[2] - first[2]) / minutes, 1),
        }

    def told(self) -> dict[str, Any]:
        """Return {"every_s", "rss_mb": {slot: [...]}, "processed": [...]}."""
        return {
            "every_s": EVERY_S,
            "rss_mb": {str(slot): list(sizes) for slot, sizes in sorted(self._rss.items())},
            "processed": [processed for _, processed, _ in self._settled],
        }
