"""nbdkit with its curl plugin on the -flat.vmdk of a frozen disk.

It serializes the requests of a connection and knows no extents (tried with 1.32), so several connections read
one file. What a client sees of a failure is an export that does not exist; the cause is on standard error.
"""

from __future__ import annotations

import posixpath
import re
import shlex

from runner.hosts.script import load
from runner.step.tools import Program
from steps.source.nbdkit import SourceFailed, begin, errors_in, last_words
from steps.vsphere.client import KEEPALIVE_LENT
from steps.vsphere.errors import NotTrusted, PermissionMissing, Unreachable, VSphereError
from steps.vsphere.folder import PRIVILEGES

NBDKIT_CURL = Program(
    program="nbdkit",
    part="curl plugin",
    asks=("nbdkit", "--dump-plugin", "curl"),
    answers=r"^version=(\d+\.\d+\S*)",
    minimum=(1, 30),  # nbdkit-retry-request-filter(1): first appeared in nbdkit 1.30
    package="nbdkit",
    purpose="disks that are read here over HTTPS",
)

REQUEST_TIMEOUT = 30
"""Seconds for one HTTP request, so for 1 MiB: below the copy's stall timeout, so that a hanging one is made
again."""

COOKIE_RENEW = 5
"""Seconds after which the cookie's file is read again."""

RETRY_DELAY = 2
RETRIES = int((KEEPALIVE_LENT + COOKIE_RENEW) / RETRY_DELAY) + 2
"""A read that fails is made again for a little longer than it takes to see that the session ended, to log in
and to hand the new cookie out: an expired session, a dropped connection and a 503 cost seconds, not the
copy."""

_COOKIE = load("steps/source/scripts/cookie.sh")

_STATUS = re.compile(r"returned error: (\d{3})")
_URL = re.compile(r"^problem doing HEAD request to fetch size of URL \[[^\]]*\]: ")


def argv(url: str, *, cookie_file: str, ca_file: str, socket: str, pid_file: str) -> tuple[str, ...]:
    """The cookie is in a file only: command lines are public. No certificates but those of `ca_file` are in
    its directory."""
    return (
        *begin(socket=socket, pid_file=pid_file),
        "--filter=retry-request",
        "curl",
        f"url={url}",
        f"cainfo={ca_file}",
        # Else curl trusts all authorities of the system too, and takes 50 ms of CPU for each connection to
        # read them.
        f"capath={posixpath.dirname(ca_file)}",
        "protocols=https",
        # The cookie is for this server only.
        "followlocation=false",
        f"timeout={REQUEST_TIMEOUT}",
        f"cookie-script=exec {shlex.join(_COOKIE.argv(cookie_file))}",
        f"cookie-script-renew={COOKIE_RENEW}",
        f"retry-request-retries={RETRIES}",
        f"retry-request-delay={RETRY_DELAY}",
        # A disk that cannot be opened is an answer, not an accident.
        "retry-request-open=false",
    )


def failure(what: str, stderr: str, *, session_ended: bool) -> VSphereError:
    """The error for what nbdkit said. `what`: ``disk 2000 of pgtest1 (https://…)``; `session_ended`: what was
    refused was not the account, but a session that is no more."""
    said = errors_in(stderr)
    cause = _URL.sub("", said[-1]) if said else last_words(stderr)
    begins = f"{what} cannot be read over HTTPS"
    if said and (answered := status(stderr)):
        return _for_status(begins, answered, session_ended=session_ended)
    if "certificate" in cause:
        return NotTrusted(
            f"{begins}: {cause}; curl insists that the certificate names the server as the job does: write "
            "`server:` as in the certificate"
        )
    if not said or "curl" not in stderr:
        return SourceFailed(f"{begins}: {cause}")
    return Unreachable(f"{begins}: {cause}")


def status(stderr: str) -> int | None:
    """The HTTP status that it complained of last; None if it was something else."""
    found = _STATUS.search((errors_in(stderr) or [""])[-1])
    return int(found.group(1)) if found else None


def is_refusal(stderr: str) -> bool:
    """Whether the last thing it complained of is a session or account that the server does not take."""
    return status(stderr) in (401, 403)


def _for_status(begins: str, status: int, *, session_ended: bool) -> VSphereError:
    if status in (401, 403) and session_ended:
        return Unreachable(f"{begins}: the session had ended (status {status})")
    if status in (401, 403):
        return PermissionMissing(
            f"{begins}: the account is refused (status {status}): add {PRIVILEGES} to its role on the "
            "datacenter and the datastore",
            PRIVILEGES,
            "the datastore",
        )
    if status == 404:
        return SourceFailed(
            f"{begins}: there is no such file (status 404): the disk was moved, or its datastore keeps no "
            "flat files"
        )
    if status >= 500:
        return Unreachable(f"{begins}: the server failed (status {status})")
    return SourceFailed(f"{begins}: the server answered with status {status}")
