"""Which database a URL means, without who asks and with what password."""

from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

PARTS = ("host", "hostaddr", "port", "dbname")


def place(url: str) -> str:
    """Name the database of a URL: the same for two that agree on host, port and name, and no secret.

    url: one that Database takes. What it leaves out is libpq's default (PGHOST and so on).
    """
    given = conninfo_to_dict(url)
    defaults = {option.keyword.decode(): (option.val or b"").decode() for option in Conninfo.get_defaults()}
    return " ".join(f"{part}={given.get(part) or defaults.get(part, '')}" for part in PARTS)
