"""The leash, with the shells that a machine may call sh."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.base.errors import CommandError
from runner.base.units import KiB
from runner.hosts import process
from runner.hosts.script import load
from runner.hosts.supervisor import LeashedChild, NoRoomError, kept_directory, leash
from tests.eventually import children_of_ours, eventually, is_gone, open_descriptors

pytestmark = pytest.mark.slow


@pytest.fixture(params=["dash", "bash", "busybox"])
def sh(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """`sh` is that shell."""
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to(found)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    gc.collect()
    descriptors, children = open_descriptors(), children_of_ours()
    yield
    gc.collect()
    assert eventually(lambda: children_of_ours() <= children)
    assert open_descriptors() <= descriptors


def test_output_input_and_exit_code_come_through(sh: str) -> None:
    assert Path(shutil.which("sh") or "").readlink() == Path(sh)
    done = process.run(("sh", "-c", "cat; echo err >&2; exit 7"), stdin=b"in\0", ok=None)
    assert (done.exit_code, done.stdout, done.stderr) == (7, b"in\0", "err\n")


def test_a_process_is_stopped_by_term_and_then_by_kill(sh: str, tmp_path: Path) -> None:
    polite = process.start(("sleep", "600"))
    polite.stop()
    assert polite.poll() == 143
    stubborn = process.start(("sh", "-c", f"trap '' TERM; touch {tmp_path}/ready; while :; do sleep 0.05; done"))
    assert eventually((tmp_path / "ready").exists)
    stubborn.stop(timeout=0.3)
    assert stubborn.poll() == 137


def test_a_process_that_forgot_the_first_term_gets_another(sh: str, tmp_path: Path) -> None:
    """As a qemu-nbd does that is about to serve."""
    forgets = f"""trap "trap 'exit 5' TERM" TERM; touch {tmp_path}/ready; while :; do sleep 0.05; done"""
    forgetful = process.start(("sh", "-c", forgets))
    assert eventually((tmp_path / "ready").exists)
    forgetful.stop(timeout=2.0)
    assert forgetful.poll() == 5


def test_the_end_of_the_leash_ends_the_process_group(sh: str, tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! >{tmp_path}/child; exec sleep 600"
    with subprocess.Popen(leash("here", ("sh", "-c", script)), stdin=subprocess.PIPE) as wrapper:
        assert eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().endswith("\n"))
        assert wrapper.stdin is not None
        wrapper.stdin.close()
        assert wrapper.wait(10) == 143
    assert eventually(lambda: is_gone(int((tmp_path / "child").read_text())))


def test_a_leash_that_ends_at_once_lets_nothing_escape(sh: str) -> None:
    for _ in range(10):
        wrapper = subprocess.run(leash("here", ("sleep", "600")), stdin=subprocess.DEVNULL, timeout=10)
        assert wrapper.returncode in (143, 137)


def test_a_program_never_starts_on_half_of_its_input(sh: str, tmp_path: Path) -> None:
    argv = leash("here", ("touch", f"{tmp_path}/started"), size=10)
    wrapper = subprocess.run(argv, input=b"half", timeout=10)
    assert wrapper.returncode == 126 and not (tmp_path / "started").exists()


def test_a_process_is_not_in_our_session() -> None:
    child = process.start(("sh", "-c", "cut -d' ' -f6 /proc/$$/stat"))
    assert eventually(lambda: child.poll() == 0)
    assert int(child.stderr()) not in (os.getsid(0), os.getpgid(0))
    child.stop()


def test_a_missing_program_names_its_debian_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("sh", "mktemp", "printf"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    if shutil.which("flock", path="/usr/local/sbin:/usr/sbin:/sbin"):
        pytest.skip("flock is in a directory that is always searched")
    for start in (process.run, process.start):
        with pytest.raises(CommandError, match="flock is not installed on local; on Debian: apt install util-linux"):
            start(("flock", "--version"))


def test_programs_of_the_administrator_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert process.run(("sysctl", "--version"), ok=None).exit_code == 0 or shutil.which("sysctl") is None


@pytest.fixture
def after_mounting() -> Callable[[str], Callable[[Sequence[str]], process.PipeWire]]:
    """Starts command lines after a script that may mount what it likes: nobody else sees it."""
    apart = ("unshare", "--map-root-user", "--mount")
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here, so no other file system can be mounted")
    return lambda script: lambda argv: process.PipeWire((*apart, "sh", "-c", f'{script}; exec "$@"', "sh", *argv))


@pytest.mark.parametrize("room", ["nr_inodes=2", "size=4k"], ids=["for-no-directory", "for-no-name-in-it"])
def test_a_temporary_directory_on_a_full_tmp_is_an_error_with_words(
    room: str, after_mounting: Callable[[str], Callable[[Sequence[str]], process.PipeWire]]
) -> None:
    start = after_mounting(f"mount -t tmpfs -o {room} tmpfs /tmp && head -c 4k </dev/zero >/tmp/ballast")
    full = kept_directory("local", start)
    with pytest.raises(CommandError, match=r"on local failed with exit code 1: .*(is it full|No space left)"), full:
        pass


def test_a_temporary_directory_on_disk_is_in_var_tmp_where_tmp_is_in_memory(
    after_mounting: Callable[[str], Callable[[Sequence[str]], process.PipeWire]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = after_mounting("mount -t tmpfs tmpfs /tmp")
    with kept_directory("local", start, room=KiB, on_disk=True) as directory:
        assert directory.startswith("/var/tmp/sd-")
    assert not Path(directory).exists()
    monkeypatch.setenv("TMPDIR", "/var/tmp/absent")
    start = after_mounting("mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /var/tmp")
    lack = (
        "local has no 1.0 KiB free on disk for temporary files: /var/tmp/absent is no directory that we may write to, "
        "/tmp is in memory, /var/tmp is in memory; TMPDIR there can name a place with more"
    )
    with pytest.raises(NoRoomError) as caught, kept_directory("local", start, room=KiB, on_disk=True):
        pass
    assert caught.value.message == lack


def test_a_temporary_directory_is_gone_even_if_we_fail() -> None:
    with pytest.raises(RuntimeError), process.temporary_directory() as directory:
        (Path(directory) / "file").touch()
        raise RuntimeError
    assert not Path(directory).exists()


def test_what_was_ended_from_without_may_heal_and_what_failed_does_not(sh: str) -> None:
    def broken(argv: Sequence[str]) -> process.PipeWire:
        return process.PipeWire(("sh", "-c", "echo the ssh session to hub broke; exit 255"))

    calls = {
        True: (
            lambda: LeashedChild(("qemu-nbd", "--persistent"), "hub", broken),
            lambda: process.run(("sh", "-c", "kill -KILL $$")),
        ),
        False: (lambda: process.run(("false",)),),
    }
    for transient, starts in calls.items():
        for start in starts:
            with pytest.raises(CommandError) as caught:
                start()
            assert caught.value.transient is transient, caught.value


def test_who_keeps_a_temporary_directory_is_looked_at_without_a_program(tmp_path: Path) -> None:
    """A run looks at all of them at its start."""
    digests = tmp_path / "sha256sum"
    digests.write_text(f"#!/bin/sh\necho >>{tmp_path}/asked\nexec /usr/bin/sha256sum\n")
    digests.chmod(0o700)
    kept = 8
    with ExitStack() as stack:
        directories = {stack.enter_context(process.temporary_directory()) for _ in range(kept)}
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        argv = load("runner/hosts/scripts/find-strays.sh").argv()
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    asked = tmp_path / "asked"
    marked = len([line for line in lines if line[0] == "process"])
    assert not directories & {line[2] for line in lines}
    assert (asked.read_text().count("\n") if asked.exists() else 0) < marked + kept
