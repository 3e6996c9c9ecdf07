"""Who we are to S3: credentials, region and signature, found and made by botocore.

The only module that knows botocore, which is an extra: importing this without it raises ImportError. botocore's own
client is not used (docs/decisions/0021-logs-in-s3.md).

Credentials come from botocore's standard chain: environment, profile, web identity, container, instance. To look them
up may mean to ask a service, without heartbeats and outside of the caller's deadline. There is no limit on the whole:
what there is holds for one wait, and a server that drips meets it for ever (decision 0021 has what was measured).
Instance metadata waits 1 s for each read (AWS_METADATA_SERVICE_TIMEOUT), a container's agent 2 s, three times, STS and
SSO as `SERVICE` says. A program that a profile names has `consumer.program.LIMIT_S` in all. Behind it stands the
supervisor's message deadline.

What was found is kept until shortly before it runs out. What was refused is looked for again, and so is what was not
found, once in `LOOK_AGAIN_S` at most: S3 refuses a missing object just as it refuses a stranger.
"""

import contextlib
import functools
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import botocore
import botocore.session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ProcessProvider
from botocore.exceptions import ClientError
from botocore.loaders import create_loader

from consumer.program import BoundedProgram

DEFAULT_REGION = "us-east-1"
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
PROFILE_VARIABLES = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
SERVICE = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2, "mode": "standard"})
LOOK_AGAIN_S = 60.0

Answer = TypeVar("Answer")

# At level debug they write canonical requests with the session's token in them, at info where credentials are from
for _name in ("botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class CredentialsUnavailable(Exception):
    """Credentials are configured and cannot be had. The text names the kind of failure, nothing of what was tried."""


class Account:
    """The account that this process's environment and files name. For one thread; looks up nothing by itself.

    now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._session = _session()
        self._credentials: Any = None
        self._looked_at: float | None = None
        self._doubted = False

    def region(self) -> str:
        """Give AWS_REGION, AWS_DEFAULT_REGION or the profile's region, else us-east-1.

        Raises CredentialsUnavailable when the profile cannot be read, or what is found is no name.
        """
        found = self._ask(partial(self._session.get_config_variable, "region")) or DEFAULT_REGION
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found):
            source = next(iter(_given(REGION_VARIABLES)), "the profile's region")
            raise CredentialsUnavailable(f"{source} is no region's name")
        return str(found)

    def sign(
        self, method: str, url: str, headers: dict[str, str], body: bytes
    ) -> list[tuple[bytes, bytes]] | None:
        """Give all headers of a request, the signature among them; None where there are no credentials.

        url: as it will be asked for, percent-encoded. headers: all that are to be signed, with Host.
        Raises CredentialsUnavailable.
        """
        if self._looked_at is None or (self._doubted and self._now() - self._looked_at >= LOOK_AGAIN_S):
            self._look()
        if self._credentials is None:
            return None
        try:
            credentials = self._ask(self._credentials.get_frozen_credentials)
            return self._ask(partial(_signed, credentials, self.region(), method, url, headers, body))
        except CredentialsUnavailable:
            self._doubted = True  # nobody will refuse them, and they may be mended where they come from
            raise

    def doubt(self) -> None:
        """Look again before a next request, if a minute has passed since the last look: S3 may not know these."""
        self._doubted = True

    def rehearse(self) -> None:
        """Build what a first request would, and ask nobody."""
        with contextlib.suppress(CredentialsUnavailable):
            self._ask(lambda: self._chain)
            nobody = Credentials("nobody", "secret")
            self._ask(partial(_signed, nobody, self.region(), "GET", "http://nowhere/", {}, b""))
            if self._ask(self._asks_sts):
                unsigned = Config(signature_version=botocore.UNSIGNED)  # else it would look for credentials
                self._ask(partial(self._session.create_client, "sts", self.region(), config=unsigned))

    def _asks_sts(self) -> bool:
        if os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
            return True
        return "role_arn" in self._session.get_scoped_config()

    @functools.cached_property
    def _chain(self) -> Any:
        """The places that botocore looks in, with a limit for the one that has none."""
        chain = self._session.get_component("credential_provider")
        bounded = ProcessProvider(
            self._session.get_config_variable("profile") or "default",
            lambda: self._session.full_config,
            popen=BoundedProgram,
        )
        chain.insert_after(bounded.METHOD, bounded)
        chain.remove(bounded.METHOD)
        return chain

    def _look(self) -> None:
        """Find credentials. Those of before stand until others are found that can be had."""
        if self._looked_at is not None:
            self._renew()
        found = None
        try:
            found = self._ask(self._found)
        except CredentialsUnavailable:
            if self._credentials is None:
                raise
        self._looked_at, self._doubted = self._now(), False
        self._credentials = found or self._credentials

    def _found(self) -> Any:
        found = self._chain.load_credentials()
        if found is not None:
            found.get_frozen_credentials()  # some are only asked for here
        return found

    def _renew(self) -> None:
        """Forget what botocore has read of files and keeps for the life of a session."""
        self._session = _session()
        self.__dict__.pop("_chain", None)

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """Put a question to botocore. What it raises is of many kinds, and may hold what a program printed."""
        try:
            return question()
        except (MemoryError, CredentialsUnavailable):
            raise
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            kind = code if re.fullmatch(r"[A-Za-z]{1,64}", code) else "ClientError"
        except Exception as error:  # noqa: BLE001 (files, programs, services: each raises what it likes)
            kind = type(error).__name__
        self._renew()  # the next question finds what was mended meanwhile
        raise CredentialsUnavailable(kind)


@functools.cache
def _service_descriptions() -> Any:
    """Give what all sessions read of botocore's data: megabytes, and the same for each."""
    return create_loader(os.environ.get("AWS_DATA_PATH"))


def _session() -> Any:
    """Begin a session, in which an empty variable is none, and a role is assumed in the region that logs are in."""
    variables = {
        "profile": (None, _given(PROFILE_VARIABLES), None, None),
        "region": ("region", _given(REGION_VARIABLES), DEFAULT_REGION, None),
    }
    session = botocore.session.Session(session_vars=variables)
    session.set_default_client_config(SERVICE)
    session.register_component("data_loader", _service_descriptions())
    return session


def _given(variables: Iterable[str]) -> list[str]:
    return [name for name in variables if os.environ.get(name)]


def _signed(  # noqa: PLR0913, PLR0917 (what a signature is made of)
    credentials: Any, region: str, method: str, url: str, headers: dict[str, str], body: bytes
) -> list[tuple[bytes, bytes]]:
    _demand_fit("the access key's id", credentials.access_key)
    _demand_fit("the session token", credentials.token or "")
    _demand_fit("the secret access key", credentials.secret_key, carried=False)
    request = AWSRequest(method, url, headers=headers, data=body)
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    for value in request.headers.values():
        _demand_fit("a header", value)
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in request.headers.items()]


def _demand_fit(part: str, text: str, *, carried: bool = True) -> None:
    """Refuse what a mounted file or a slip of a keyboard has added: who sends it would quote it in an error.

    carried: whether it stands in a header as it is. Raises CredentialsUnavailable, which names the part alone.
    """
    if text != text.strip() or not text.isprintable():
        raise CredentialsUnavailable(f"{part} holds a line break or blank: give it without")
    if carried and not text.isascii():
        raise CredentialsUnavailable(f"{part} holds a character that no header carries")


@functools.cache
def account() -> Account:
    """Give the one of this process. What its parent has built of it, a child shares."""
    return Account()


def prepare() -> None:
    """Load and build what a first request would, for a parent before it forks."""
    account().rehearse()
