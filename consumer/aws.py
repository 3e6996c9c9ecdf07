"""Who we are to S3: credentials, region and signature, found and made by botocore.

The only module that knows botocore, which is an extra: importing this without it raises ImportError. botocore's own
client is not used (docs/decisions/0021-logs-in-s3.md).

Credentials come from botocore's standard chain: environment, profile, web identity, container, instance. To look them
up may mean to ask a service, without heartbeats and outside of the caller's deadline, so each such question has a limit
of its own: instance metadata 1 s a request (AWS_METADATA_SERVICE_TIMEOUT), a container's agent 9 s in all, STS and SSO
`SERVICE`, a program that a profile names `PROGRAM_S`. What was found is kept until shortly before it runs out.
"""

import contextlib
import functools
import logging
import os
import re
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import botocore
import botocore.session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ProcessProvider
from botocore.exceptions import ClientError

DEFAULT_REGION = "us-east-1"
SERVICE = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2, "mode": "standard"})
PROGRAM_S = 10.0

Answer = TypeVar("Answer")

# At level debug they write canonical requests with the session's token in them, at info where credentials are from
for _name in ("botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class CredentialsUnavailable(Exception):
    """Credentials are configured and cannot be had. The text names the kind of failure, nothing of what was tried."""


class Account:
    """The account that this process's environment and files name. For one thread; looks up nothing by itself."""

    def __init__(self) -> None:
        self._session = botocore.session.Session()
        self._session.set_default_client_config(SERVICE)
        self._credentials: Any = None
        self._anonymous = False

    def region(self) -> str:
        """Give AWS_REGION, AWS_DEFAULT_REGION or the profile's region, else us-east-1.

        Raises CredentialsUnavailable when the profile cannot be read.
        """
        return (
            os.environ.get("AWS_REGION")
            or self._ask(partial(self._session.get_config_variable, "region"))
            or DEFAULT_REGION
        )

    def sign(
        self, method: str, url: str, headers: dict[str, str], body: bytes
    ) -> list[tuple[bytes, bytes]] | None:
        """Give all headers of a request, the signature among them; None where there are no credentials.

        url: as it will be asked for, percent-encoded. headers: all that are to be signed, with Host.
        Raises CredentialsUnavailable.
        """
        if self._anonymous:
            return None
        credentials = self._ask(self._found)
        self._anonymous = credentials is None
        if self._anonymous:
            return None
        return self._ask(partial(_signed, credentials, self.region(), method, url, headers, body))

    def doubt(self) -> None:
        """Look again at the next request, where no credentials were found: without them it was refused."""
        self._anonymous = False

    def rehearse(self) -> None:
        """Build what a first request would, and ask nobody."""
        with contextlib.suppress(CredentialsUnavailable):
            self._ask(lambda: self._chain)
            _signed(Credentials("nobody", "secret"), self.region(), "GET", "http://nowhere/", {}, b"")
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
            popen=_BoundedProgram,
        )
        chain.insert_after(bounded.METHOD, bounded)
        chain.remove(bounded.METHOD)
        return chain

    def _found(self) -> Any:
        """Credentials as they are now, or None where there are none."""
        if self._credentials is None:
            self._credentials = self._chain.load_credentials()
        return self._credentials and self._credentials.get_frozen_credentials()

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """Put a question to botocore. What it raises is of many kinds, and may hold what a program printed."""
        try:
            return question()
        except MemoryError:
            raise
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            kind = code if re.fullmatch(r"[A-Za-z]{1,64}", code) else "ClientError"
        except Exception as error:  # noqa: BLE001 (files, programs, services: each raises what it likes)
            kind = type(error).__name__
        raise CredentialsUnavailable(kind)


def _signed(  # noqa: PLR0913, PLR0917 (what a signature is made of)
    credentials: Any, region: str, method: str, url: str, headers: dict[str, str], body: bytes
) -> list[tuple[bytes, bytes]]:
    request = AWSRequest(method, url, headers=headers, data=body)
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in request.headers.items()]


class _BoundedProgram(subprocess.Popen[bytes]):
    """A program that prints credentials, and is killed when it takes too long."""

    def communicate(self, input: bytes | None = None, timeout: float | None = PROGRAM_S) -> tuple[Any, Any]:  # noqa: A002
        try:
            return super().communicate(input, timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()
            for stream in (self.stdout, self.stderr):
                assert stream is not None
                stream.close()
            raise


@functools.cache
def account() -> Account:
    """Give the one of this process. What its parent has built of it, a child shares."""
    return Account()


def prepare() -> None:
    """Load and build what a first request would, for a parent before it forks."""
    account().rehearse()
