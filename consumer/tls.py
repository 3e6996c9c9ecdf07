"""TLS to the broker: always verified, certificate and host name, whatever the URL says.

An amqps URL without `ssl_options` trusts the system's certificate authorities; SSL_CERT_FILE and SSL_CERT_DIR name
others. pika's own query parameter gives the rest, a Python dictionary, percent-encoded:
`?ssl_options={'cafile': '/etc/friendship/broker-ca.pem'}`. Files that it names are read again at each connection, so
that certificates may be replaced while we run.

pika builds what it is told to, unverified if need be, and passes over what it does not know: so the dictionary is read
here, and what would weaken it is refused by name.
"""

import ast
import functools
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pika

from consumer.wording import explain
from repository.link import PIPE, is_pipe

KEY_LOG = "SSLKEYLOGFILE"
WHERE = ssl.get_default_verify_paths()
HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
AUTHORITIES = {"cafile": "cafile", "ca_certs": "cafile", "capath": "capath", "ca_path": "capath",
               "cadata": "cadata", "ca_data": "cadata"}  # fmt: skip
OWN = frozenset({"certfile", "keyfile", "password"})
KNOWN = frozenset({*AUTHORITIES, *OWN, "ciphers", "server_hostname"})
WEAKENING = frozenset({"cert_reqs", "check_hostname", "verify_mode", "protocol", "ssl_version"})


class BadTls(ValueError):
    """What a URL asks of TLS is refused. The text holds names of options, never their values."""


class NoTls(BadTls):
    """What surrounds this process keeps OpenSSL from making any context."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name} {reason}")


def split(url: str) -> tuple[str, pika.SSLOptions | None]:
    """Part a broker's URL into one that says nothing of TLS, and the TLS: None for plain amqp.

    Of an amqps URL the port is spelled out, as plain amqp has another. Raises BadTls, or ValueError for no URL.
    """
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    asked = [value for name, value in query if name == "ssl_options"]
    if parts.scheme != "amqps":
        if asked:
            raise BadTls("ssl_options are for an amqps:// URL")
        return url, None
    if len(asked) > 1:
        raise BadTls("ssl_options are given twice")
    rest = urlencode([pair for pair in query if pair[0] != "ssl_options"], quote_via=quote)
    host, _, port = parts.netloc.rpartition(":")
    if parts.port is None:
        host, port = parts.netloc.rstrip(":"), str(pika.ConnectionParameters.DEFAULT_SSL_PORT)
    plain = parts._replace(scheme="amqp", netloc=f"{host}:{port}", query=rest).geturl()
    options = _options(asked[0]) if asked else {}
    name = options.get("server_hostname")
    return plain, pika.SSLOptions(_context(options) if options else trusting_the_system(), name)


def made(cafile: str | None = None, capath: str | None = None, cadata: str | None = None) -> ssl.SSLContext:
    """Make a context that verifies, with the system's authorities when none is given. Raises NoTls, or OSError."""
    require()
    return ssl.create_default_context(cafile=cafile, capath=capath, cadata=cadata)


def require() -> None:
    """Try what every context of this process depends on. Raises NoTls."""
    for name in (KEY_LOG, WHERE.openssl_cafile_env):
        if is_pipe(os.environ.get(name, "")):
            raise NoTls(name, PIPE)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    except ssl.SSLError as error:
        name = "OPENSSL_CONF" if "OPENSSL_CONF" in os.environ else "the system's openssl.cnf"
        raise NoTls(name, f"leaves OpenSSL unusable: {explain(error)}") from None
    try:
        if path := os.environ.get(KEY_LOG):
            context.keylog_filename = path
    except OSError as error:
        raise NoTls(KEY_LOG, f"cannot be written: {explain(error)}") from None


@functools.cache
def trusting_the_system() -> ssl.SSLContext:
    """Return the one context for what names no authority: 20 ms and 0.8 MB, shared when made before the fork."""
    return made()


def authority_faults(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Give the variables that name authorities when none of them can be used, with the reasons.

    OpenSSL trusts what both name together, and passes silently over what it cannot use.
    """
    faults = []
    if file := environ.get(WHERE.openssl_cafile_env):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except ssl.SSLError:
            faults.append((WHERE.openssl_cafile_env, "OpenSSL cannot use it"))
        except OSError as error:
            faults.append((WHERE.openssl_cafile_env, explain(error)))
        else:
            return []
    if directories := environ.get(WHERE.openssl_capath_env):
        if any(map(_holds_authorities, directories.split(os.pathsep))):
            return []
        faults.append(
            (WHERE.openssl_capath_env, "no directory that can be read and was hashed (openssl rehash)")
        )
    return faults


def _holds_authorities(directory: str) -> bool:
    try:
        return any(HASHED.fullmatch(file.name) for file in Path(directory or "/nowhere").iterdir())
    except OSError:
        return False


def _options(text: str) -> Mapping[str, str]:
    try:
        options = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise BadTls("ssl_options are no dictionary, such as {'cafile': '/path/of/the/authority.pem'}")
    for name, value in options.items():
        if name not in KNOWN:
            # Any other may be a password in the wrong place
            named = (
                f"{name} is refused, as it would weaken TLS" if name in WEAKENING else "a name is not known"
            )
            raise BadTls(f"ssl_options: {named}; there are {', '.join(sorted(KNOWN))}")
        if not isinstance(value, str) or not value:
            raise BadTls(f"ssl_options: {name} is no text")
    if OWN.intersection(options) and "certfile" not in options:
        raise BadTls("ssl_options: certfile is missing, the certificate of the key")
    return options


def _context(options: Mapping[str, str]) -> ssl.SSLContext:
    trusted = {AUTHORITIES[name]: value for name, value in options.items() if name in AUTHORITIES}
    for name, value in options.items():
        if is_pipe(value):
            raise BadTls(f"ssl_options: {name} {PIPE}")
    reason = None
    try:
        context = made(**trusted)
        if "certfile" in options:
            # A password is always given: without one OpenSSL would ask for it on the terminal
            password = options.get("password", "")
            context.load_cert_chain(options["certfile"], options.get("keyfile"), password)
        if "ciphers" in options:
            context.set_ciphers(options["ciphers"])
    except NoTls:
        raise
    except OSError as error:
        reason = "OpenSSL cannot use it" if isinstance(error, ssl.SSLError) else explain(error)
    except ValueError:
        reason = "a value that cannot be used"
    if reason is not None:
        raise BadTls(f"ssl_options: what {', '.join(sorted(options))} name cannot be loaded: {reason}")
    return context
