"""libguestfs's appliance with the disks of a point: one boot for many questions, each with a deadline."""

from __future__ import annotations

import contextlib
import os
import posixpath
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from runner.base.errors import Interrupted, SendenseError
from runner.base.units import MINUTE
from runner.base.waiting import LOOK, until
from runner.hosts import process
from steps.guest.guestfish import PACKAGES

try:
    import guestfs
except ImportError:
    guestfs = None

KVM = Path("/dev/kvm")
KVM_BOOT = 60.0
"""A boot with KVM takes 2 to 5 s. Where KVM is there and does not work, a guest may sit still for ever."""

EMULATED_BOOT = 5 * MINUTE
"""8 to 15 s on a machine that does nothing else; the first one also makes the appliance."""

ANSWER = 10 * MINUTE
"""For one question: a large journal is replayed when its file system is mounted."""

_NO_FILE_SYSTEM = ("swap", "unknown", "")

T = TypeVar("T")


class GuestError(SendenseError):
    """libguestfs is missing, does not start, or cannot do what was asked."""


class Appliance:
    """The disks of NBD `uris`, read-only, and the file systems found on them. Use as a context manager.
    `directory` (0700) takes its temporary files. Raises GuestError, Interrupted."""

    def __init__(self, uris: Sequence[str], directory: Path, stop: threading.Event) -> None:
        self._library = _library()
        self._uris = uris
        self._directory = directory
        self._stop = stop
        self._handle: Any = None
        self.mounted: dict[str, str] = {}
        """Directory → what is mounted there."""
        self.notes: list[str] = []
        """What could not be mounted, and why it is slow, in sentences."""

    def __enter__(self) -> Appliance:
        try:
            self._boot()
            self._mount()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            handle.close()

    def _mount_one(self, device: str, place: str) -> None:
        self.ask(lambda g: g.mount_ro(device, place), f"mounting {device}")

    def ask(self, question: Callable[[Any], T], doing: str, deadline: float = ANSWER) -> T:
        """What `question` answers, given libguestfs's handle; `doing` says what it does, for the error's
        sentence. The appliance is of no use after a question that took longer than `deadline` seconds."""
        answers: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                answers.append(question(self._handle))
            except (RuntimeError, UnicodeError) as error:  # the only ones that the binding raises
                errors.append(error)

        thread = threading.Thread(target=work, name=doing, daemon=True)
        thread.start()

        def has_ended() -> bool:
            thread.join(LOOK)
            return not thread.is_alive()

        def late() -> GuestError:
            return GuestError(f"{doing} took longer than {deadline:.0f} s")

        try:
            until(has_ended, stop=self._stop, timeout=deadline, late=late, pause=0)
        except (Interrupted, GuestError):
            self._kill()  # the call then ends by itself, with an error
            thread.join()
            raise
        if errors:
            raise GuestError(f"{doing} failed: {' '.join(str(errors[0]).split())}") from errors[0]
        return answers[0]

    def _boot(self) -> None:
        if KVM.exists() and os.access(KVM, os.R_OK | os.W_OK):
            try:
                self._launch(emulated=False, deadline=KVM_BOOT)
                return
            except Interrupted:
                raise
            except GuestError:
                self._close()
                self.notes.append(
                    f"no guest starts with {KVM} here, so the processor is emulated, which is slow"
                )
        self._launch(emulated=True, deadline=EMULATED_BOOT)

    def _launch(self, *, emulated: bool, deadline: float) -> None:
        handle = self._handle = self._library.GuestFS(python_return_dict=True, close_on_exit=False)
        handle.set_backend("direct")
        if emulated:
            handle.set_backend_setting("force_tcg", "1")
        handle.set_tmpdir(str(self._directory))
        for uri in self._uris:
            parts = urlsplit(uri)
            socket = parse_qs(parts.query)["socket"][0]
            export = unquote(parts.path).removeprefix("/")
            handle.add_drive_opts(
                export,
                format="raw",
                readonly=True,
                protocol="nbd",
                server=[f"unix:{socket}"],
                cachemode="unsafe",
            )
        with _small_environment():
            self.ask(lambda g: g.launch(), "starting libguestfs's appliance", deadline)

    def _kill(self) -> None:
        """By what they are: children of ours that run a virtual machine. The handle itself is busy, and can
        say no pid."""
        for pid in _children():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system"):
                    os.kill(pid, signal.SIGKILL)

    def _mount(self) -> None:
        """As the guest's own system has them; without one, each file system below a directory named after its
        device."""
        roots = self.ask(lambda g: g.inspect_os(), "looking for an operating system")
        if roots:
            root = roots[0]
            points = self.ask(lambda g: g.inspect_get_mountpoints(root), "looking for mount points")
            wanted = sorted(points.items(), key=lambda one: len(one[0]))
        else:
            found = self.ask(lambda g: g.list_filesystems(), "looking for file systems")
            devices = [device for device, kind in found.items() if kind not in _NO_FILE_SYSTEM]
            wanted = [(f"/{device.removeprefix('/dev/').replace('/', '-')}", device) for device in devices]
        for place, device in wanted:
            try:
                if not roots:
                    self.ask(lambda g, place=place: g.mkmountpoint(place), f"making {place}")  # type: ignore[misc]
                self._mount_one(device, place)
                self.mounted[place] = device
            except GuestError as error:
                self.notes.append(error.message)
        if not self.mounted:
            raise GuestError("; ".join(["no file system was found on these disks", *self.notes]))


def describe(mounted: dict[str, str]) -> str:
    return ", ".join(f"{device} on {posixpath.normpath(place)}" for place, device in mounted.items())


def _library() -> ModuleType:
    if guestfs is None:
        raise GuestError(
            "libguestfs's Python binding is not here: apt-get install --no-install-recommends "
            f"{PACKAGES}, and run sendense with the system's Python"
        )
    found: ModuleType = guestfs
    return found


@contextlib.contextmanager
def _small_environment() -> Iterator[None]:
    """libguestfs hands its children all of ours, where a secret of the job may be."""
    kept = process.environment()
    taken = {name: os.environ.pop(name) for name in set(os.environ) - set(kept)}
    try:
        yield
    finally:
        os.environ.update(taken)


def _children() -> Iterator[int]:
    mine = os.getpid()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # proc(5): pid (comm) state ppid …; comm may hold spaces and brackets.
            if int(path.read_text().rpartition(")")[2].split()[1]) == mine:
                yield int(path.parent.name)
