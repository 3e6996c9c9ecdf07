"""Who we are to S3: credentials, region and signature, found and made by botocore.

The only module that knows botocore, which is an extra: importing this without it raises ImportError. botocore's own
client is not used (docs/decisions/0021-logs-in-s3.md).

Credentials come from botocore's standard chain: environment, profile, web identity, container, instance. To look them
up may mean to ask a service, without heartbeats and outside of the caller's deadline, so each such question has a limit
of its own: instance metadata 1 s a request (AWS_METADATA_SERVICE_TIMEOUT), a container's agent three times 2 s, STS and
SSO `SERVICE`, a program that a profile names `PROGRAM_S`. What was found is kept until shortly before it runs out.
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
from botocore.credentials import ProcessProvider
from botocore.exceptions import ClientError
from botocore.loaders import Loader, create_loader

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
        self._session.register_component("data_loader", _models())
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
        signed = self._ask(partial(self._signed, self.region(), method, url, headers, body))
        self._anonymous = signed is None
        return signed

    def doubt(self) -> None:
        """Look again at the next request, where no credentials were found: without them it was refused."""
        self._anonymous = False

    def asks_sts(self) -> bool:
        """Say whether credentials are exchanged for others at STS, which takes a client of it."""
        if os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
            return True
        with contextlib.suppress(CredentialsUnavailable):
            return "role_arn" in self._ask(self._session.get_scoped_config)
        return False

    def warm(self) -> None:
        """Load what a client of STS needs, without a connection."""
        unsigned = Config(signature_version=botocore.UNSIGNED)  # else it would look for credentials
        with contextlib.suppress(CredentialsUnavailable):
            self._ask(partial(self._session.create_client, "sts", self.region(), config=unsigned))

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

    def _signed(
        self, region: str, method: str, url: str, headers: dict[str, str], body: bytes
    ) -> list[tuple[bytes, bytes]] | None:
        if self._credentials is None:
            self._credentials = self._chain.load_credentials()
        if self._credentials is None:
            return None
        request = AWSRequest(method, url, headers=headers, data=body)
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", region).add_auth(request)
        return [(name.encode("ascii"), value.encode("ascii")) for name, value in request.headers.items()]

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
def _models() -> Loader:
    """Return the one reader of botocore's data files: what a parent has read, its children share."""
    return create_loader(os.environ.get("AWS_DATA_PATH"))


def prepare() -> None:
    """Load what a first request would, for a parent before it forks."""
    account = Account()
    if account.asks_sts():
        account.warm()
