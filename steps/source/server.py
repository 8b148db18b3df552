"""An nbdkit on the host near vSphere that serves a disk over NBD: what the classes of all transports share.

Everything is registered to be closed before it is made. Ready means a handshake through the very path the
data will take.
"""

from __future__ import annotations

import errno
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from runner.base.errors import BY_SIGNAL, CommandError, Interrupted, SendenseError
from runner.base.waiting import until
from runner.hosts.host import Child, Forwards, Host
from runner.hosts.tunnel import explain
from runner.step.context import Context
from steps.copy.endpoint import ConnectFailed, RequestFailed
from steps.copy.nbd import ExportInfo, probe
from steps.source.disk_file import DiskFile
from steps.source.nbdkit import SourceFailed, errors_in
from steps.values.wire import Wire
from steps.vsphere.client import Client
from steps.vsphere.errors import PermissionMissing, VSphereError, WrongDisk
from steps.vsphere.names import DatastoreFile

START_TIMEOUT = 30.0
"""Seconds for nbdkit to listen; it does so before it asks the server anything."""

LAST_WORDS = 2.0
"""Seconds for the cause of a refused handshake to come through from nbdkit's standard error."""

PAUSE = 0.02


class SourceServer(ABC):
    """`what` is for messages: ``disk 2000 ([ds] a/a.vmdk) through vcenter.example.com from host node``."""

    handshake_timeout: float
    """Seconds for the first connection; nbdkit opens the disk in it."""

    complaints_are_final: bool
    """Whether what nbdkit calls an error while it opens the disk means that it will not open."""

    takes_more_connections = False
    """Whether a further connection costs vSphere no more than the first one's."""

    def __init__(self, ctx: Context, host: Host, client: Client, disk: DiskFile) -> None:
        self._ctx = ctx
        self._host = host
        self._client = client
        self._disk = disk
        self._what = (
            f"disk {disk.key} ({self._file()}) through {client.vcenter.authority} from host {host.name}"
        )
        self._child: Child | None = None

    wire: Wire | None = None
    """What more ssh processes can lead to, once it is open."""
    round_trip = 0.0
    """Seconds, to the nbdkit that answered; 0 if it was not measured."""

    @abstractmethod
    def open(self) -> tuple[str, ...]:
        """NBD URIs of the same bytes, one for each connection that may be made; a handshake passed through
        the first. Raises VSphereErrors, HostErrors, ConnectFailed, WrongDisk, Interrupted."""

    @abstractmethod
    def _file(self) -> str | DatastoreFile:
        """The file that is served; as text ``[ds] dir/name``."""

    @abstractmethod
    def _failure_of(self, stderr: str) -> VSphereError:
        """What nbdkit's words mean."""

    def _start(self, directory: str, command: Callable[[str, str], tuple[str, ...]]) -> Child:
        """The nbdkit of `command` (socket and pid file → command line), which listens when this returns."""
        pid_file = posixpath.join(directory, "pid")
        child = self._ctx.start(self._host, command(self._socket(directory), pid_file))
        self._await_listening(child, pid_file)
        self._child = child
        self._ctx.explains.append(self._explain)
        return child

    def _connect(self, directory: str, child: Child, *, dedicated: bool = False) -> str:
        """The URI of a socket here that leads to it."""
        forwards = self._ctx.closing.enter_context(
            self._host.forward((self._socket(directory),), dedicated=dedicated)
        )
        self._ctx.children.extend(forwards.children)
        uri = f"nbd+unix:///?socket={forwards.sockets[0]}"
        self._shake_hands(uri, child, forwards)
        return uri

    def _socket(self, directory: str) -> str:
        return posixpath.join(directory, "nbd")

    def _await_listening(self, child: Child, pid_file: str) -> None:
        def listens() -> bool:
            if (there := self._host.exists(pid_file)) or (code := child.poll()) is None:
                return there
            if code > BY_SIGNAL:
                raise CommandError(self._host.name, child.argv, code, child.stderr())
            raise self._failure_of(self._last_words(child))

        def late() -> SourceFailed:
            return SourceFailed(f"{self._what}: nbdkit does not listen after {START_TIMEOUT:.0f} s")

        until(listens, stop=self._ctx.stop, timeout=START_TIMEOUT, late=late)

    def _shake_hands(self, uri: str, child: Child, forwards: Forwards) -> None:
        self._ctx.check_stop()
        try:
            info = self._first_answer(uri, child)
        except ConnectFailed as error:
            words = self._last_words(child)
            if errors_in(words):
                raise self._failure_of(words) from error
            # nbdkit knows nothing of it: the way there failed.
            forwards.retire()
            raise explain(self._host.name, forwards) or error from error
        self.round_trip = info.round_trip
        self._compare(info)

    def _compare(self, info: ExportInfo) -> None:
        """Raises WrongDisk if it is not the disk that it should be."""
        if info.size != self._disk.capacity:
            raise WrongDisk(
                f"{self._what} has {info.size} bytes, disk {self._disk.key} has {self._disk.capacity}: the "
                "file is not the disk's"
            )

    def _first_answer(self, uri: str, child: Child) -> ExportInfo:
        """Of the handshake. Newer nbdkits (seen with 1.42) ask for the file's size after the disk was opened,
        and their retry filter asks again and again, so its first complaint ends the wait."""
        with ThreadPoolExecutor(1, thread_name_prefix="handshake") as pool:
            answer = pool.submit(
                probe,
                uri,
                self.handshake_timeout,
                self._what,
                stop=self._ctx.stop,
                measure=self.takes_more_connections and not self._host.local,
            )
            while not wait([answer], PAUSE).done:
                if self.complaints_are_final and errors_in(words := child.stderr()):
                    child.stop()  # so that the handshake ends too
                    raise self._failure_of(words)
            return answer.result()

    def _explain(self, error: SendenseError) -> SendenseError:
        """Of one who used the disk: an I/O error stands for the disk's own, unless nbdkit complained of what
        is behind it; and a connection is refused because of that too, since nbdkit opens the disk for
        each."""
        if not isinstance(error, ConnectFailed | RequestFailed) or error.name != self._disk.endpoint:
            return error
        if isinstance(error, RequestFailed) and error.number != errno.EIO:
            return error
        if self._child is None or not errors_in(words := self._last_words(self._child)):
            return error
        try:
            cause: SendenseError = (
                self._cause_of(error, words) if isinstance(error, RequestFailed) else self._why_refused(words)
            )
        except Interrupted:
            return error  # it says more than that nobody looks for its cause any longer
        except SendenseError as met:  # while looking whether the account is still let in
            cause = met
        cause.message = f"{error.message}: {cause.message}"
        return cause

    def _why_refused(self, stderr: str) -> VSphereError:
        """The disk was opened a moment ago, so it may open again; if not, `open` raises a permanent error."""
        cause = self._failure_of(stderr)
        cause.transient = not isinstance(cause, PermissionMissing)
        return cause

    def _cause_of(self, error: RequestFailed, stderr: str) -> VSphereError:
        return self._failure_of(stderr)

    def _last_words(self, child: Child) -> str:
        """Its standard error, once the cause is there or cannot come."""
        try:
            return until(
                lambda: words if errors_in(words := child.stderr()) else None,
                stop=self._ctx.stop,
                timeout=LAST_WORDS,
            )
        except (TimeoutError, Interrupted):
            return child.stderr()
