from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.app.options import Options, read_job
from runner.base.errors import SendenseError, UsageError
from runner.cli import main
from runner.hosts.connect import connect
from steps.lab.control import NotAnswering
from steps.lab.lab import Lab, content_of, seeded
from steps.repository import marker
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.section import VCenter
from tests.eventually import eventually, is_gone

pytestmark = pytest.mark.slow

PVSCSI = {"key": 1000, "kind": "pvscsi"}
SIZE = 1 << 20
SENDENSE = Path(sys.executable).with_name("sendense")


def disk(key: int = 2000, unit: int = 0, **more: Any) -> dict[str, Any]:
    return {"key": key, "controller": 1000, "unit": unit, "size": SIZE, "content": {"pattern": key}, **more}


def machine(name: str, *disks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "datastore": "ds1", "controllers": [PVSCSI], "disks": list(disks) or [disk()], **more}


INVENTORY = {
    "datacenters": [
        {
            "name": "DC1",
            "datastores": [{"name": "ds1"}],
            "vms": [
                machine("db"),
                machine("DB", disk(2000), disk(2007, 1, mode="independent_persistent"), disk(2003, 2, physical=True)),
                machine("twin", folder="east"),
                machine("twin", folder="west/50% off"),
                machine("a/b: c"),
                machine("x%2fy"),
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inventory") / "inventory.yaml"
    path.write_text(yaml.safe_dump(INVENTORY))
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, inventory: Path) -> Iterator[Lab]:
    lab = Lab.start(tmp_path_factory.mktemp("lab"), inventory, leashed=True)
    yield lab
    lab.stop()


def traces(directory: Path) -> list[str]:
    """Of processes and sockets that have to do with the lab in `directory`."""
    found = [str(path) for path in directory.rglob("*") if path.is_socket()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if os.fsencode(directory) in command:
                found.append(command.replace(b"\0", b" ").decode()[-200:])
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def client_of(lab: Lab) -> Client:
    at = lab.record.vcenter
    return Client(
        "lab",
        VCenter.from_json_value(
            {
                "server": at.server,
                "port": at.port,
                "username": at.username,
                "password": {"file": at.password_file},
                "tls": {"ca": at.ca},
            }
        ),
    )


# what it writes


def test_every_vm_has_a_job_that_is_ready_to_run(lab: Lab) -> None:
    assert [Path(vm.job).name for vm in lab.record.vms] == [
        "db.yaml",
        "DB-2.yaml",
        "twin.yaml",
        "twin-2.yaml",
        "a-b-c.yaml",
        "x-2fy.yaml",
    ]
    vms = [read_job(Path(vm.job), Options()).vars["vm"] for vm in lab.record.vms]
    assert vms == ["db", "DB", "DC1/vm/east/twin", "DC1/vm/west/50%25 off/twin", "a/b: c", "x/y"]


def test_disks_that_a_snapshot_does_not_cover_are_left_out_by_name(lab: Lab) -> None:
    jobs = {vm.path: read_job(Path(vm.job), Options()) for vm in lab.record.vms}
    assert jobs["DC1/vm/DB"].vars["skip_uncovered"] == [2007, 2003]
    assert jobs["DC1/vm/db"].vars["skip_uncovered"] is False


def test_the_record_names_what_is_there(lab: Lab) -> None:
    record = json.loads((lab.directory / "lab.json").read_text())
    assert record["vcenter"]["ca"] and Path(record["vcenter"]["ca"]).exists()
    assert Path(record["vcenter"]["password_file"]).stat().st_mode & 0o777 == 0o600
    for vm in record["vms"]:
        for one in vm["disks"]:
            assert Path(one["file"]).stat().st_size == one["size"] == SIZE
            assert Path(one["file"]).is_relative_to(lab.directory)


def test_the_hub_has_a_repository(lab: Lab) -> None:
    hub = connect("hub", lab.record.store)
    try:
        assert marker.require(hub, lab.record.repository).version == 1
    finally:
        hub.close()


# what one does to it


def test_a_guest_write_is_in_the_flat_file(lab: Lab) -> None:
    file = Path(lab.record.vm("db").disk(2000).file)
    before = file.read_bytes()
    assert lab.write("db", 2000, 4096, seeded(7, 1000)) == 1000
    assert file.read_bytes() == before[:4096] + random.Random(7).randbytes(1000) + before[5096:]


def test_a_file_can_be_written_in_part(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(b"abcdefgh" * 1000)
    assert lab.write("db", 2000, 0, content_of(tmp_path / "content", 20)) == 20
    assert Path(lab.record.vm("db").disk(2000).file).read_bytes()[:20] == b"abcdefghabcdefghabcd"
    assert sum(map(len, content_of(Path("/dev/zero"), 3 << 20))) == 3 << 20


@pytest.mark.parametrize(
    ("vm", "key", "offset", "sentence"),
    [
        pytest.param("nobody", 2000, 0, "the lab has no VM 'nobody'; it has db, DB", id="vm"),
        pytest.param("twin", 2000, 0, "2 VMs called 'twin'; write one of DC1/vm/east/twin", id="ambiguous"),
        pytest.param("db", 2001, 0, "the VM db has no disk 2001; it has 2000", id="disk"),
        pytest.param("db", 2000, SIZE - 10, f"ends at byte {SIZE}", id="end"),
        pytest.param("db", 2000, -1, "would end behind", id="negative"),
    ],
)
def test_a_write_that_cannot_be_is_refused(lab: Lab, vm: str, key: int, offset: int, sentence: str) -> None:
    before = Path(lab.record.vm("db").disk(2000).file).read_bytes()
    with pytest.raises(UsageError, match=sentence):
        lab.write(vm, key, offset, seeded(1, 512))
    assert Path(lab.record.vm("db").disk(2000).file).read_bytes() == before


def test_a_fault_hits_as_often_as_it_was_armed(lab: Lab) -> None:
    lab.fault("invalid-login", 2)
    for left in ({"invalid-login": 1}, {}):
        with pytest.raises(VSphereError, match="wrong user name or password"), client_of(lab) as client:
            client.call("looking", lambda session: session.content.about)
        assert lab.status()["armed"] == left
    with client_of(lab) as client:
        client.call("looking", lambda session: session.content.about)


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        pytest.param("flood", {}, "there is no fault 'flood'; there are invalid-login", id="name"),
        pytest.param(
            "slow-task", {"minutes": "1"}, "has no parameter 'minutes'; it has method, seconds", id="parameter"
        ),
        pytest.param("slow-task", {"seconds": "long"}, "cannot be 'long'", id="value"),
    ],
)
def test_a_fault_that_is_unknown_is_refused(lab: Lab, name: str, parameters: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        lab.fault(name, 1, parameters)
    assert lab.status()["armed"] == {}


def test_nonsense_at_the_control_socket_is_answered_with_a_sentence(lab: Lab) -> None:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(lab.record.control)
        answers = asking.makefile("rb")
        for nonsense in (b"[]", b"{", b'{"do": "dance"}', b'{"do": "write"}', b"\xff"):
            asking.sendall(nonsense + b"\n")
            assert json.loads(answers.readline())["error"].startswith("not a request to a lab")


def test_nobody_else_can_reach_the_control_socket(lab: Lab) -> None:
    assert Path(lab.record.control).parent.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(lab.record.control)) < 107


def test_a_second_lab_in_the_same_directory_is_refused(lab: Lab) -> None:
    with pytest.raises(UsageError, match=f"a lab runs in {lab.directory} already, as process {lab.record.pid}"):
        Lab.start(lab.directory)
    assert lab.status()["armed"] == {}


# how it comes and goes


def test_a_stopped_lab_leaves_its_directory_alone_and_can_start_again(tmp_path: Path, inventory: Path) -> None:
    lab = Lab.start(tmp_path / "a lab", inventory, leashed=True)
    lab.write("db", 2000, 0, seeded(3, 4096))
    first = lab.record
    assert lab.stop()
    assert traces(lab.directory) == [] and not Path(first.control).parent.exists()
    assert not listens(first.vcenter.port) and not listens(first.store.port)
    assert not lab.stop()
    with pytest.raises(NotAnswering, match="start it again"):
        lab.status()

    again = Lab.start(lab.directory, leashed=True)
    try:
        assert again.record.vcenter.port == first.vcenter.port and again.record.store == first.store
        assert [vm.path for vm in again.record.vms] == [vm.path for vm in first.vms]
        assert Path(first.vm("db").disk(2000).file).read_bytes()[:4096] == random.Random(3).randbytes(4096)
    finally:
        again.stop()
    assert traces(lab.directory) == []


def test_a_killed_lab_leaves_nothing_running_and_can_start_again(tmp_path: Path, inventory: Path) -> None:
    lab = Lab.start(tmp_path, inventory, leashed=True)
    os.kill(lab.record.pid, signal.SIGKILL)
    assert eventually(lambda: traces(tmp_path) == [] and not Path(lab.record.control).parent.exists(), 20)
    again = Lab.start(tmp_path, leashed=True)
    assert again.status()["armed"] == {}
    assert again.stop() and not lab.stop()


def test_a_leashed_lab_ends_with_whoever_started_it(tmp_path: Path, inventory: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from steps.lab.lab import Lab;"
        "Lab.start(Path(sys.argv[1]), Path(sys.argv[2]), leashed=True); print(flush=True); time.sleep(600)"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "lab"), str(inventory)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None and starter.stdout.readline() == b"\n"
        record = Lab(tmp_path / "lab").record
        starter.kill()
    assert eventually(lambda: is_gone(record.pid) and traces(tmp_path / "lab") == [], 20)
    assert not Path(record.control).parent.exists()


def test_an_inventory_with_mistakes_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("datacenters: [{name: DC1, datastores: [], vms: [{nam: x}]}]\n")
    with pytest.raises(UsageError, match=r"inventory.yaml has mistakes: datacenters.0.vms.0"):
        Lab.start(tmp_path / "lab", tmp_path / "inventory.yaml")
    assert traces(tmp_path / "lab") == [] and not (tmp_path / "lab" / "lab.json").exists()


def test_a_start_that_failed_can_be_tried_again(tmp_path: Path, inventory: Path) -> None:
    own = tmp_path / "lab" / "inventory.yaml"
    own.parent.mkdir()
    own.write_text("datacenters: [{name: DC1, vmz: []}]\n")
    with pytest.raises(UsageError, match="vmz"):
        Lab.start(own.parent, own)
    own.write_bytes(inventory.read_bytes())
    Lab.start(own.parent, own, leashed=True).stop()


def test_what_is_no_lab_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"site.yaml": "repositories: {}\n", "jobs/a.yaml": "version: 1\n"}
    (tmp_path / "jobs").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert sendense("lab", "start", "--dir", tmp_path) == 2
    assert "is not empty and not a lab: give --dir a new directory" in capsys.readouterr().err
    found = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == files


def test_a_directory_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="the lab cannot have"):
        Lab.start(tmp_path / "file" / "lab")


@pytest.mark.parametrize("name", ['a "lab"', "back\\slash", "two\nlines", os.fsdecode(b"\xff")], ids=repr)
def test_a_path_that_no_sshd_takes_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="sshd takes no quotes"):
        Lab.start(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_directory_without_a_lab_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`sendense lab start --dir"):
        Lab(tmp_path)


def test_a_damaged_record_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text("{}")
    with pytest.raises(SendenseError, match="start the lab in another directory"):
        Lab(tmp_path)


# the command line


def sendense(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as leaving:
        main([str(one) for one in arguments])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def test_start_returns_with_the_lab_in_the_background(
    tmp_path: Path, inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "lab"
    try:
        done = subprocess.run(
            [SENDENSE, "lab", "start", "--dir", directory, "--inventory", inventory],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert f"{directory}/jobs/db.yaml" in done.stdout
        at = ("--dir", directory)
        assert sendense("lab", "write", *at, "--vm", "db", "--disk", "2000", "--offset", "8 KiB", "--pattern", "5") == 0
        content = Path(Lab(directory).record.vm("db").disk(2000).file).read_bytes()
        assert content[8192 : 8192 + 4096] == random.Random(5).randbytes(4096)
        assert sendense("lab", "fault", *at, "slow-task", "seconds=2", "--count", "3") == 0
        capsys.readouterr()
        assert sendense("lab", "fault", *at) == 0
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("slow-task"))
        assert line.split()[1:4] == ["method=", "seconds=5.0", "3"]
    finally:
        assert sendense("lab", "stop", "--dir", directory) == 0
    assert traces(directory) == []
    assert sendense("lab", "stop", "--dir", directory) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("write", "--vm", "db", "--disk", "2000", "--offset", "many"), id="size"),
        pytest.param(
            ("write", "--vm", "db", "--disk", "2000", "--offset", "0", "--pattern", "1", "--file", "x"), id="both"
        ),
        pytest.param(("write", "--vm", "db", "--disk", "2000", "--offset", "0", "--file", "/nowhere"), id="no file"),
        pytest.param(("fault", "slow-task", "seconds"), id="parameter"),
        pytest.param(
            ("write", "--vm", "db", "--disk", "2000", "--offset", "0", "--length", str(2 * SIZE)), id="past the end"
        ),
    ],
)
def test_bad_usage_is_exit_2_and_writes_nothing(lab: Lab, arguments: tuple[str, ...]) -> None:
    before = Path(lab.record.vm("db").disk(2000).file).read_bytes()
    assert sendense("lab", arguments[0], "--dir", lab.directory, *arguments[1:]) == 2
    assert Path(lab.record.vm("db").disk(2000).file).read_bytes() == before
