"""What every host does, local or behind sshd."""

from __future__ import annotations

import contextlib
import os
import posixpath
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.base.errors import CommandError, HostError, LockedError
from runner.base.units import MiB
from runner.hosts import process
from runner.hosts.connect import connect
from runner.hosts.files import NoSpaceError, is_temporary
from runner.hosts.held_lock import HeldLock, holder_of
from runner.hosts.host import LARGEST_RECORD, Host, Lock
from runner.hosts.regular_file import NotAFileError, TooLargeError
from runner.hosts.supervisor import NoRoomError
from steps.lab.sshd import Sshd
from tests.eventually import eventually, is_gone
from tests.sshd import (
    either_host,  # noqa: F401  # a fixture
    sshd,  # noqa: F401  # a fixture
)

pytestmark = pytest.mark.slow

HOSTILE = {
    "space": "a b",
    "quotes": "'single' \"double\"",
    "newline": "first\nsecond\n",
    "unicode": "Прод-数据库-🐘",
    "dash": "-rf",
    "substitution": "$(touch pwned)`touch pwned`${HOME}",
    "glob": "*?[a]",
    "semicolon": "; touch pwned; #",
    "backslash": "a\\b\\n%s",
    "expression": "(!",
    "not utf-8": os.fsdecode(b"\xff\xfe"),
}


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE.keys())
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{tmp_path}/{request.param}"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system to fill it")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"mount is not allowed here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def pid_in(path: Path) -> int:
    assert eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


# Commands


def test_run_gives_output_errors_and_exit_code(host: Host) -> None:
    done = host.run(shell("printf 'out\\0'; echo err >&2; exit 3"), ok=(0, 3))
    assert (done.stdout, done.stderr, done.exit_code) == (b"out\0", "err\n", 3)


def test_a_failed_command_says_where_how_and_its_last_words(host: Host) -> None:
    with pytest.raises(CommandError) as caught:
        host.run(shell("echo the disk is on fire >&2; exit 4"))
    assert caught.value.exit_code_seen == 4
    assert host.name in str(caught.value) and "the disk is on fire" in str(caught.value)


def test_the_exit_code_of_a_signal_is_128_and_its_number(host: Host) -> None:
    assert host.run(shell("kill -KILL $$"), ok=None).exit_code == 137


@pytest.mark.parametrize("size", [0, 1, 5_000_000], ids=["empty", "a byte", "more than any pipe holds"])
def test_stdin_arrives_whole(host: Host, size: int) -> None:
    content = os.urandom(size)
    assert host.run(("cat",), stdin=content).stdout == content


def test_a_command_that_does_not_read_its_stdin_is_no_error(host: Host) -> None:
    assert host.run(("true",), stdin=b"x" * 3_000_000).exit_code == 0


def test_a_command_over_its_time_is_killed_with_what_it_started(host: Host, tmp_path: Path) -> None:
    script = f"echo waiting >&2; sleep 600 & echo $! >{tmp_path}/pid; wait"
    with pytest.raises(CommandError, match=f"on {host.name} timed out: waiting") as caught:
        host.run(shell(script), timeout=0.7)
    assert caught.value.exit_code_seen is None and caught.value.transient
    assert eventually(lambda: is_gone(pid_in(tmp_path / "pid")))


def test_a_command_that_says_nothing_for_too_long_is_killed_and_one_that_speaks_is_not(
    host: Host, tmp_path: Path
) -> None:
    """`silence` is of its standard output, from the start and after each piece."""
    spoken = host.run(shell("for each in 1 2 3 4; do sleep 0.4; echo $each; done"), silence=1.2)
    assert spoken.stdout == b"1\n2\n3\n4\n"
    # It would end well by itself, long before its time is up.
    loop = "for each in $(seq 100); do echo waiting >&2; sleep 0.1; done"
    with pytest.raises(CommandError, match=f"on {host.name} timed out: waiting"):
        host.run(shell(f"echo begun; echo $$ >{tmp_path}/pid; {loop}"), silence=0.7)
    assert eventually(lambda: is_gone(pid_in(tmp_path / "pid")))


def test_a_program_that_ignores_term_is_killed_too(host: Host, tmp_path: Path) -> None:
    child = host.popen(shell(f"trap '' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.1; done"))
    pid = pid_in(tmp_path / "pid")
    child.stop(timeout=0.4)
    assert child.poll() == 137 and is_gone(pid)


def test_a_missing_program_is_named_with_its_package(host: Host) -> None:
    with pytest.raises(CommandError, match="no-such-program is not installed on"):
        host.run(("no-such-program",))
    with pytest.raises(CommandError, match="/usr/sbin/no-such is not installed on"):
        host.popen(("/usr/sbin/no-such",))


def test_secrets_of_our_environment_are_not_inherited(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCENTER_PASSWORD", "geheim-4711")
    names = {line.partition("=")[0] for line in host.run(("env",)).stdout.decode().splitlines()}
    assert names == {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"}
    child = host.popen(("env",))
    assert eventually(lambda: child.poll() is not None)
    assert "TMPDIR=" in child.stderr() and "geheim" not in child.stderr()
    child.stop()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")) | st.binary(), min_size=1, max_size=6))
def test_arguments_arrive_as_they_are(host: Host, arguments: list[str | bytes]) -> None:
    sent = [each if isinstance(each, str) else os.fsdecode(each.replace(b"\0", b"")) for each in arguments]
    output = host.run(("printf", "%s\\0", *sent)).stdout
    assert [os.fsdecode(each) for each in output.split(b"\0")[:-1]] == sent


def test_a_nul_in_an_argument_is_refused(host: Host) -> None:
    with pytest.raises(ValueError, match="null byte"):
        host.run(("echo", "a\0b"))


# Leashed processes


def test_a_child_runs_until_it_is_stopped(host: Host, tmp_path: Path) -> None:
    child = host.popen(shell(f"echo $$ >{tmp_path}/pid; echo ready >&2; exec sleep 600"))
    pid = pid_in(tmp_path / "pid")
    assert child.poll() is None and eventually(lambda: child.stderr() == "ready\n")
    child.stop()
    assert child.poll() == 143 and is_gone(pid)
    child.stop()


def test_a_frozen_child_is_stopped_without_force(host: Host, tmp_path: Path) -> None:
    child = host.popen(shell(f"echo $$ >{tmp_path}/pid; exec sleep 600"))
    os.kill(pid_in(tmp_path / "pid"), signal.SIGSTOP)
    child.stop()
    assert child.poll() == 143


def test_a_child_that_ended_tells_its_exit_code_and_last_words(host: Host) -> None:
    child = host.popen(shell("echo the export is locked >&2; exit 9"))
    assert eventually(lambda: child.poll() == 9)
    assert child.stderr() == "the export is locked\n"
    child.stop()


def test_only_the_last_64_kib_of_a_child_are_kept(host: Host) -> None:
    child = host.popen(shell("head -c 3000000 /dev/zero | tr '\\0' x; echo end"))
    assert eventually(lambda: child.poll() == 0)
    assert len(child.stderr()) == 64 * 1024 and child.stderr().endswith("xend\n")
    child.stop()


def test_what_a_child_leaves_behind_ends_with_it(host: Host, tmp_path: Path) -> None:
    child = host.popen(shell(f"sleep 600 & echo $! >{tmp_path}/pid"))
    assert eventually(lambda: child.poll() == 0)
    assert eventually(lambda: is_gone(pid_in(tmp_path / "pid")))
    child.stop()


HOLDER = """
import os, sys, time
from pathlib import Path
from runner.hosts.connect import connect
from runner.hosts.spec import SshSpec

spec, directory = sys.argv[1:]
host = connect("hub", "local" if spec == "local" else SshSpec.model_validate_json(spec))
lock = host.lock(f"{directory}/lock", "the run that was killed")
child = host.popen(("sh", "-c", f"echo $$ >{directory}/pid; exec sleep 600"))
with host.tempdir() as temporary:
    host.write(f"{temporary}/password", b"geheim")
    Path(f"{directory}/temporary").write_text(temporary)
    with host.forward([f"{temporary}/socket"]) as forwards, host.lend([f"{temporary}/here"]) as lent:
        print(forwards.sockets[0], lent[0], flush=True)
        time.sleep(600)
"""


def test_nothing_survives_our_sigkill(host: Host, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    spec = "local" if host.local else request.getfixturevalue("sshd").spec.model_dump_json(by_alias=True)
    argv = [sys.executable, "-c", HOLDER, spec, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as holder:
        assert holder.stdout is not None
        sockets = holder.stdout.readline().split()
        pid = pid_in(tmp_path / "pid")
        with pytest.raises(LockedError, match="the run that was killed"):
            host.lock(f"{tmp_path}/lock", "us")
        assert not is_gone(pid)
        holder.send_signal(signal.SIGKILL)
    assert eventually(lambda: is_gone(pid))
    assert eventually(lambda: not Path((tmp_path / "temporary").read_text()).exists())
    assert len(sockets) == 2
    assert eventually(lambda: not any(Path(path).parent.exists() for path in sockets))
    lock_when_free(host, f"{tmp_path}/lock").release()


def lock_when_free(host: Host, path: str) -> Lock:
    taken: list[Lock] = []

    def take() -> bool:
        with contextlib.suppress(LockedError):
            taken.append(host.lock(path, "us"))
        return bool(taken)

    assert eventually(take)
    return taken[0]


# Locks and temporary directories


def test_a_lock_conflict_names_the_holder(host: Host, tmp_path: Path) -> None:
    path = f"{tmp_path}/it's a lock"
    holder = "runner.example.com, pid 4711, run 20261123T170000Z-3f9a, since 17:00"
    lock = host.lock(path, holder)
    assert lock.alive()
    with pytest.raises(LockedError, match=f"is locked by another run: {holder}") as caught:
        host.lock(path, "the second")
    assert caught.value.holder == holder
    lock.release()
    assert not lock.alive()
    host.lock(path, "the third").release()
    lock.release()


REPLACED = {
    "removed": lambda path: path.unlink(),
    "replaced": lambda path: path.with_name("new").rename(path),
    "moved away": lambda path: path.rename(path.with_name("old")),
}


@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED)
def test_a_lock_whose_file_was_removed_is_held_by_one_only(
    host: Host, tmp_path: Path, replace: Callable[[Path], object]
) -> None:
    path = tmp_path / "lock"
    lock = host.lock(str(path), "the first", "R:1")
    (tmp_path / "new").write_bytes(b"")
    replace(path)
    second = host.lock(str(path), "the second", "S:1")
    assert second.alive() and eventually(lambda: not lock.alive())
    lock.release()
    assert second.alive()
    with pytest.raises(LockedError, match="the second"):
        host.lock(str(path), "the third")
    second.release()
    assert host.lock(str(path), "the fourth").before == "S:1"


@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED)
def test_a_run_whose_lock_was_removed_stops_though_nobody_else_has_it(
    host: Host, tmp_path: Path, replace: Callable[[Path], object]
) -> None:
    held = HeldLock(host, f"{tmp_path}/lock", holder_of("R", "nightly", "1"), "the job's state")
    held.take()
    held.hold()
    (tmp_path / "new").write_bytes(b"")
    replace(tmp_path / "lock")
    told: list[str] = []

    def stops() -> bool:
        try:
            held.hold()
        except LockedError as error:
            told.append(str(error))
        return bool(told)

    assert eventually(stops)
    assert "this run lost its lock on the job's state" in told[0] and "was removed or replaced" in told[0]
    held.release()


def test_who_had_a_lock_writes_nothing_more_once_it_is_closed(host: Host, tmp_path: Path) -> None:
    held = HeldLock(host, f"{tmp_path}/lock", holder_of("R", "nightly", "1"), "the job's state")
    held.take()
    held.hold()
    held.close()
    with pytest.raises(LockedError, match=r"^run R has released the job's state: it writes nothing more$"):
        held.hold()
    next_one = lock_when_free(host, f"{tmp_path}/lock")
    with pytest.raises(LockedError, match=r"it writes nothing more$"):
        held.hold()
    assert next_one.alive()
    next_one.release()


def test_many_that_lock_what_is_removed_again_and_again_are_never_two(host: Host, tmp_path: Path) -> None:
    path, inside, seen = tmp_path / "lock", threading.Lock(), []

    def take(number: int) -> None:
        for _ in range(5):
            with contextlib.suppress(LockedError, HostError):
                lock = host.lock(str(path), str(number))
                if lock.alive():
                    seen.append(inside.acquire(blocking=False))
                    inside.release()
                    path.unlink()
                lock.release()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take, range(4)))
    assert seen and all(seen)


def test_a_lock_that_cannot_be_made_is_an_error_and_not_a_conflict(host: Host, tmp_path: Path) -> None:
    with pytest.raises((HostError, CommandError)):
        host.lock(f"{tmp_path}/absent/lock", "us")


def test_a_temporary_directory_is_short_private_and_removed(host: Host) -> None:
    with host.tempdir() as directory:
        assert len(directory) <= 40
        found = host.stat(directory)
        assert found is not None and found.is_dir and found.mode == 0o700
        host.mkdir(f"{directory}/a/b", parents=True)
        host.write(f"{directory}/a/b/c", b"x")
    assert not host.exists(directory)


def test_a_temporary_directory_for_content_is_in_memory_where_there_is_room(host: Host) -> None:
    with host.tempdir(room=MiB) as directory:
        assert directory.startswith("/dev/shm/")
    assert not host.exists(directory)
    with pytest.raises(NoRoomError, match=r"has no .* free for temporary files: /dev/shm has "), host.tempdir(2**62):
        pass


def test_a_temporary_directory_on_disk_is_never_in_memory(host: Host) -> None:
    with host.tempdir(room=MiB, on_disk=True) as directory:
        kind = host.run(("stat", "-f", "-c", "%T", directory)).stdout
        assert kind.strip() not in (b"tmpfs", b"ramfs")
    assert not host.exists(directory)
    lack = r"has no .* free on disk for temporary files: /tmp has .*, /var/tmp has .*; TMPDIR there"
    with pytest.raises(NoRoomError, match=lack), host.tempdir(room=2**62, on_disk=True):
        pass


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE.keys())
def here(request: pytest.FixtureRequest) -> Iterator[str]:
    """A unix socket of this machine that says back what it hears first."""
    with process.temporary_directory() as directory, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/%d${{HOME}}{request.param}")
        listener.listen()
        listener.settimeout(30)
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        yield listener.getsockname()


def answer(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection = listener.accept()[0]
            with connection:
                connection.sendall(connection.recv(64))


def test_what_runs_on_a_host_reaches_a_socket_that_is_lent_to_it(host: Host, here: str) -> None:
    say = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'hello'); "
        "print(s.recv(64).decode())"
    )
    with host.lend([here, here]) as lent:
        for there in lent:
            assert host.local or len(there) <= 42
            assert host.run((sys.executable, "-c", say, there)).stdout == b"hello\n"
            assert host.run(("stat", "-c", "%a", posixpath.dirname(there))).stdout == b"700\n"
    assert host.local or not host.exists(posixpath.dirname(lent[0]))


# Files


def test_a_file_is_written_whole_and_read_back(host: Host, hostile: str) -> None:
    content = bytes(range(256)) * 4097
    host.write(hostile, b"before")
    host.write(hostile, content)
    assert host.read(hostile) == content
    assert host.listdir(str(Path(hostile).parent)) == [Path(hostile).name]
    pieces = list(host.read_chunks(hostile, 100_000))
    assert b"".join(pieces) == content
    assert {len(piece) for piece in pieces[:-1]} == {100_000}


def test_every_verb_takes_a_hostile_name(host: Host, hostile: str, tmp_path: Path) -> None:
    host.mkdir(f"{hostile}/{Path(hostile).name}", parents=True)
    inner = f"{hostile}/{Path(hostile).name}/file"
    host.append(inner, b"one")
    host.append(inner, b" two")
    found = host.stat(inner)
    assert found is not None and (found.size, found.mode, found.is_dir) == (7, 0o600, False)
    host.sync(inner, hostile)
    host.rename(hostile, f"{hostile} renamed")
    assert host.read(inner.replace(hostile, f"{hostile} renamed", 1)) == b"one two"
    host.lock(f"{hostile}.lock", "us").release()
    host.write_sparse(f"{hostile}.sparse", 4096, [(8, b"x")])
    assert host.free_bytes(f"{hostile} renamed") > 0
    host.remove(f"{hostile} renamed", recursive=True)
    for name in (f"{hostile}.lock", f"{hostile}.sparse"):
        host.remove(name)
    assert not list(tmp_path.iterdir())


def test_modes_are_private_unless_asked(host: Host, tmp_path: Path) -> None:
    host.write(f"{tmp_path}/private", b"")
    host.write(f"{tmp_path}/public", b"", mode=0o644)
    host.mkdir(f"{tmp_path}/a/b", mode=0o755, parents=True)
    modes = [host.stat(f"{tmp_path}/{name}") for name in ("private", "public", "a", "a/b")]
    assert [found.mode for found in modes if found] == [0o600, 0o644, 0o700, 0o755]


def test_absence_is_an_answer(host: Host, tmp_path: Path) -> None:
    path = f"{tmp_path}/absent"
    assert host.stat(path) is None and not host.exists(path) and host.listdir(path) == []
    host.remove(path)
    host.remove(path, recursive=True)
    for read in (lambda: host.read(path), lambda: list(host.read_chunks(path))):
        with pytest.raises(FileNotFoundError):
            read()
    with pytest.raises(FileNotFoundError):
        host.rename(path, f"{tmp_path}/new")


def test_what_is_refused_is_one_sentence_that_names_path_and_host(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused = {
        "write into an absent directory": lambda: host.write(f"{tmp_path}/absent/x", b""),
        "mkdir in an absent directory": lambda: host.mkdir(f"{tmp_path}/absent/x"),
        "mkdir over a file": lambda: host.mkdir(f"{tmp_path}/file"),
        "list a file": lambda: host.listdir(f"{tmp_path}/file"),
        "sync nothing": lambda: host.sync(f"{tmp_path}/absent"),
        "remove a directory as a file": lambda: host.remove(str(tmp_path)),
        "free space nowhere": lambda: host.free_bytes(f"{tmp_path}/absent"),
    }
    for what, verb in refused.items():
        with pytest.raises(HostError) as caught:
            verb()
        assert f"{tmp_path}" in str(caught.value) and f" on {host.name}: " in str(caught.value), what


NO_FILES = {
    "a FIFO": os.mkfifo,
    "a socket": lambda path: bound(path),
    "a device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
    "a directory": os.mkdir,
    "a link to a file": lambda path: Path(path).symlink_to(f"{path}.kept"),
    "a link to zeroes without end": lambda path: Path(path).symlink_to("/dev/zero"),
    "a link to nothing": lambda path: Path(path).symlink_to("/nowhere/at/all"),
}


def bound(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)


@pytest.fixture(params=NO_FILES.values(), ids=NO_FILES.keys())
def no_file(request: pytest.FixtureRequest) -> Iterator[str]:
    """A short path, for a socket's sake."""
    with tempfile.TemporaryDirectory() as directory:
        Path(f"{directory}/it's no file.kept").write_bytes(b"kept")
        try:
            request.param(f"{directory}/it's no file")
        except PermissionError:
            pytest.skip("only root can make a device")
        yield f"{directory}/it's no file"


def test_what_is_no_regular_file_is_neither_read_nor_written_to_nor_locked(host: Host, no_file: str) -> None:
    for what, verb in {
        "read": lambda: host.read(no_file),
        "read in pieces": lambda: list(host.read_chunks(no_file)),
        "append": lambda: host.append(no_file, b"x"),
        "lock": lambda: host.lock(no_file, "us"),
    }.items():
        with pytest.raises(NotAFileError) as caught:
            verb()
        words = f"{no_file} on {host.name} is {caught.value.kind}, not a regular file"
        assert words in str(caught.value) and not caught.value.transient, what
    assert Path(f"{no_file}.kept").read_bytes() == b"kept"


def test_a_file_in_a_linked_directory_is_read(host: Host, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    host.append(f"{tmp_path}/link/file", b"x")
    host.lock(f"{tmp_path}/link/lock", "us").release()
    assert host.read(f"{tmp_path}/link/file") == b"x"


def test_a_file_is_read_up_to_the_size_that_it_may_have(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    with (tmp_path / "endless").open("wb") as sparse:
        sparse.truncate(1 << 40)
    assert host.read(f"{tmp_path}/file", limit=5) == b"12345"
    assert list(host.read_chunks(f"{tmp_path}/file", limit=5)) == [b"12345"]
    for path, limit in ((f"{tmp_path}/file", 4), (f"{tmp_path}/endless", LARGEST_RECORD)):
        for read in (lambda: host.read(path, limit=limit), lambda: list(host.read_chunks(path, limit=limit))):  # noqa: B023
            with pytest.raises(TooLargeError, match=f"{path} on {host.name} has more than {limit} bytes"):
                read()


def test_several_directories_are_made_at_once_and_only_the_first_ones_parents(host: Host, tmp_path: Path) -> None:
    host.mkdir(f"{tmp_path}/a/b", f"{tmp_path}/a/b/c", f"{tmp_path}/a/b/d", parents=True)
    assert host.listdir(f"{tmp_path}/a/b") == ["c", "d"]
    with pytest.raises(HostError, match="No such file"):
        host.mkdir(f"{tmp_path}/a", f"{tmp_path}/absent/x", parents=True)


def test_mkdir_twice_is_fine_and_keeps_the_mode(host: Host, tmp_path: Path) -> None:
    host.mkdir(f"{tmp_path}/a", mode=0o750)
    host.mkdir(f"{tmp_path}/a")
    found = host.stat(f"{tmp_path}/a")
    assert found is not None and found.mode == 0o750


def test_a_sparse_file_has_its_pieces_and_holes_between(host: Host, tmp_path: Path) -> None:
    size = 8 << 20
    pieces = [(0, b"first"), (1 << 20, b"x" * 200_001), (size - 1, b"z")]
    expected = bytearray(size)
    for offset, content in pieces:
        expected[offset : offset + len(content)] = content
    host.write_sparse(f"{tmp_path}/sparse", size, iter(pieces))
    assert host.read(f"{tmp_path}/sparse") == expected
    found = host.stat(f"{tmp_path}/sparse")
    assert found is not None and found.size == size and found.allocated < 1 << 20
    host.write_sparse(f"{tmp_path}/empty", 3 << 30, [])
    found = host.stat(f"{tmp_path}/empty")
    assert found is not None and (found.size, found.allocated) == (3 << 30, 0)


def test_further_files_are_written_behind_a_sparse_one_in_their_order(host: Host, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    files = [("a $'", b"map\n\0"), ("empty", b""), ("marker", b"x" * 200_001)]
    host.write_sparse(f"{tmp_path}/digests", 4096, [(8, b"x")], mode=0o640, then=files)
    assert {name: (tmp_path / name).read_bytes() for name, _ in files} == dict(files)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()} == {0o640}
    with pytest.raises(HostError):
        host.write_sparse(f"{tmp_path}/digests", 8, [(0, b"new")], then=[("b", b"a directory"), ("marker", b"new")])
    assert (tmp_path / "digests").read_bytes() == b"new".ljust(8, b"\0")
    assert (tmp_path / "marker").read_bytes() == files[-1][1], "it came before what it stands for"
    assert eventually(lambda: not [name for name in host.listdir(str(tmp_path)) if name.startswith(".sd-")])


def test_a_write_that_breaks_off_leaves_what_was_there(host: Host, tmp_path: Path) -> None:
    host.write(f"{tmp_path}/digests", b"before")

    def pieces() -> Iterator[tuple[int, bytes]]:
        yield 0, b"x" * 4096
        raise RuntimeError("the source is gone")

    with pytest.raises(RuntimeError, match="the source is gone"):
        host.write_sparse(f"{tmp_path}/digests", 1 << 20, pieces())
    assert host.read(f"{tmp_path}/digests") == b"before"
    assert eventually(lambda: host.listdir(str(tmp_path)) == ["digests"])


def test_a_piece_outside_of_the_file_is_refused(host: Host, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside"):
        host.write_sparse(f"{tmp_path}/x", 10, [(8, b"four")])


@pytest.mark.parametrize("new", ["file", "directory", "empty directory"])
@pytest.mark.parametrize("old", ["file", "directory"])
def test_rename_never_overwrites(host: Host, tmp_path: Path, old: str, new: str) -> None:
    for name, kind in (("old", old), ("new", new)):
        if kind == "file":
            host.write(f"{tmp_path}/{name}", name.encode())
        else:
            host.mkdir(f"{tmp_path}/{name}")
            if kind == "directory":
                host.write(f"{tmp_path}/{name}/{name}", b"")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileExistsError):
        host.rename(f"{tmp_path}/old", f"{tmp_path}/new")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_takes_the_place_of_another_in_one_act_if_told(host: Host, tmp_path: Path) -> None:
    for name in ("old", "new"):
        host.write(f"{tmp_path}/{name}", name.encode())
    host.rename(f"{tmp_path}/old", f"{tmp_path}/new", replace=True)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("new", b"old")]
    host.rename(f"{tmp_path}/new", f"{tmp_path}/other", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    host.mkdir(f"{tmp_path}/directory")
    with pytest.raises(HostError, match="directory"):
        host.rename(f"{tmp_path}/other", f"{tmp_path}/directory", replace=True)
    assert host.read(f"{tmp_path}/other") == b"old"


def test_remove_takes_the_link_and_not_what_it_points_at(host: Host, tmp_path: Path) -> None:
    host.mkdir(f"{tmp_path}/kept")
    host.write(f"{tmp_path}/kept/file", b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    host.mkdir(f"{tmp_path}/doomed")
    (tmp_path / "doomed/link").symlink_to(tmp_path / "kept")
    host.remove(f"{tmp_path}/link/", recursive=True)
    host.remove(f"{tmp_path}/doomed", recursive=True)
    assert host.listdir(str(tmp_path)) == ["kept"]
    assert host.read(f"{tmp_path}/kept/file") == b"precious"


def test_a_full_disk_is_named_and_the_file_stays_as_it_was(host: Host, full: Path) -> None:
    host.append(f"{full}/log", b"first\n")
    host.write(f"{full}/state", b"before")
    for verb in (
        lambda: host.write(f"{full}/state", b"x" * 200_000),
        lambda: host.append(f"{full}/log", b"x" * 200_000),
        lambda: host.write_sparse(f"{full}/state", 1 << 20, [(0, b"x" * 200_000)]),
    ):
        with pytest.raises(NoSpaceError, match=f"no space left on {host.name} for {full}/"):
            verb()
    assert host.read(f"{full}/log") == b"first\n" and host.read(f"{full}/state") == b"before"
    with contextlib.suppress(NoSpaceError):
        # It fits once: a host that needs it twice takes back the half that it wrote.
        host.append(f"{full}/log", b"x" * 40_000)
    assert host.read(f"{full}/log") in (b"first\n", b"first\n" + b"x" * 40_000)
    assert not [name for name in host.listdir(str(full)) if is_temporary(name)]
    assert host.free_bytes(str(full)) < 64 * 1024


def test_many_threads_may_use_one_host(host: Host, tmp_path: Path) -> None:
    def work(number: int) -> bytes:
        host.write(f"{tmp_path}/{number}", str(number).encode())
        child = host.popen(("sleep", "600"))
        try:
            return host.read(f"{tmp_path}/{number}") + host.run(("echo", str(number))).stdout
        finally:
            child.stop()

    with ThreadPoolExecutor(24) as threads:
        assert list(threads.map(work, range(24))) == [f"{number}{number}\n".encode() for number in range(24)]


def test_what_runs_there_dumps_no_core(host: Host) -> None:
    limits = shell("ulimit -Sc; ulimit -Hc")
    assert host.run(limits).stdout == b"0\n0\n"
    child = host.popen(limits)
    try:
        assert eventually(lambda: child.poll() == 0)
        assert child.stderr() == "0\n0\n"
    finally:
        child.stop()


def test_what_a_program_makes_there_is_its_users_alone(host: Host, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        host.run(shell(f"mkdir {tmp_path}/directory; echo >{tmp_path}/file"))
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("directory", "file")]
    assert modes == [0o700, 0o600]


# The network as it is seen from there


def test_a_server_that_listens_can_be_reached_and_one_that_does_not_is_told_with_why(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert host.reach("127.0.0.1", port) == ""
    assert "refused" in (host.reach("127.0.0.1", port) or "")


def test_a_name_that_means_nothing_is_told(host: Host) -> None:
    assert "name" in (host.reach("no-such-server.invalid", 443) or "")


def test_where_nothing_answers_the_wait_ends(host: Host) -> None:
    # A full backlog: what comes more is answered by nobody.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        with contextlib.ExitStack() as waiting:
            for _ in range(4):
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(address)
            assert "nothing answers" in (host.reach(*address, timeout=0.5) or "")


def test_an_sshd_that_connects_nowhere_for_us_cannot_be_asked(tmp_path: Path) -> None:
    server = Sshd(tmp_path / "sshd", {"AllowTcpForwarding": "no"})
    server.start()
    try:
        with contextlib.closing(connect("node", server.spec)) as host:
            assert host.reach("127.0.0.1", server.port) is None
            assert host.run(("true",)).exit_code == 0
    finally:
        server.stop()
