"""Logs in S3, or in a server that speaks its language: one object in, or out, within one total time.

The one GET (or PUT) is made by `consumer.transport`, as every call of ours; botocore says who asks (`consumer.aws`).
What an answer means is decided in pure functions. Whatever goes wrong is LogUnavailable, with a bucket and a few
words: the key may name a child, and stays out of them. It is raised with no exception before it and from frames that
hold nothing large.
"""

import hashlib
import ipaddress
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote, urlsplit

import httpcore

from consumer.deadline import Deadline
from consumer.errors import LogUnavailable
from consumer.inflate import Flaw, Inflater
from consumer.settings import S3Settings
from consumer.transport import exchange, unanswered

SCHEME = "s3://"
KEY_MAX_BYTES = 1024
NAME_MAX_CHARS = 255
"""Of one part of a key, where a server keeps each part as a directory or a file."""

ERROR_MAX_BYTES = 4096
SENT_AT_ONCE = 128 * 1024

# Those that tell an operator something. Any other word of the server's stays out of our logs.
TELLING = frozenset([
    "AccessDenied", "AllAccessDisabled", "AuthorizationHeaderMalformed", "EntityTooLarge", "ExpiredToken",
    "InternalError", "InvalidAccessKeyId", "InvalidBucketName", "InvalidObjectState", "InvalidToken",
    "KeyTooLongError", "NoSuchBucket", "NoSuchKey", "PermanentRedirect", "QuotaExceeded", "RequestTimeTooSkewed",
    "ServiceUnavailable", "SignatureDoesNotMatch", "SlowDown", "TemporaryRedirect",
])  # fmt: skip


def log_url(bucket: str, prefix: str, conversation_id: str) -> str:
    """Say where a conversation's log is kept, gzipped: s3://bucket/prefix/<id, percent-quoted>.json.gz.

    An id too long for a name is kept by its SHA-256; no quoted id looks like one. prefix: empty for none.
    """
    ending = ".json.gz"
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
    """Where a request for an object goes. host_header: with the port if it is not the scheme's own."""

    url: httpcore.URL
    host_header: str

    @property
    def text(self) -> str:
        """The whole URL, as it is signed."""
        return f"{self.url.scheme.decode()}://{self.host_header}{self.url.target.decode()}"


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
            url=httpcore.URL(
                scheme=self.scheme.encode(),
                host=host.encode("ascii"),
                port=self.port,
                target=f"{self.path}/{quote(name, safe='/-_.~')}".encode("ascii"),
            ),
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


def refusal(status: int, headers: Mapping[bytes, bytes], body: bytes, *, signed: bool) -> str:
    """Say in a few words what an answer other than 200 means.

    headers: names in lower case. body: the beginning of what S3 says in XML, or of anything else.
    """
    code = re.search(rb"<Code>([A-Za-z]{1,64})</Code>", body)
    named = code[1].decode() if code else ""
    words = f"answered {status}" + (f" ({named})" if named in TELLING else "")
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


def prepare() -> None:
    """Import what a first request would, for a parent before it forks. Raises ImportError without the extra `s3`."""
    from consumer import aws  # noqa: PLC0415 (only where S3 is in use)

    aws.prepare()


class Archive:
    """The buckets that logs are kept in.

    ssl_context: for https; None makes one here if it is needed (20 ms).
    pump: called about once a second during a request; it must return quickly and not raise
    (`consumer.deadline.Pulse`).

    No proxy is used, whatever HTTPS_PROXY says, no redirect followed, and nothing sent a second time.
    Raises ValueError when the endpoint's URL is unusable, ImportError without the extra `s3`.
    """

    def __init__(
        self, settings: S3Settings, *, ssl_context: ssl.SSLContext | None, pump: Callable[[], None]
    ) -> None:
        from consumer import aws  # noqa: PLC0415 (only where S3 is in use)

        self._settings = settings
        self._server = Server.at(settings.endpoint) if settings.endpoint else None
        plain = self._server is not None and self._server.scheme == "http"
        self._ssl_context = ssl_context or (None if plain else ssl.create_default_context())
        self._pump = pump
        self._account = aws.account()
        self._no_credentials = aws.CredentialsUnavailable

    def read(self, url: str, max_bytes: int) -> bytearray:
        """Return an object's text, inflated if it is gzip. One attempt.

        max_bytes: the most that it may come to, as it is sent and as it is inflated.
        Raises LogUnavailable. What `pump` raises comes through as it is.
        """
        outcome = self._gather(url, max_bytes)
        if isinstance(outcome, LogUnavailable):
            raise outcome
        return outcome

    def write(self, url: str, body: bytes) -> None:
        """Put an object in the place of the one there, if any: it is kept whole when this returns. One attempt.

        body: sent as application/json, of which the key's ending says whether it is gzipped.
        Raises LogUnavailable. What `pump` raises comes through as it is.
        """
        reason = self._request("PUT", url, body, lambda _: "")
        if reason:
            raise LogUnavailable(reason)

    def _gather(self, url: str, max_bytes: int) -> bytearray | LogUnavailable:
        gathered = Inflater(max_bytes)
        whole = False
        try:
            reason = self._request("GET", url, b"", partial(_receive, gathered, max_bytes))
            whole = not reason
        finally:
            if not whole:
                gathered.drop()  # httpcore's exceptions and frames may form a cycle that holds it until a collection
        return gathered.text if whole else LogUnavailable(reason)

    def _request(
        self, method: str, url: str, body: bytes, receive: Callable[[httpcore.Response], str]
    ) -> str:
        """Ask once, and have a 200 received. Return why it failed: a value, so that no frame stays on a failure."""
        wanted = place(url, self._settings.buckets)
        if isinstance(wanted, str):
            return wanted
        try:
            reason = self._exchange(method, wanted, body, receive)
        except httpcore.TimeoutException:
            reason = f"over the time limit of {self._settings.timeout_s:g} s"
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            reason = f"no answer: {unanswered(error)}"
        except self._no_credentials as error:
            reason = f"no credentials: {error}"
        return f"S3 bucket {wanted.bucket}: {reason}" if reason else ""

    def _exchange(
        self, method: str, wanted: Place, body: bytes, receive: Callable[[httpcore.Response], str]
    ) -> str:
        deadline = Deadline.after(self._settings.timeout_s, self._pump)
        server = self._server or Server.of_aws(self._account.region())
        address = server.address(wanted, path_style=self._settings.path_style)
        own = {"Host": address.host_header}
        if method == "PUT":
            own["Content-Type"] = "application/json"
        signed = self._account.sign(method, address.text, own, body)
        headers = signed or [(name.encode(), value.encode()) for name, value in own.items()]
        headers.append((b"Accept-Encoding", b"identity"))
        if method == "PUT":
            headers.append((b"Content-Length", b"%d" % len(body)))
        content = _chunks(body) if method == "PUT" else None
        with exchange(
            method.encode(), address.url, headers, content, ssl_context=self._ssl_context, deadline=deadline
        ) as response:
            if response.status == 200:
                return receive(response)
            if response.status in {401, 403}:
                self._account.doubt()
            return refusal(
                response.status, _headers(response), _beginning(response), signed=signed is not None
            )


def _receive(gathered: Inflater, max_bytes: int, response: httpcore.Response) -> str:
    """Gather the body of a 200; return what is wrong with it, or nothing."""
    headers = _headers(response)
    length = headers.get(b"content-length")
    if length is None and b"transfer-encoding" not in headers:
        # It would end with the connection, and could be cut short without anybody noticing
        return "an answer without a length"
    too_large = f"the object is {Flaw.TOO_LARGE.value}: over {max_bytes} bytes"
    if length is not None and int(length) > max_bytes:
        return too_large
    came = 0
    for chunk in response.iter_stream():
        came += len(chunk)
        flaw = Flaw.TOO_LARGE if came > max_bytes else gathered.take(chunk)
        if flaw is not None:
            break
    else:
        flaw = gathered.end()
    if flaw is Flaw.TOO_LARGE:
        return too_large
    return f"the object is {flaw.value}" if flaw else ""


def _headers(response: httpcore.Response) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in response.headers}


def _beginning(response: httpcore.Response) -> bytes:
    """Read the beginning of an error's text, as far as it comes: the status alone is an answer already."""
    text = bytearray()
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for chunk in response.iter_stream():
            text += chunk
            if len(text) >= ERROR_MAX_BYTES:
                break
    return bytes(text[:ERROR_MAX_BYTES])


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), SENT_AT_ONCE):
        yield body[start : start + SENT_AT_ONCE]
