"""The supervisor: a parent that forks consumer children and keeps each within its memory budget."""

__version__ = "0.1.0"
