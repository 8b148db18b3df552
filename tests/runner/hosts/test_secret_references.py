import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.base.errors import Interrupted, UsageError
from runner.hosts import secrets
from runner.hosts.secrets import FromEnv, FromExec, FromFile, SecretRef, credential, resolve
from tests.eventually import eventually

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["env", "file", "exec"])
def test_an_empty_secret_is_told_with_where_it_came_from(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text("\n")
    monkeypatch.setenv("EMPTY", "")
    references: dict[str, tuple[SecretRef, str]] = {
        "env": (FromEnv(env="EMPTY"), "the environment variable EMPTY"),
        "file": (FromFile(file=str(tmp_path / "empty")), f"the file {tmp_path}/empty"),
        "exec": (FromExec(exec=("true",)), "the command 'true'"),
    }
    reference, where = references[kind]
    with pytest.raises(UsageError) as refused:
        resolve(reference)
    assert str(refused.value) == f"the secret from {where} is empty"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"hunt\xe4r2\n", "is not UTF-8 text", id="another encoding"),
        pytest.param(b"hunter2\nmore", "has more than one line", id="two lines"),
        pytest.param(b"hunter2\0", "has more than one line", id="a zero byte"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "exec"])
def test_what_is_no_line_of_text_is_refused_and_not_quoted(
    kind: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    reference = FromFile(file=str(path)) if kind == "file" else FromExec(exec=("cat", str(path)))
    with pytest.raises(UsageError) as refused:
        resolve(reference)
    assert str(refused.value).endswith(sentence)
    assert "hunt" not in str(refused.value)


def test_a_secret_may_have_any_letters_of_any_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "J\u00e4ger2")
    assert resolve(FromEnv(env="SECRET")).reveal() == "J\u00e4ger2"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        pytest.param(
            "echo hunter2; echo 'no token: run login' >&2; exit 3",
            "failed with exit code 3: no token: run login",
            id="told",
        ),
        pytest.param(
            "echo hunter2; seq 1000 >&2; exit 1",
            "failed with exit code 1: 995 / 996 / 997 / 998 / 999 / 1000",
            id="its last words",
        ),
        pytest.param(
            "echo hunter2; kill -9 $$",
            "failed with exit code 137 (killed by SIGKILL), and it printed nothing on standard error",
            id="killed",
        ),
        pytest.param(
            "echo hunter2; echo asking the keeper >&2; exec sleep 60",
            "did not end within 3 s: asking the keeper",
            id="hung",
        ),
    ],
)
def test_a_command_that_gives_no_secret_is_told_in_its_own_last_words(
    script: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(secrets, "EXEC_TIMEOUT", 3.0)
    with pytest.raises(UsageError) as refused:
        resolve(FromExec(exec=("sh", "-c", script)))
    assert str(refused.value) == f"the command 'sh' for a secret {sentence}"


def test_a_command_has_all_of_our_environment_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "https://keeper")
    assert resolve(FromExec(exec=("printenv", "VAULT_ADDR"))).reveal() == "https://keeper"
    inherited = resolve(FromExec(exec=("sh", "-c", "env -0 | cut -z -d= -f1 | tr '\\0\\n' ' '"))).reveal()
    assert not [name for name in inherited.split() if name.startswith("SENDENSE_WHOLE")]


def test_a_command_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match=r"^the command '/no/such' for a secret failed: No such file or directory$"):
        resolve(FromExec(exec=("/no/such",)))


SLEEPING = 'echo $$ >"$0".new; mv "$0".new "$0"; sleep 600; echo secret'


def test_a_stop_ends_a_command_and_what_it_started(tmp_path: Path) -> None:
    up = tmp_path / "up"
    stop = threading.Event()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(resolve, FromExec(exec=("sh", "-c", SLEEPING, str(up))), stop)
        try:
            assert eventually(up.exists)
        finally:
            stop.set()
        with pytest.raises(Interrupted):
            asked.result(30)
    assert eventually(lambda: not group_lives(int(up.read_text())))


def test_a_command_ends_when_we_are_killed(tmp_path: Path) -> None:
    up = tmp_path / "up"
    code = "import sys; from runner.hosts.secrets import *; resolve(FromExec(exec=('sh', '-c', *sys.argv[1:])))"
    with subprocess.Popen([sys.executable, "-c", code, SLEEPING, str(up)]) as asking:
        try:
            assert eventually(up.exists)
        finally:
            asking.send_signal(signal.SIGKILL)
    assert eventually(lambda: not group_lives(int(up.read_text())))


def group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_file_that_cannot_be_read_is_taken_from_what_the_service_manager_handed_over(tmp_path, monkeypatch):
    file = tmp_path / "root-only" / "password"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / credential(str(file))).write_text("handed over\n")
    assert resolve(FromFile(file=str(file))).reveal() == "handed over"
    file.parent.mkdir()
    file.write_text("its own\n")
    assert resolve(FromFile(file=str(file))).reveal() == "its own"
