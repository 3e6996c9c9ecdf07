"""How the way to the database is protected: decided from its URL and libpq's variables, nothing is connected to."""

import ipaddress
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

BY_VARIABLE = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "service": "PGSERVICE",
}
FILES = {
    "servicefile": "PGSERVICEFILE",
    "passfile": "PGPASSFILE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslkeylogfile": "",
}
"""What libpq opens without a look at its type: parameters, with their variables."""
PIPE = "names a pipe, whose other end would be waited for"
SHORTCOMING = {
    "disable": "is not encrypted",
    "allow": "is encrypted only if the server insists",
    "prefer": "is encrypted only if the server offers it, and whoever answers is taken for the server",
    "require": "is encrypted, but whoever answers may be taken for the server",
    "verify-ca": "is encrypted, but any host with a certificate of that authority is taken for the server",
}


def is_local(host: str) -> bool:
    """Say whether a host name or address means this machine: then nobody is on the way."""
    if host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_pipe(path: str) -> bool:
    """Say whether opening it may wait without end."""
    try:
        return stat.S_ISFIFO(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def pipe(url: str, environ: Mapping[str, str]) -> str | None:
    """Name what gives libpq a pipe to open; None when nothing does."""
    given = conninfo_to_dict(url)
    for parameter, variable in FILES.items():
        if is_pipe(str(given.get(parameter) or "")):
            return f"DATABASE_URL's {parameter}"
        if not given.get(parameter) and is_pipe(environ.get(variable, "")):
            return variable
    return None


def missing_root(url: str, environ: Mapping[str, str]) -> str | None:
    """Name what names the authority of a database elsewhere, when it is to be verified and there is no such file."""
    parts = {name: str(value) for name, value in conninfo_to_dict(url).items() if value}
    root = parts.get("sslrootcert") or environ.get("PGSSLROOTCERT") or "system"
    mode = parts.get("sslmode") or environ.get("PGSSLMODE") or ""
    host = (
        parts.get("hostaddr")
        or parts.get("host")
        or environ.get("PGHOSTADDR")
        or environ.get("PGHOST")
        or "/"
    )
    if root == "system" or not mode.startswith("verify-") or host[0] in "/@" or os.access(root, os.R_OK):
        return None
    return "DATABASE_URL's sslrootcert" if "sslrootcert" in parts else "PGSSLROOTCERT"


def exposure(url: str, environ: Mapping[str, str]) -> str | None:
    """Say what is wrong with the way to a database elsewhere; None when its certificate and name are verified.

    url: one that `secrets` has taken. environ: where libpq looks for what the URL leaves out. A service's file is not
    read: without an sslmode beside it, the link counts as unprotected.
    """
    given = {
        name: str(value) for name, value in conninfo_to_dict(url).items() if name in BY_VARIABLE and value
    }
    found = {
        name: environ[variable] for name, variable in BY_VARIABLE.items() if environ.get(variable)
    } | given
    hosts = [host for host in (found.get("hostaddr") or found.get("host", "")).split(",") if host]
    # A path, or nothing at all, is a socket in the file system; @ begins an abstract one
    if all(host[0] in "/@" or is_local(host) for host in hosts) and not ("service" in found and not hosts):
        return None
    # libpq itself then takes nothing less than verify-full
    strictest = "verify-full" if found.get("sslrootcert") == "system" else "prefer"
    mode = found.get("sslmode", strictest)
    if mode == "verify-full":
        return None
    where = ", ".join(hosts) or "the host of the service"
    return f"the link to {where} {SHORTCOMING.get(mode, 'is not verified')} (sslmode {mode})"
