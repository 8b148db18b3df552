"""The demo, by the wheel alone in a fresh environment outside the checkout: nothing is taken from the checkout."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from steps.lab.lab import Lab
from tests.eventually import eventually

ROOT = Path(__file__).parents[2]
SENDENSE = Path(sys.executable).with_name("sendense")
DEMO_TIMEOUT = 170
INSTALL_TIMEOUT = 240
TORN = re.compile(r"-\d{6}(-delta)?\.vmdk|\.partial|\.sd-tmp-|\.(copied|verified)\.json")
"""In the name of what a run leaves when it does not end well."""


def environment(scratch: Path) -> Mapping[str, str]:
    """What a program leaves in the temporary directory or at home is left in `scratch`."""
    for name in ("tmp", "state"):
        (scratch / name).mkdir()
    return {**os.environ, "TMPDIR": str(scratch / "tmp"), "XDG_STATE_HOME": str(scratch / "state"), "NO_COLOR": "1"}


def processes_with(*words: str) -> list[str]:
    """The command lines that contain one of `words`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(word in command for word in words):
                found.append(command)
    return found


def qemu_img(*arguments: str | Path) -> str:
    return subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, timeout=60, check=False).stdout


@dataclass(frozen=True)
class Done:
    """A demo that ran to its end, with --keep; `scratch` holds all that it could write to."""

    scratch: Path
    output: str
    sockets: tuple[str, ...]
    """The temporary directories in which it had sockets, on either host."""
    left: tuple[str, ...]
    """Processes that were there once it had ended."""

    @property
    def directory(self) -> Path:
        return self.scratch / "kept"

    @property
    def point(self) -> Path:
        (manifest,) = self.directory.glob("store/repository/*/*/manifest.json")
        return manifest.parent

    @property
    def manifest(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.point / "manifest.json").read_text())
        return content


def call(*argv: str | Path, timeout: float = INSTALL_TIMEOUT, **more: Any) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=timeout, check=False, **more)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own with the wheel and what that says it needs; this one's pip serves both."""
    place = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", place, ROOT, cwd=place)
    (wheel,) = place.glob("*.whl")
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    call(base, "-m", "venv", "--without-pip", "--system-site-packages", place / "venv", cwd=place)
    call(*pip, "--python", place / "venv" / "bin" / "python", "install", "--no-compile", wheel, cwd=place)
    return place / "venv"


def bare(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what could lead back into the checkout."""
    return {name: value for name, value in environment.items() if not name.startswith("PYTHON")}


@pytest.fixture(scope="module")
def demo(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    scratch = tmp_path_factory.mktemp("demo")
    argv = [installed / "bin" / "sendense", "demo", "--keep", scratch / "kept"]
    output = call(*argv, env=bare(environment(scratch)), cwd=scratch, timeout=DEMO_TIMEOUT)
    (events,) = (scratch / "kept" / "state").rglob("events.jsonl")
    control = Path(json.loads((scratch / "kept" / "lab.json").read_text())["control"])
    sockets = {*re.findall(r"/tmp/sd-\w{8}", events.read_text()), str(control.parent)}
    return Done(scratch, output, tuple(sockets), tuple(processes_with(str(scratch), *sockets)))


@pytest.fixture(scope="module")
def lab(demo: Done) -> Iterator[Lab]:
    """The demo's lab, started again."""
    lab = Lab.start(demo.directory, leashed=True)
    yield lab
    lab.stop()


def test_what_ran_came_from_the_wheel(installed: Path) -> None:
    where = call(
        installed / "bin" / "python",
        "-c",
        "import runner, steps; print(runner.__file__, steps.__file__)",
        cwd=installed,
    )
    assert all(Path(path).is_relative_to(installed) for path in where.split())


def test_the_help_pages_travel_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    shown = call(installed / "bin" / "sendense", "help", "restore", cwd=tmp_path, env=bare(os.environ))
    assert shown == (ROOT / "templates" / "help" / "restore.md").read_text()


def test_each_published_image_equals_its_source(demo: Done, lab: Lab) -> None:
    disks = lab.record.vm("pgtest1").disks
    assert [disk.key for disk in disks] == [2000, 2001] and disks[0].size >= 64 << 20
    for disk in disks:
        image = demo.point / f"disk-{disk.key}.qcow2"
        assert qemu_img("compare", "-f", "qcow2", "-F", "raw", image, disk.file) == "Images are identical.\n"
        assert "backing-filename" not in json.loads(qemu_img("info", "--output=json", "-f", "qcow2", image))


def test_the_command_that_it_shows_restores_without_us(demo: Done, lab: Lab, tmp_path: Path) -> None:
    commands = re.findall(r"^ *(qemu-img convert .* /restore/disk-(\d+)\.raw)$", demo.output, re.MULTILINE)
    assert [key for _, key in commands] == ["2000", "2001"]
    for command, key in commands:
        argv = shlex.split(command.replace("/restore/", f"{tmp_path}/"))
        subprocess.run(argv, check=True, timeout=60, capture_output=True)
        source = lab.record.vm("pgtest1").disk(int(key)).file
        assert (tmp_path / f"disk-{key}.raw").read_bytes() == Path(source).read_bytes()


def test_the_point_is_listed(demo: Done, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["points", lab.record.vm("pgtest1").job, "--json"])
    (repository,) = json.loads(capsys.readouterr().out)["repositories"]
    (point,) = repository["points"]
    assert Path(point["path"]) == demo.point
    assert (point["vm"], point["level"], point["last_good"]) == ("pgtest1", "full", True)
    assert repository["skipped"] == repository["unfinished"] == []


def test_the_manifest_names_every_tool_that_had_a_part(demo: Done) -> None:
    tools = demo.manifest["tools"]
    hub, here = "store", "local"
    expected = {"sendense", "python", "libnbd", "ssh", "vCenter", f"qemu-img on {hub}", f"nbdkit on {here}"}
    assert expected <= set(tools)
    assert all(re.search(r"\d+\.\d+", version) for version in tools.values())
    assert "API" in tools["vCenter"]


def test_it_ends_with_point_table_proof_and_command(demo: Done) -> None:
    assert str(demo.point) in demo.output
    for disk in demo.manifest["disks"]:
        assert f"disk {disk['key']}: {disk['image']} is equal to" in demo.output
        assert re.search(rf"^ *{disk['key']} +full .* every block$", demo.output, re.MULTILINE)
    assert re.search(
        r"^✓ Done: pgtest1, full, .*, every block verified, .*, point pgtest1/", demo.output.splitlines()[-1]
    )


def test_no_process_socket_snapshot_or_temporary_file_is_left(demo: Done) -> None:
    assert demo.left == ()
    assert len(demo.sockets) > 4 and not [path for path in demo.sockets if Path(path).exists()]
    assert list((demo.scratch / "tmp").iterdir()) == list((demo.scratch / "state").iterdir()) == []
    files = list(demo.directory.rglob("*"))
    assert [path for path in files if TORN.search(path.name) or stat.S_ISSOCK(path.lstat().st_mode)] == []


def test_the_password_is_in_no_file_but_its_own(demo: Done) -> None:
    password = (demo.directory / "password").read_bytes().strip()
    files = [path for path in demo.directory.rglob("*") if path.is_file() and path.suffix not in (".vmdk", ".qcow2")]
    assert [path.name for path in files if password in path.read_bytes()] == ["password"]


def test_a_directory_with_something_in_it_is_refused(demo: Done, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["demo", "--keep", str(demo.directory)])
    assert "give --keep a new directory" in capsys.readouterr().err


def test_an_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([SENDENSE, "demo"], env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        shown = []
        for line in demo.stderr:
            shown.append(line)
            if "source[" in line and "open" in line:
                demo.send_signal(signal.SIGINT)
                break
        shown += demo.stderr.readlines()
        assert demo.wait(60) == 130, "".join(shown)
    assert eventually(lambda: processes_with(str(tmp_path)) == [], 20)
    assert list((tmp_path / "tmp").iterdir()) == list((tmp_path / "state").iterdir()) == []
