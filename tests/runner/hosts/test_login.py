"""What an account prints at its login, and what it has for a shell: neither is an answer of ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.app.inspection import diagnose
from runner.app.options import Options
from runner.base.errors import HostError, LockedError
from runner.hosts.regular_file import NotAFileError
from runner.hosts.ssh.host import SshHost
from runner.hosts.ssh.preamble import LONGEST, NoisyLoginError, NoShellError
from runner.hosts.stray_processes import look, tidy
from runner.hosts.supervisor import mark_of
from steps.lab.sshd import Sshd
from tests.eventually import eventually

pytestmark = pytest.mark.slow

Enter = Callable[..., SshHost]

WRAPPER = """\
#!/bin/sh
# a ForceCommand
{noise}
{then}
"""
ONWARDS = 'exec /bin/bash -c "$SSH_ORIGINAL_COMMAND"'


@pytest.fixture
def enter(tmp_path: Path) -> Iterator[Enter]:
    """A host behind an sshd with these options; `warnings` is what it told."""
    with contextlib.ExitStack() as closing:

        def enter(warnings: list[str] | None = None, **options: str) -> SshHost:
            server = Sshd(tmp_path / "sshd", options)
            closing.callback(server.stop)
            server.start()
            told = [] if warnings is None else warnings
            return closing.enter_context(contextlib.closing(SshHost("hub", server.spec, told.append)))

        yield enter


@pytest.fixture
def forced(enter: Enter, tmp_path: Path) -> Enter:
    def forced(noise: str, then: str = ONWARDS, warnings: list[str] | None = None) -> SshHost:
        script = tmp_path / "forced"
        script.write_text(WRAPPER.format(noise=noise, then=then))
        script.chmod(0o755)
        return enter(warnings, ForceCommand=str(script))

    return forced


def use(host: SshHost, place: Path) -> None:
    """Everything that is answered from there."""
    done = host.run(("sh", "-c", "printf 'a\\0b'; echo c >&2; exit 3"), ok=None)
    assert (done.stdout, done.stderr, done.exit_code) == (b"a\0b", "c\n", 3)
    content = os.urandom(3_000_000)
    assert host.run(("cat",), stdin=content).stdout == content
    host.write_sparse(f"{place}/sparse", 1 << 20, [(4096, b"x" * 300_000)], then=[("file", content[:70_000])])
    assert host.read(f"{place}/file") == content[:70_000]
    host.write(f"{place}/file", content)
    host.append(f"{place}/file", b"more")
    assert host.read(f"{place}/file") == content + b"more"
    assert b"".join(host.read_chunks(f"{place}/file")) == content + b"more"
    assert host.listdir(str(place)) == ["file", "sparse"]
    child = host.popen(("sh", "-c", "echo ready; exec sleep 600"))
    assert eventually(lambda: child.stderr() == "ready\n")
    child.stop()
    assert child.poll() == 143
    lock = host.lock(f"{place}/lock", "us", "R:1")
    with pytest.raises(LockedError, match="locked by another run: us"):
        host.lock(f"{place}/lock", "them")
    assert lock.alive()
    lock.release()
    with host.tempdir() as directory, socket.socket(socket.AF_UNIX) as listener:
        assert host.listdir(directory) == [".owner"]
        listener.bind(f"{directory}/socket")
        listener.listen()
        threading.Thread(target=hang_up, args=(listener,), daemon=True).start()
        with host.forward([f"{directory}/socket"]) as forwards, socket.socket(socket.AF_UNIX) as near:
            near.settimeout(10)
            near.connect(forwards.sockets[0])
            assert near.recv(10) == b"hello"


def hang_up(listener: socket.socket) -> None:
    with listener.accept()[0] as connection:
        connection.sendall(b"hello")


NOISE = {
    "standard output": "echo hello",
    "standard error": "echo 'stdin: is not a tty' >&2",
    "both": "echo hello; echo x >&2",
    "no end of line": "printf hello; printf x >&2",
    "the command itself": 'echo "$SSH_ORIGINAL_COMMAND"; echo "$SSH_ORIGINAL_COMMAND" >&2',
    "many zeroes": "head -c 30000 /dev/zero; head -c 30000 /dev/zero >&2",
    "words of ssh": "echo 'cat: /root/x: Permission denied'; echo 'channel 2: open failed: x: y' >&2",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_what_a_login_prints_is_no_answer_and_is_told_once(forced: Enter, noise: str, tmp_path: Path) -> None:
    warnings: list[str] = []
    (tmp_path / "place").mkdir()
    use(forced(noise, warnings=warnings), tmp_path / "place")
    assert len(warnings) == 1


def test_a_bashrc_is_told_with_its_first_line(enter: Enter, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.bashrc").write_text("echo 'Welcome, \x1b[31mroot'; echo 'no tty' >&2\n")
    (tmp_path / "place").mkdir()
    warnings: list[str] = []
    use(enter(warnings, SetEnv=f'SHLVL=0 "HOME={tmp_path}/home"'), tmp_path / "place")
    (warning,) = warnings
    assert 'on hub prints "' in warning and ("Welcome, \\x1b[31mroot" in warning or "no tty" in warning)


@pytest.mark.parametrize("stream", ["", ">&2"], ids=["output", "error"])
@pytest.mark.parametrize(
    "noise", ["yes", "head -c 5000000 /dev/zero | tr '\\0' x"], ids=["without end", "megabytes in a line"]
)
def test_a_login_that_prints_megabytes_is_a_sentence(forced: Enter, noise: str, stream: str, tmp_path: Path) -> None:
    host = forced(f"{noise} {stream}")
    for verb in (
        lambda: host.run(("true",)),
        lambda: host.write(f"{tmp_path}/file", b"x" * 5_000_000),
        lambda: host.lock(f"{tmp_path}/lock", "us"),
        lambda: list(host.read_chunks("/etc/passwd")),
    ):
        with pytest.raises(NoisyLoginError, match=f"on hub prints more than {LONGEST // 1024} KiB .* silent") as caught:
            verb()
        assert not caught.value.transient


def test_a_login_that_prints_a_line_now_and_then_and_starts_nothing_is_told(
    forced: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.hosts.ssh.session.SHELL_TIMEOUT", 1.5)
    monkeypatch.setattr("runner.hosts.ssh.session._END_TIMEOUT", 0.1)
    host = forced("while sleep 0.1; do echo tick; done")
    with pytest.raises(NoShellError, match=r'no POSIX shell .* does not end and printed "tick"') as caught:
        host.run(("true",))
    assert caught.value.transient


SHELLS = {
    "nologin": ("exec /usr/sbin/nologin", 1, "This account is currently not available."),
    "true": ("exec /bin/true", 0, ""),
    "greeting": ("echo no shells here; exit 7", 7, "no shells here"),
    "a shell of its own": ("echo fatal: what is this >&2; exit 128", 128, "fatal: what is this"),
}


@pytest.mark.parametrize(("then", "code", "words"), SHELLS.values(), ids=SHELLS)
def test_an_account_without_a_shell_is_one_sentence(
    forced: Enter, then: str, code: int, words: str, tmp_path: Path
) -> None:
    host = forced("", then)
    for verb in (
        lambda: host.run(("true",)),
        lambda: host.exists("/"),
        lambda: host.lock(f"{tmp_path}/lock", "us"),
        lambda: host.popen(("true",)),
        lambda: list(host.read_chunks("/etc/passwd")),
    ):
        with pytest.raises(NoShellError, match="hub starts no POSIX shell for") as caught:
            verb()
        assert not caught.value.transient and "chsh -s /bin/sh" in str(caught.value)
        printed = f'printed "{words}"' if words else "printed nothing"
        assert f"ended with exit code {code} and {printed};" in str(caught.value)


def test_an_account_for_sftp_only_is_one_sentence(enter: Enter) -> None:
    with pytest.raises(NoShellError, match="This service allows sftp connections only") as caught:
        enter(ForceCommand="internal-sftp").run(("true",))
    assert not caught.value.transient


def test_what_waits_for_words_of_its_own_is_no_shell(forced: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.hosts.ssh.session.SHELL_TIMEOUT", 0.5)
    with pytest.raises(NoShellError, match="ended with exit code 0 and printed nothing") as caught:
        forced("", "exec cat").run(("true",))
    assert not caught.value.transient


def test_a_shell_that_is_killed_as_it_starts_may_start_another_time(forced: Enter) -> None:
    with pytest.raises(HostError, match="ssh session to hub broke") as caught:
        forced("", "kill -KILL $$").run(("true",))
    assert caught.value.transient


@pytest.mark.parametrize("shell", ["dash", "csh", "tcsh", "fish", "zsh"])
def test_any_login_shell_starts_ours(forced: Enter, shell: str, tmp_path: Path) -> None:
    if (path := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not installed")
    place = tmp_path / "it's a $place! \\ \n\xff"
    place.mkdir()
    use(forced("", f'exec {path} -c "$SSH_ORIGINAL_COMMAND"'), place)


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_whatever_is_called_sh_there_runs_our_scripts(forced: Enter, shell: str, tmp_path: Path) -> None:
    if (path := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to(path)
    place = tmp_path / "place"
    place.mkdir()
    host = forced(f'PATH="{tmp_path}/bin:$PATH"')
    assert host.run(("sh", "-c", "exe=$(readlink /proc/$$/exe); echo $exe")).stdout.decode().strip() == str(
        Path(path).resolve()
    )
    use(host, place)
    os.mkfifo(place / "fifo")
    with pytest.raises(NotAFileError):
        host.append(f"{place}/fifo", b"more")
    with pytest.raises(FileExistsError):
        host.rename(f"{place}/file", f"{place}/sparse")
    assert host.listdir(str(place)) == ["fifo", "file", "lock", "sparse"]
    host.remove(f"{place}/sparse", str(place / "fifo"))
    unmarked = host.popen(("sleep", "600"))
    host.mark = mark_of("R", "1")
    marked = host.popen(("sleep", "600"))
    host.mark = ""
    assert {one.command[-2:] for one in look(host).processes if one.run == "R"} == {("sleep", "600")}
    tidy(host, "R", "2")
    assert eventually(lambda: marked.poll() is not None)
    assert unmarked.poll() is None
    unmarked.stop()


def test_init_makes_a_repository_behind_a_noisy_login_and_the_doctor_tells_of_it(forced: Enter, tmp_path: Path) -> None:
    spec = forced("echo hello; echo x >&2")._spec.model_dump_json(by_alias=True, exclude_none=True)
    (tmp_path / "job.yaml").write_text(
        f"version: 1\nname: tiny\nhosts: {{hub: {spec}}}\nrepositories: {{main: {{host: hub, path: {tmp_path}/repository}}}}\n"
        "state: {in: repositories.main}\nsteps: [{id: cleanup, uses: cleanup}]\n"
    )

    argv = [sys.executable, "-m", "runner.cli", "init", str(tmp_path / "job.yaml")]
    made = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0 and "created an empty repository" in made.stdout
    assert made.stderr.startswith("! the login of ") and made.stderr.count("the login of ") == 1
    found = diagnose(tmp_path / "job.yaml", Options(state=tmp_path / "state"))
    assert [one.state for one in found.observations if one.looked_at == "what its login prints"] == ["noted"]
