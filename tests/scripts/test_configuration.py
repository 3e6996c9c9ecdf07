"""docs/configuration.md says what the program does."""

from scripts.configuration import PAGE, page
from supervisor.cli.options import OPTIONS


def test_the_page_is_the_table_of_options() -> None:
    """`python scripts/configuration.py` writes it anew; every option is in it once."""
    assert PAGE.read_text() == page(), "run: python scripts/configuration.py"
    for option in OPTIONS:
        assert page().count(f"| `{option.env}` |") == 1
