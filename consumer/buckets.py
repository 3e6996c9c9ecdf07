"""Objects in the buckets of S3: which are asked for, at what address, and what an answer means."""

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

SCHEME = "s3://"
KEY_MAX_BYTES = 1024
NAME_MAX_CHARS = 255
"""Of one part of a key, where a server keeps each part as a directory or a file."""

# Those that say what to do. Any other word of the server's stays out of our logs.
LOGGED_CODES = frozenset([
    "AccessDenied", "AllAccessDisabled", "AuthorizationHeaderMalformed", "EntityTooLarge", "ExpiredToken",
    "InternalError", "InvalidAccessKeyId", "InvalidBucketName", "InvalidObjectState", "InvalidToken",
    "KeyTooLongError", "NoSuchBucket", "NoSuchKey", "PermanentRedirect", "QuotaExceeded", "RequestTimeTooSkewed",
    "ServiceUnavailable", "SignatureDoesNotMatch", "SlowDown", "TemporaryRedirect",
])  # fmt: skip
CODES_OF_WHO_ASKS = frozenset(["ExpiredToken", "InvalidAccessKeyId", "InvalidToken"])
CODES_OF_ALL = CODES_OF_WHO_ASKS | {
    "AllAccessDisabled", "AuthorizationHeaderMalformed", "RequestTimeTooSkewed", "SignatureDoesNotMatch",
}  # fmt: skip
"""What every other object would be refused for as well."""


def log_url(bucket: str, prefix: str, conversation_id: str, mark: str) -> str:
    """Say where a conversation's log is kept, gzipped: s3://bucket/prefix/<id, percent-quoted>.<mark>.json.gz.

    An id too long for a name is kept by its SHA-256; no quoted id looks like one. prefix: empty for none. mark: tells
    logs of one conversation apart, in letters and digits, as many for each.
    """
    ending = f".{mark}.json.gz"
    name = quote(conversation_id, safe="", errors="surrogatepass")
    if len(name + ending) > NAME_MAX_CHARS:
        digest = hashlib.sha256(conversation_id.encode(errors="surrogatepass")).hexdigest()
        name = f"sha256={digest}"
    return SCHEME + "/".join(filter(None, [bucket, prefix.strip("/"), name + ending]))


@dataclass(frozen=True, slots=True)
class Place:
    """An object: its bucket and its key, as they are, with nothing percent-encoded."""

    bucket: str
    key: str = field(repr=False)


def place(url: str, buckets: frozenset[str]) -> Place | str:
    """Read s3://bucket/key, or say why it is not asked for. Every character of the key counts, "?", "#" and "%" too.

    buckets: the only ones that are asked. A key is refused if a server or a proxy that tidies paths up could find
    another bucket behind it: with an empty part, "." or "..", between slashes of either kind.
    """
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    if not url.startswith(SCHEME) or not bucket or not key:
        return "the log's URL is not s3://bucket/key"
    if bucket not in buckets:
        return "the log's bucket is not among S3_ALLOWED_BUCKETS"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return f"S3 bucket {bucket}: the key holds half a character"
    if size > KEY_MAX_BYTES:
        return f"S3 bucket {bucket}: the key is longer than {KEY_MAX_BYTES} bytes"
    if not {"", ".", ".."}.isdisjoint([bucket, *re.split(r"[/\\]", key)]):
        return f"S3 bucket {bucket}: the key has an empty part, or one of dots only"
    return Place(bucket, key)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request for an object goes.

    port: None for the scheme's own. target: path, percent-encoded. host_header: with the port if it is not the scheme's
    own.
    """

    scheme: str
    host: str
    port: int | None
    target: str = field(repr=False)
    host_header: str

    @property
    def text(self) -> str:
        """The whole URL, as it is signed."""
        return f"{self.scheme}://{self.host_header}{self.target}"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that speaks S3's language. path: what all its paths begin with, percent-encoded, no slash at its end."""

    scheme: str
    host: str
    port: int | None = None
    path: str = ""

    @classmethod
    def at(cls, endpoint: str) -> "Server":
        """Read http(s)://host[:port][/path]. Raises ValueError, without the URL in its text, when it is no such URL."""
        try:
            parts = urlsplit(endpoint)
            host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
        except ValueError:
            parts, host, port = urlsplit(""), "", None
        plain = not parts.query and not parts.fragment and "@" not in parts.netloc
        if parts.scheme not in {"http", "https"} or not host or not plain:
            raise ValueError(
                "S3_ENDPOINT_URL must be http(s)://host[:port][/path], with nothing else"
            ) from None
        own = {"http": 80, "https": 443}[parts.scheme]
        path = quote(parts.path.rstrip("/"), safe="/%-_.~")
        return cls(parts.scheme, host, None if port == own else port, path)

    @classmethod
    def of_aws(cls, region: str) -> "Server":
        """Name Amazon's server of a region."""
        return cls("https", f"s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else ""))

    def address(self, wanted: Place, *, path_style: bool) -> Address:
        """Say where an object is asked for.

        A bucket goes into the path, whatever the style, where it cannot stand before the host: with a dot no
        certificate would be for it, and an address of numbers has nothing before it.
        """
        in_path = path_style or not _names_a_host(wanted.bucket) or _is_numeric(self.host)
        host = self.host if in_path else f"{wanted.bucket}.{self.host}"
        name = f"{wanted.bucket}/{wanted.key}" if in_path else wanted.key
        netloc = f"[{host}]" if ":" in host else host
        return Address(
            scheme=self.scheme,
            host=host,
            port=self.port,
            target=f"{self.path}/{quote(name, safe='/-_.~')}",
            host_header=netloc if self.port is None else f"{netloc}:{self.port}",
        )


def _names_a_host(bucket: str) -> bool:
    return re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket) is not None


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def doubts_who_asks(status: int, body: bytes) -> bool:
    """Say whether a refusal may be due to who asked, so that other credentials might be answered otherwise.

    body: as for `refusal`. Of a session that has ended S3 says that the request was bad.
    """
    return status in {401, 403} or (status == 400 and _code(body) in CODES_OF_WHO_ASKS)


def is_away(status: int, body: bytes) -> bool:
    """Say whether a refusal is of the server's state, or of who asks, and not of the object. body: as for `refusal`."""
    return status >= 500 or status in {401, 429} or _code(body) in CODES_OF_ALL


def refusal(status: int, headers: Mapping[bytes, bytes], body: bytes, *, signed: bool) -> str:
    """Say in a few words what an answer other than 200 means.

    headers: names in lower case. body: the beginning of what S3 says in XML, or of anything else.
    """
    named = _code(body)
    words = f"answered {status}" + (f" ({named})" if named in LOGGED_CODES else "")
    region = headers.get(b"x-amz-bucket-region", b"")
    if not region and (found := re.search(rb"<Region>([a-z0-9-]{1,32})</Region>", body)):
        region = found[1]
    if status in {301, 307, 400} and re.fullmatch(rb"[a-z0-9-]{1,32}", region):
        words += f"; the bucket is in region {region.decode()}: see AWS_REGION and S3_ENDPOINT_URL"
    elif 300 <= status < 400:
        words += "; redirects are not followed"
    if status in {401, 403} and not signed:
        words += "; the request was not signed, as no credentials were found"
    return words


def _code(body: bytes) -> str:
    """Find S3's word for what went wrong; empty: none."""
    found = re.search(rb"<Code>([A-Za-z]{1,64})</Code>", body)
    return found[1].decode() if found else ""
