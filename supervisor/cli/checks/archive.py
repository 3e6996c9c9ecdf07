"""S3: does each bucket answer, and would it give a log? Its absence stops no start, so it is a warning.

What cannot get better by itself, a bucket that is not there or credentials that cannot be read, fails.
"""

from collections.abc import Iterator
from dataclasses import replace

from consumer.errors import LogUnavailable
from consumer.s3 import Archive
from consumer.settings import S3Settings
from supervisor.cli.checks.finding import Finding, fail, ok, warn

SUBJECT = "S3"
TIMEOUT_S = 5.0
NOBODY_S_KEY = "friendship-supervisor-check"
"""Asked for, never written: that there is no such object is the best answer."""


def look(settings: S3Settings) -> Iterator[Finding]:
    """Ask each bucket for an object that is not there, the way that logs are asked for."""
    try:
        archive = Archive(replace(settings, timeout_s=TIMEOUT_S), ssl_context=None, pump=lambda: None)
    except ImportError:
        yield fail(
            SUBJECT,
            "S3_ALLOWED_BUCKETS is set, and the extra s3 is not installed",
            "pip install 'friendship-supervisor[s3]'",
        )
        return
    for bucket in sorted(settings.buckets):
        yield judged(bucket, _asked(archive, bucket))


def judged(bucket: str, reason: str) -> Finding:
    """Say what it means that an object was not had, in the words of consumer.s3; empty: it was."""
    if not reason or "(NoSuchKey)" in reason:
        return ok(SUBJECT, f"bucket {bucket} answers, and would give a log", bucket=bucket)
    if "(NoSuchBucket)" in reason:
        return fail(SUBJECT, reason, "correct S3_ALLOWED_BUCKETS, or S3_ENDPOINT_URL", bucket=bucket)
    if "no credentials: " in reason:
        return fail(
            SUBJECT, reason, "correct what AWS_PROFILE, the files or the variables give", bucket=bucket
        )
    if "not signed" in reason:
        remedy = "give credentials, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    elif "(AccessDenied)" in reason:
        remedy = (
            "allow the account s3:GetObject, and s3:ListBucket: without it a missing log is refused likewise"
        )
    else:
        remedy = "see S3_ENDPOINT_URL, AWS_REGION and the credentials"
    return warn(SUBJECT, reason, remedy, bucket=bucket)


def _asked(archive: Archive, bucket: str) -> str:
    try:
        archive.read(f"s3://{bucket}/{NOBODY_S_KEY}", 1)
    except LogUnavailable as unavailable:
        return unavailable.reason
    return ""
