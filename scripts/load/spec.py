"""What a Vega-Lite specification is to us."""

from typing import Any

Spec = dict[str, Any]
