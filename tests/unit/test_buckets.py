"""Where an object is asked for, and what an answer means."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.buckets import (
    KEY_MAX_BYTES,
    LOGGED_CODES,
    Place,
    Server,
    doubts_who_asks,
    is_away,
    log_url,
    place,
    refusal,
)

BUCKETS = frozenset({"logs", "More.Logs_2"})
IDS = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=255)
AN_ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>of Mai</Message><Region>{region}</Region></Error>'


def test_an_object_in_an_allowed_bucket() -> None:
    """The key is what stands behind the bucket, to the last sign."""
    assert place("s3://logs/a/b.json.gz", BUCKETS) == Place("logs", "a/b.json.gz")
    assert place("s3://logs/a?b#c%41+ é/…", BUCKETS) == Place("logs", "a?b#c%41+ é/…")
    assert place("s3://logs/...", BUCKETS) == Place("logs", "...")
    assert place("s3://More.Logs_2/s3://logs".replace("//logs", "/logs"), BUCKETS) == Place(
        "More.Logs_2", "s3:/logs"
    )


@pytest.mark.parametrize(
    "url", ["", "s3:/logs/a", "s3://", "s3://logs", "s3://logs/", "s3:///a", "https://logs/a", "logs/a"]
)
def test_what_is_no_url_of_an_object(url: str) -> None:
    """There is nothing to ask for."""
    assert place(url, BUCKETS) == "the log's URL is not s3://bucket/key"


@pytest.mark.parametrize(
    "bucket", ["other", "log", "logss", "Logs", "logs.", "user@logs", "logs:80", "logs?", "%6cogs"]
)
def test_any_other_bucket_is_refused(bucket: str) -> None:
    """Only what is named, sign by sign; what is refused is not repeated."""
    assert place(f"s3://{bucket}/Mai", BUCKETS) == "the log's bucket is not among S3_ALLOWED_BUCKETS"


@pytest.mark.parametrize(
    "key",
    [
        "..",
        "../other/a",
        "a/../../other/b",
        "a/..",
        ".",
        "./a",
        "a/./b",
        "/a",
        "a//b",
        "a/",
        "a\\..\\b",
        "..\\a",
        "a/\\b",
    ],
)
def test_a_key_that_could_be_tidied_into_another_bucket(key: str) -> None:
    """Dots and empty parts, between slashes of either kind, are refused; the key is not repeated."""
    reason = place(f"s3://logs/{key}", BUCKETS)
    assert reason == "S3 bucket logs: the key has an empty part, or one of dots only"


def test_dots_that_are_allowed_as_a_bucket_are_still_none() -> None:
    """A slip in S3_ALLOWED_BUCKETS opens no way up."""
    assert isinstance(place("s3://../a", frozenset({".."})), str)


def test_a_key_that_no_server_takes() -> None:
    """S3 counts bytes, and none of them is half a character."""
    assert isinstance(place("s3://logs/" + "é" * (KEY_MAX_BYTES // 2), BUCKETS), Place)
    assert "longer than" in str(place("s3://logs/" + "é" * (KEY_MAX_BYTES // 2) + "e", BUCKETS))
    assert "half a character" in str(place("s3://logs/\ud800", BUCKETS))


@pytest.mark.parametrize(
    ("prefix", "conversation_id", "url"),
    [
        ("conversations", "conv-1", "s3://logs/conversations/conv-1.0f.json.gz"),
        ("", "a b", "s3://logs/a%20b.0f.json.gz"),
        ("/x/y/", "..", "s3://logs/x/y/...0f.json.gz"),
        ("x", "a/../b", "s3://logs/x/a%2F..%2Fb.0f.json.gz"),
        ("x", "trò", "s3://logs/x/tr%C3%B2.0f.json.gz"),
        ("x", "i" * 244, "s3://logs/x/" + "i" * 244 + ".0f.json.gz"),
    ],
)
def test_where_a_log_is_kept(prefix: str, conversation_id: str, url: str) -> None:
    """One name below the prefix, without a slash of its own."""
    assert log_url("logs", prefix, conversation_id, "0f") == url


@given(st.lists(IDS, min_size=2, max_size=2, unique=True))
def test_two_conversations_never_share_a_log(ids: list[str]) -> None:
    """Whatever their ids are, also those that are too long for a name; and each can be read again."""
    urls = [log_url("logs", "conversations", i, "0f") for i in ids]
    assert urls[0] != urls[1]
    for url in urls:
        found = place(url, BUCKETS)
        assert isinstance(found, Place)
        assert max(map(len, found.key.split("/"))) <= 255
        assert url.isascii()


def test_a_long_id_is_kept_by_its_digest() -> None:
    """No quoted id holds an equals sign, so none can be made to look like one."""
    url = log_url("logs", "", "é" * 255, "0f")
    name = url.removeprefix("s3://logs/").removesuffix(".0f.json.gz")
    assert name.startswith("sha256=")
    assert set(name.removeprefix("sha256=")) <= set(string.hexdigits)
    assert log_url("logs", "", name, "0f") != url


@given(st.lists(st.tuples(IDS, st.sampled_from(["0" * 16, "f" * 16])), min_size=2, max_size=2, unique=True))
def test_two_logs_of_one_conversation_are_two_objects(logs: list[tuple[str, str]]) -> None:
    """By their marks, which no id can imitate and no length pushes out."""
    urls = [log_url("logs", "conversations", conversation_id, mark) for conversation_id, mark in logs]
    assert urls[0] != urls[1]
    for url, (_, mark) in zip(urls, logs, strict=True):
        assert url.endswith(f".{mark}.json.gz")
        assert len(url.rpartition("/")[2]) <= 255


@pytest.mark.parametrize(
    ("endpoint", "server"),
    [
        ("http://127.0.0.1:9000", Server("http", "127.0.0.1", 9000)),
        ("https://s3.example/", Server("https", "s3.example")),
        ("https://s3.example:443/a b/c//", Server("https", "s3.example", None, "/a%20b/c")),
        ("HTTP://Ceph_1:80/x%2Fy", Server("http", "ceph_1", None, "/x%2Fy")),
        ("http://[::1]:9000", Server("http", "::1", 9000)),
        ("https://bücher.example", Server("https", "xn--bcher-kva.example")),
    ],
)
def test_an_endpoint(endpoint: str, server: Server) -> None:
    """Of a port, only one that is not the scheme's own is kept: that is how it is signed."""
    assert Server.at(endpoint) == server


@pytest.mark.parametrize(
    "endpoint",
    [
        *("", "s3.example", "s3://a", "http://", "http://[::1", "http://a:99999", "http://" + "a" * 80),
        *("http://u:secret@a", "http://u@a", "https://a?secret=1", "https://a#secret"),
    ],
)
def test_an_unusable_endpoint_is_refused_without_being_shown(endpoint: str) -> None:
    """Credentials have variables of their own: none are taken out of a URL, or repeated from it."""
    with pytest.raises(ValueError, match="S3_ENDPOINT_URL must be") as caught:
        Server.at(endpoint)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("endpoint", "bucket", "path_style", "text"),
    [
        ("http://s3.lan:9000", "logs", True, "http://s3.lan:9000/logs/a/b"),
        ("http://s3.lan:9000/x", "logs", True, "http://s3.lan:9000/x/logs/a/b"),
        ("http://s3.lan:9000/x", "logs", False, "http://logs.s3.lan:9000/x/a/b"),
        ("https://s3.lan", "my-logs", False, "https://my-logs.s3.lan/a/b"),
        ("https://s3.lan", "my.logs", False, "https://s3.lan/my.logs/a/b"),
        ("https://s3.lan", "My_Logs", False, "https://s3.lan/My_Logs/a/b"),
        ("http://127.0.0.1:9000", "logs", False, "http://127.0.0.1:9000/logs/a/b"),
        ("http://[::1]:9000", "logs", False, "http://[::1]:9000/logs/a/b"),
    ],
)
def test_path_style_and_virtual_style(endpoint: str, bucket: str, path_style: bool, text: str) -> None:
    """The bucket stands before the host where it can, if it shall; else in the path."""
    address = Server.at(endpoint).address(Place(bucket, "a/b"), path_style=path_style)
    assert address.text == text
    assert text.endswith(address.target)
    assert address.host in text


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a b", "/logs/a%20b"),
        ("100%", "/logs/100%25"),
        ("%41", "/logs/%2541"),
        ("a?b=c#d", "/logs/a%3Fb%3Dc%23d"),
        ("a+b&c;d,e:f@g", "/logs/a%2Bb%26c%3Bd%2Ce%3Af%40g"),
        ("trò/chuyện", "/logs/tr%C3%B2/chuy%E1%BB%87n"),
        ("😀", "/logs/%F0%9F%98%80"),
        ("-_.~!*'()", "/logs/-_.~%21%2A%27%28%29"),
        ("a\r\nHost: x", "/logs/a%0D%0AHost%3A%20x"),
    ],
)
def test_odd_keys(key: str, path: str) -> None:
    """All but what RFC 3986 calls unreserved is encoded, once, as a signature demands."""
    address = Server.at("http://s3.lan").address(Place("logs", key), path_style=True)
    assert address.target == path


def test_amazons_own_servers() -> None:
    """By region; China has a domain of its own."""
    assert Server.of_aws("eu-central-1") == Server("https", "s3.eu-central-1.amazonaws.com")
    assert Server.of_aws("cn-north-1").host == "s3.cn-north-1.amazonaws.com.cn"
    address = Server.of_aws("us-east-1").address(Place("logs", "a"), path_style=False)
    assert address.text == "https://logs.s3.us-east-1.amazonaws.com/a"


def test_a_refusal_is_named() -> None:
    """By its status, and by S3's word for it."""
    body = AN_ERROR.format(code="NoSuchKey", region="").encode()
    assert refusal(404, {}, body, signed=True) == "answered 404 (NoSuchKey)"
    assert refusal(404, {}, b"", signed=True) == "answered 404"
    assert refusal(500, {}, b"<html>", signed=False) == "answered 500"


@pytest.mark.parametrize("code", ["Mai", "Said hello", "NoSuchKey Mai", "x" * 100, "<b>"])
def test_only_words_of_s3_are_repeated(code: str) -> None:
    """What else a server says may be anything, and somebody's name."""
    body = AN_ERROR.format(code=code, region="Mai Lan").encode()
    assert refusal(400, {b"x-amz-bucket-region": b"Mai Lan"}, body, signed=True) == "answered 400"
    assert code not in LOGGED_CODES


@pytest.mark.parametrize("status", [301, 307, 400])
def test_a_bucket_in_another_region_names_it(status: int) -> None:
    """From the header, or else from the text."""
    words = "the bucket is in region eu-west-3: see AWS_REGION and S3_ENDPOINT_URL"
    header = {b"x-amz-bucket-region": b"eu-west-3"}
    text = AN_ERROR.format(code="AuthorizationHeaderMalformed", region="eu-west-3").encode()
    assert refusal(status, header, b"", signed=True) == f"answered {status}; {words}"
    assert (
        refusal(status, {}, text, signed=True) == f"answered {status} (AuthorizationHeaderMalformed); {words}"
    )


def test_a_redirect_says_that_it_is_not_followed() -> None:
    """Also the one that names no region."""
    assert (
        refusal(302, {b"location": b"http://x"}, b"", signed=True)
        == "answered 302; redirects are not followed"
    )


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_without_a_signature_says_so(status: int) -> None:
    """Credentials that nobody found look like a forbidden bucket otherwise."""
    body = AN_ERROR.format(code="AccessDenied", region="").encode()
    unsigned = refusal(status, {}, body, signed=False)
    assert (
        unsigned
        == f"answered {status} (AccessDenied); the request was not signed, as no credentials were found"
    )
    assert refusal(status, {}, body, signed=True) == f"answered {status} (AccessDenied)"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        *((401, "", True), (403, "", True), (403, "AccessDenied", True)),
        *((400, "ExpiredToken", True), (400, "InvalidToken", True), (400, "InvalidAccessKeyId", True)),
        *(
            (400, "", False),
            (400, "BadDigest", False),
            (404, "ExpiredToken", False),
            (503, "SlowDown", False),
        ),
    ],
)
def test_when_who_asks_is_the_reason(status: int, code: str, expected: bool) -> None:
    """S3 says of an expired token that the request was bad."""
    assert doubts_who_asks(status, AN_ERROR.format(code=code, region="").encode()) is expected


@pytest.mark.parametrize(
    ("status", "code", "away"),
    [
        (500, "InternalError", True),
        (503, "SlowDown", True),
        (429, "", True),
        (401, "", True),
        (400, "ExpiredToken", True),
        (403, "RequestTimeTooSkewed", True),
        (403, "SignatureDoesNotMatch", True),
        (403, "AccessDenied", False),
        (404, "NoSuchKey", False),
        (404, "NoSuchBucket", False),
        (301, "PermanentRedirect", False),
    ],
)
def test_what_every_object_would_be_refused_for_is_told_from_what_one_is(
    status: int, code: str, away: bool
) -> None:
    """A missing log slows nobody down; without the right to list, it is refused as if it were forbidden."""
    assert is_away(status, f"<Error><Code>{code}</Code></Error>".encode()) is away
