"""Who asks S3, and how that is proved: Amazon's documented signatures, and the places where credentials are found."""

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.auth
import pytest
from botocore.config import Config

from consumer import aws
from consumer.aws import Account, CredentialsUnavailable
from consumer.program import BoundedProgram
from tests.fixtures.eventually import eventually
from tests.fixtures.raw_server import RawServer
from tests.fixtures.s3 import S3Server

EXAMPLE_KEY = "AKIAIOSFODNN7EXAMPLE"
EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
EMPTY = hashlib.sha256(b"").hexdigest()
HOST = "examplebucket.s3.amazonaws.com"
URL = f"https://{HOST}/a"
HANGS = "import signal; signal.alarm(30); signal.pause()"
NONE_THERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

pytestmark = pytest.mark.usefixtures("stranger")


def signature(secret: str, method: str, path: str, headers: Mapping[str, str], *, region: str) -> str:
    """Compute a signature of version 4 for S3, as Amazon's documents describe it in steps.

    path: percent-encoded, without a query. headers: the signed ones, names in lower case, the payload's hash among
    them.
    """
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    request = "\n".join([method, path, "", lines, names, headers["x-amz-content-sha256"]])
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for word in (*scope.split("/"), text):
        key = hmac.digest(key, word.encode(), "sha256")
    return key.hex()


def configure(patch: pytest.MonkeyPatch, text: str) -> None:
    """Write the file that AWS's tools are configured with."""
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(text)


def give_keys(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_ACCESS_KEY_ID", EXAMPLE_KEY)
    patch.setenv("AWS_SECRET_ACCESS_KEY", EXAMPLE_SECRET)


def signed(account: Account) -> dict[str, str]:
    """Sign a plain GET; names come out in lower case, and nothing at all without credentials."""
    headers = account.sign("GET", URL, {"Host": HOST}, b"") or []
    return {name.decode().lower(): value.decode() for name, value in headers}


def key_of(account: Account) -> str:
    """Say with which access key it signs."""
    return signed(account)["authorization"].partition("Credential=")[2].partition("/")[0]


# The signature


def test_this_files_signature_is_amazons() -> None:
    """Both examples of the API reference, "Authenticating Requests: Using the Authorization Header"."""
    moment = {"host": HOST, "x-amz-date": "20130524T000000Z"}
    get = moment | {"range": "bytes=0-9", "x-amz-content-sha256": EMPTY}
    found = signature(EXAMPLE_SECRET, "GET", "/test.txt", get, region="us-east-1")
    assert found == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    put = moment | {
        "date": "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
    }
    found = signature(EXAMPLE_SECRET, "PUT", "/test%24file.text", put, region="us-east-1")
    assert found == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"


def test_an_account_signs_as_amazon_documents(stranger: pytest.MonkeyPatch) -> None:
    """The first of those examples, from the same moment, key and headers."""
    give_keys(stranger)
    stranger.setattr(botocore.auth, "get_current_datetime", lambda: datetime(2013, 5, 24, tzinfo=UTC))
    headers = Account().sign("GET", f"https://{HOST}/test.txt", {"Host": HOST, "Range": "bytes=0-9"}, b"")
    assert headers is not None
    assert dict(headers)[b"Authorization"] == (
        b"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        b"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        b"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


@pytest.mark.parametrize(
    "path", ["/a", "/tr%C3%B2/a%20b%2541%3F%23%2B%26", "/x/../y", "/-_.~%21%2A%27%28%29"]
)
@pytest.mark.parametrize("token", [None, "session/token=="])
def test_a_path_is_signed_as_it_is_asked_for(
    path: str, token: str | None, stranger: pytest.MonkeyPatch
) -> None:
    """Neither tidied up nor encoded once more, with and without a session's token; the body's hash is signed too."""
    give_keys(stranger)
    stranger.setenv("AWS_REGION", "eu-west-3")
    if token:
        stranger.setenv("AWS_SESSION_TOKEN", token)
    own = {"Host": "s3.lan:9000", "Content-Type": "application/json"}
    found = Account().sign("PUT", f"http://s3.lan:9000{path}", own, b"[]")
    headers = {name.decode().lower(): value.decode() for name, value in found or []}
    authorization = headers.pop("authorization")
    assert headers["x-amz-content-sha256"] == hashlib.sha256(b"[]").hexdigest()
    assert headers.get("x-amz-security-token") == token
    assert f"SignedHeaders={';'.join(sorted(headers))}," in authorization
    expected = signature(EXAMPLE_SECRET, "PUT", path, headers, region="eu-west-3")
    assert authorization.endswith(f"Signature={expected}")


# The region


def test_where_the_region_is_found(stranger: pytest.MonkeyPatch) -> None:
    """The first of two variables, the profile, and us-east-1."""
    assert Account().region() == "us-east-1"
    configure(stranger, "[default]\nregion = eu-west-1\n")
    assert Account().region() == "eu-west-1"
    stranger.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert Account().region() == "eu-west-2"
    stranger.setenv("AWS_REGION", "eu-west-3")
    assert Account().region() == "eu-west-3"
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        stranger.setenv(name, "")
    assert Account().region() == "eu-west-1"
    configure(stranger, "[default]\nregion =\n")
    assert Account().region() == "us-east-1"


@pytest.mark.parametrize(
    "region", ["eu-zentral-ü", "eu-central-1\n", "eu-central-1 ", "a.example/", "x" * 65]
)
def test_a_region_that_is_none(region: str, stranger: pytest.MonkeyPatch) -> None:
    """It would be part of a host's name and of a header: it is refused, not shown, and stops no start."""
    give_keys(stranger)
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        stranger.setenv(name, region)
        account = Account()
        account.rehearse()  # raises nothing
        for question in (Account.region, signed):
            with pytest.raises(CredentialsUnavailable) as caught:
                question(account)
            assert str(caught.value) == f"{name} is no region's name"
            assert caught.value.__context__ is None


@pytest.mark.parametrize("region", ["us-east-1", "garage", "RegionOne", "my_lab"])
def test_a_region_of_ones_own_server(region: str, stranger: pytest.MonkeyPatch) -> None:
    """They have names of all kinds; what matters is that they can be signed."""
    stranger.setenv("AWS_REGION", region)
    assert Account().region() == region


# Credentials


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def write_credentials(key: str) -> None:
    """Rotate what lies in the shared file."""
    text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = x\n"
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(text)


def test_without_credentials_nothing_is_signed(stranger: pytest.MonkeyPatch) -> None:
    """And it is not looked for them again until that is doubted, and a minute has passed."""
    clock = Clock()
    account = Account(clock)
    assert signed(account) == {}
    give_keys(stranger)
    clock.now_s += 60
    assert signed(account) == {}
    account.doubt()
    assert key_of(account) == EXAMPLE_KEY


def test_none_found_lasts_a_minute(stranger: pytest.MonkeyPatch) -> None:
    """However many requests are refused meanwhile: each look may take seconds."""
    stranger.delenv("AWS_EC2_METADATA_DISABLED")
    clock = Clock()
    account = Account(clock)
    with RawServer(lambda number: NONE_THERE if number == 0 else None) as metadata:
        stranger.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        assert signed(account) == {}
        once = len(metadata.asked)
        for _ in range(3):
            account.doubt()
            assert signed(account) == {}
        clock.now_s += 59
        assert signed(account) == {}
        assert len(metadata.asked) == once > 0
        clock.now_s += 1
        assert signed(account) == {}
        # One look asks once or twice: a busy machine may have its first question time out
        assert len(metadata.asked) > once


@pytest.mark.parametrize("file", ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"])
def test_rotated_credentials_are_found(file: str, stranger: pytest.MonkeyPatch) -> None:
    """Those that were refused are looked for again, a minute at the earliest after the last look."""
    stranger.setenv("AWS_SHARED_CREDENTIALS_FILE", os.environ[file])
    clock = Clock()
    account = Account(clock)
    write_credentials("OLD")
    assert key_of(account) == "OLD"
    write_credentials("NEW")
    clock.now_s += 59
    account.doubt()
    assert key_of(account) == "OLD"
    clock.now_s += 1
    assert key_of(account) == "NEW"
    write_credentials("NEWER")
    clock.now_s += 60
    assert key_of(account) == "NEW"  # nobody doubted these
    account.doubt()
    assert key_of(account) == "NEWER"


def test_a_rotated_program_is_found(stranger: pytest.MonkeyPatch) -> None:
    """Also what botocore reads once, as a profile's program, is read again."""
    clock = Clock()
    account = Account(clock)
    for key in ("OLD", "NEW"):
        printed = json.dumps({"Version": 1, "AccessKeyId": key, "SecretAccessKey": "x"})
        configure(stranger, program(f"print({printed!r})"))
        assert key_of(account) == key
        account.doubt()
        clock.now_s += 60


@pytest.mark.parametrize("afterwards", ["", "[default]\naws_access_key_id = half\n"])
def test_credentials_stand_until_others_are_found(afterwards: str, stranger: pytest.MonkeyPatch) -> None:
    """A refusal may have had another reason: a look in vain takes nothing away, and is not repeated at once."""
    clock = Clock()
    account = Account(clock)
    write_credentials("OLD")
    assert key_of(account) == "OLD"
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(afterwards)
    clock.now_s += 60
    account.doubt()
    assert key_of(account) == "OLD"
    write_credentials("NEW")
    account.doubt()
    assert key_of(account) == "OLD"
    clock.now_s += 60
    assert key_of(account) == "NEW"


def test_what_could_not_be_had_is_read_again(stranger: pytest.MonkeyPatch) -> None:
    """A failure is not remembered, and neither is the file that it came of."""
    role = "role_arn = arn:aws:iam::123456789012:role/robot\nsource_profile = base\n"
    stranger.setenv("AWS_REGION", "eu-west-3")
    account = Account()
    for key in ("OLD", "NEW"):
        base = f"[profile base]\naws_access_key_id = {key}\naws_secret_access_key = x\n"
        configure(stranger, f"[default]\n{role}{base}")
        with RawServer(answers(b"403 Forbidden", b"")) as sts:
            stranger.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            with pytest.raises(CredentialsUnavailable):
                signed(account)
        assert f"Credential={key}/".encode() in sts.asked[0]
        assert b"/eu-west-3/sts/" in sts.asked[0]


def test_what_cannot_be_renewed_is_looked_for_again(stranger: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No request goes out with them that S3 could refuse; what is configured now is found within a minute."""
    soon = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    printed = json.dumps({"Version": 1, "AccessKeyId": "OLD", "SecretAccessKey": "x", "Expiration": soon})
    path = tmp_path / "printed"
    path.write_text(printed)
    configure(stranger, program(f"print(open({str(path)!r}).read())"))
    clock = Clock()
    account = Account(clock)
    assert key_of(account) == "OLD"
    path.unlink()
    with pytest.raises(CredentialsUnavailable):
        signed(account)
    configure(stranger, "")
    write_credentials("NEW")
    with pytest.raises(CredentialsUnavailable):
        signed(account)
    clock.now_s += 60
    assert key_of(account) == "NEW"


def test_what_did_not_fit_is_looked_for_again(stranger: pytest.MonkeyPatch) -> None:
    """A line break that is taken out of its source needs no restart."""
    clock = Clock()
    account = Account(clock)
    printed = json.dumps({"Version": 1, "AccessKeyId": "OLD\n", "SecretAccessKey": "x"})
    configure(stranger, program(f"print({printed!r})"))
    with pytest.raises(CredentialsUnavailable, match="line break"):
        signed(account)
    configure(stranger, program(f"print({printed!r})".replace("OLD\\\\n", "NEW")))
    clock.now_s += 60
    assert key_of(account) == "NEW"


def test_credentials_of_a_profile(stranger: pytest.MonkeyPatch) -> None:
    """The one that AWS_PROFILE names; one that is not there is no reason to sign as somebody else."""
    configure(stranger, "[profile robot]\naws_access_key_id = FROMFILE\naws_secret_access_key = x\n")
    stranger.setenv("AWS_PROFILE", "robot")
    assert key_of(Account()) == "FROMFILE"
    stranger.setenv("AWS_PROFILE", "another")
    with pytest.raises(CredentialsUnavailable) as caught:
        Account().region()
    assert str(caught.value) == "ProfileNotFound"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_an_empty_profile_is_none(name: str, stranger: pytest.MonkeyPatch) -> None:
    """As compose's ${AWS_PROFILE:-} leaves it; the environment stays as it is, for whoever else reads it."""
    stranger.setenv(name, "")
    assert signed(Account()) == {}
    write_credentials("FROMFILE")
    assert key_of(Account()) == "FROMFILE"
    give_keys(stranger)
    assert key_of(Account()) == EXAMPLE_KEY
    assert Account().region() == "us-east-1"
    assert os.environ[name] == ""


def test_a_named_profile_beside_an_empty_one(stranger: pytest.MonkeyPatch) -> None:
    """The one that has a name counts."""
    configure(stranger, "[profile robot]\naws_access_key_id = FROMFILE\naws_secret_access_key = x\n")
    stranger.setenv("AWS_DEFAULT_PROFILE", "")
    stranger.setenv("AWS_PROFILE", "robot")
    assert key_of(Account()) == "FROMFILE"


@pytest.mark.parametrize(
    "found", ["AKIAany\n", "AKIAany ", " AKIAany", "AKIA\r\nany", "\tAKIAany", "\ufeffAKIAany"]
)
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("AWS_ACCESS_KEY_ID", "the access key's id"),
        ("AWS_SECRET_ACCESS_KEY", "the secret access key"),
        ("AWS_SESSION_TOKEN", "the session token"),
    ],
)
def test_what_a_mounted_file_adds_to_a_credential(
    name: str, part: str, found: str, stranger: pytest.MonkeyPatch
) -> None:
    """It is named, with what to do, and not shown; a secret would else be wrong without a word."""
    give_keys(stranger)
    stranger.setenv(name, found)
    with pytest.raises(CredentialsUnavailable) as caught:
        signed(Account())
    assert str(caught.value) == f"{part} holds a line break or blank: give it without"
    assert caught.value.__context__ is None


def test_a_key_that_no_header_can_carry(stranger: pytest.MonkeyPatch) -> None:
    """A slip of a keyboard is named by its kind, and not shown."""
    give_keys(stranger)
    stranger.setenv("AWS_ACCESS_KEY_ID", "clé")
    with pytest.raises(CredentialsUnavailable) as caught:
        signed(Account())
    assert str(caught.value) == "the access key's id holds a character that no header carries"
    assert caught.value.__context__ is None


def test_no_other_header_is_sent_broken(stranger: pytest.MonkeyPatch) -> None:
    """Whatever it is that would be wrong with it, and whoever made it."""
    give_keys(stranger)
    for value in ("a\nb", "a ", "é"):
        with pytest.raises(CredentialsUnavailable, match="a header holds"):
            Account().sign("GET", URL, {"Host": HOST, "X-Own": value}, b"")


def test_half_of_a_pair_is_named(stranger: pytest.MonkeyPatch) -> None:
    """A key without its secret is a slip, not an account without credentials."""
    stranger.setenv("AWS_ACCESS_KEY_ID", "any")
    with pytest.raises(CredentialsUnavailable) as caught:
        signed(Account())
    assert str(caught.value) == "PartialCredentialsError"


def program(text: str) -> str:
    """Configure a profile whose credentials a program prints."""
    return f"[default]\ncredential_process = {shlex.join([sys.executable, '-I', '-S', '-c', text])}\n"


def test_credentials_that_a_program_prints(stranger: pytest.MonkeyPatch) -> None:
    """As for certificates of one's own machines."""
    printed = json.dumps({"Version": 1, "AccessKeyId": "PRINTED", "SecretAccessKey": "x"})
    configure(stranger, program(f"print({printed!r})"))
    assert key_of(Account()) == "PRINTED"


def test_a_program_that_fails_is_not_quoted(stranger: pytest.MonkeyPatch) -> None:
    """What it wrote before may be a secret."""
    configure(stranger, program("import sys; sys.exit('my secret')"))
    with pytest.raises(CredentialsUnavailable) as caught:
        signed(Account())
    assert str(caught.value) == "CredentialRetrievalError"
    assert caught.value.__context__ is None


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; nobody may have reaped it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in {"Z", "X"}


def noting(pids: Path, *, of_another: bool) -> str:
    """Write a program that hangs: its pid goes into a file, with that of one that it started."""
    another = f"subprocess.Popen([sys.executable, '-I', '-S', '-c', {HANGS!r}]).pid" if of_another else "''"
    noted = f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{pid}}.')"
    return f"import os, subprocess, sys; pid = {another}; {noted}; {HANGS}"


def test_a_program_that_hangs_is_killed(stranger: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At the end of its time, and nothing of it is left, nor of what it started."""
    started: list[BoundedProgram] = []
    pids = tmp_path / "pids"

    class Noted(BoundedProgram):
        def communicate(self, *_: object) -> tuple[bytes, bytes]:
            started.append(self)
            eventually(lambda: pids.exists() and pids.read_text().endswith("."), "the program runs")
            return super().communicate(timeout=0.1)

    stranger.setattr(aws, "BoundedProgram", Noted)
    configure(stranger, program(noting(pids, of_another=True)))
    with pytest.raises(CredentialsUnavailable) as caught:
        signed(Account())
    assert str(caught.value) == "TimeoutExpired"
    assert [one.returncode for one in started] == [-9]
    left = list(map(int, pids.read_text().rstrip(".").split()))
    assert len(left) == 2
    eventually(lambda: all(map(is_gone, left)), "none of them is left")


def test_a_program_ends_with_who_asks_it(stranger: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child that is killed leaves none behind."""
    pids = tmp_path / "pids"
    asking = (
        "import sys; from consumer.program import BoundedProgram; BoundedProgram(sys.argv[1:]).communicate()"
    )
    hanging = [sys.executable, "-I", "-S", "-c", noting(pids, of_another=False)]
    with subprocess.Popen([sys.executable, "-c", asking, *hanging]) as child:
        eventually(lambda: pids.exists() and pids.read_text().endswith("."), "the program runs")
        pid = int(pids.read_text().rstrip("."))
        assert not is_gone(pid)
        child.kill()
    eventually(lambda: is_gone(pid), "it ended with the child")


def test_credentials_of_a_container(stranger: pytest.MonkeyPatch) -> None:
    """From the address that ECS and EKS put into the environment."""
    until = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = {"AccessKeyId": "CONTAINER", "SecretAccessKey": "x", "Token": "t", "Expiration": until}
    body = json.dumps(given).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
    with RawServer(lambda number: answer if number == 0 else None) as agent:
        stranger.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url}/creds")
        account = Account()
        assert key_of(account) == "CONTAINER"
        assert signed(account)["x-amz-security-token"] == "t"
    assert len(agent.asked) == 1  # kept for as long as they are good


@pytest.fixture
def token_file(stranger: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Be a pod with a role: its token lies in a file."""
    path = tmp_path / "token"
    path.write_text("the pod's own token")
    stranger.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(path))
    stranger.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/robot")
    return path


def test_credentials_for_a_pods_token(stranger: pytest.MonkeyPatch, token_file: Path, s3: S3Server) -> None:
    """A web identity is exchanged at STS."""
    stranger.setenv("AWS_ENDPOINT_URL_STS", s3.url)
    assert key_of(Account()).startswith("ASIA")


def answers(status: bytes, body: bytes) -> Callable[[int], bytes | None]:
    whole = b"HTTP/1.1 %b\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )
    return lambda number: whole if number == 0 else None


def test_sts_that_refuses_is_named_by_its_word(stranger: pytest.MonkeyPatch, token_file: Path) -> None:
    """The word alone: its text may hold the token."""
    error = (
        b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>my secret</Message></Error></ErrorResponse>"
    )
    with RawServer(answers(b"403 Forbidden", error)) as sts:
        stranger.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        with pytest.raises(CredentialsUnavailable) as caught:
            signed(Account())
    assert str(caught.value) == "AccessDenied"
    assert caught.value.__context__ is None


def test_sts_that_is_silent_is_given_up(stranger: pytest.MonkeyPatch, token_file: Path) -> None:
    """Each attempt has its limit."""
    stranger.setattr(aws, "SERVICE", aws.SERVICE.merge(Config(connect_timeout=0.2, read_timeout=0.2)))
    with RawServer(lambda _: b"", paced=True) as sts:
        stranger.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        with pytest.raises(CredentialsUnavailable) as caught:
            signed(Account())
    assert str(caught.value) == "ReadTimeoutError"


def test_sts_is_asked_twice_and_again_for_the_next_request(
    stranger: pytest.MonkeyPatch, token_file: Path
) -> None:
    """No failure is remembered."""
    account = Account()
    with RawServer(lambda _: None) as sts:
        stranger.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        for asked in (2, 4):
            with pytest.raises(CredentialsUnavailable):
                signed(account)
            assert len(sts.asked) == asked


def test_the_limits_of_sts_hold_in_its_client(token_file: Path) -> None:
    """They are the session's, so that whatever botocore asks has them."""
    client = Account()._session.create_client(
        "sts", "us-east-1", config=Config(signature_version=botocore.UNSIGNED)
    )
    assert (client.meta.config.connect_timeout, client.meta.config.read_timeout) == (2, 3)
    assert client.meta.config.retries["total_max_attempts"] == 2


# Before the fork


PREPARED = """if True:
    import sys, threading
    from consumer import s3
    from consumer.settings import S3Settings
    s3.prepare()
    import ssl; ssl.create_default_context(); "localhost".encode("idna")  # the Memory API's part
    loaded = set(sys.modules)
    settings = S3Settings(frozenset({"logs"}), 20, sys.argv[1])
    archive = s3.Archive(settings, ssl_context=None, pump=lambda: None)
    assert archive.read("s3://logs/a.gz", 100) == b"[]"
    assert set(sys.modules) == loaded, set(sys.modules) - loaded
    assert threading.active_count() == 1
"""


@pytest.mark.parametrize("way", ["keys", "token"])
def test_a_first_request_imports_nothing_after_prepare(
    way: str, stranger: pytest.MonkeyPatch, s3: S3Server, request: pytest.FixtureRequest
) -> None:
    """What it needs is loaded before the fork, so that children share it with their parent; there is one thread."""
    s3.put("a.gz", base64.b64decode("H4sIAAAAAAACA4uOBQApu0wNAgAAAA=="))
    if way == "token":
        request.getfixturevalue("token_file")
        stranger.setenv("AWS_ENDPOINT_URL_STS", s3.url)
    else:
        give_keys(stranger)
    subprocess.run([sys.executable, "-W", "error", "-c", PREPARED, s3.url], check=True)


@pytest.mark.parametrize("way", ["token", "role", "instance"])
def test_to_prepare_asks_nobody(
    way: str, stranger: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A parent has no connection: instance metadata and STS are left to the children."""
    stranger.delenv("AWS_EC2_METADATA_DISABLED")
    if way == "token":
        request.getfixturevalue("token_file")
    elif way == "role":
        role = "role_arn = arn:aws:iam::123456789012:role/robot\ncredential_source = Ec2InstanceMetadata\n"
        configure(stranger, f"[default]\n{role}")
    with RawServer(lambda _: None) as server:
        stranger.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
        stranger.setenv("AWS_ENDPOINT_URL_STS", server.url)
        aws.prepare()
        assert server.asked == []
        with contextlib.suppress(CredentialsUnavailable):
            aws.account().sign("GET", URL, {"Host": HOST}, b"")
        assert server.asked  # as whoever signs has to


def test_to_prepare_survives_a_profile_that_is_not_there(stranger: pytest.MonkeyPatch) -> None:
    """A slip in it fails events, with its name, and not the start."""
    stranger.setenv("AWS_PROFILE", "another")
    aws.prepare()
    with pytest.raises(CredentialsUnavailable):
        aws.account().sign("GET", URL, {"Host": HOST}, b"")


def test_without_the_extra_only_prepare_fails() -> None:
    """Where logs are kept is said by a function that needs none of it."""
    program = """if True:
        import sys
        sys.modules["botocore"] = None
        from consumer import buckets, s3
        assert buckets.log_url("b", "p", "1", "0f") == "s3://b/p/1.0f.json.gz"
        try:
            s3.prepare()
        except ImportError:
            sys.exit(7)
    """
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7


def test_s3_alone_imports_no_botocore() -> None:
    """What is not in use costs nothing."""
    program = (
        "import sys; from consumer import s3; sys.exit('botocore' in sys.modules or 'urllib3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Words


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Listen to whatever is logged, at any level."""
    with caplog.at_level(logging.NOTSET):
        yield caplog


def test_botocore_logs_nothing(
    everything: pytest.LogCaptureFixture, stranger: pytest.MonkeyPatch, token_file: Path, s3: S3Server
) -> None:
    """At level debug it would write the session's token; urllib3 writes where it asks for one."""
    stranger.setenv("AWS_ENDPOINT_URL_STS", s3.url)
    assert signed(Account())["x-amz-security-token"]
    logging.getLogger("friendship.test").debug("heard")
    assert [record.name for record in everything.records] == ["friendship.test"]
