"""A VM comes back to other places than it was at, or only in part; what it lacks there is said before anything is made."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.base.render import shipped
from runner.cli import main
from steps.lab.lab import Lab
from tests.e2e.administrator import Administrator, administrator
from tests.e2e.site import Site, disk

DENIED = ["Datastore.AllocateSpace", "Datastore.FileManagement"]
INVENTORY: dict[str, Any] = {
    "datacenters": [
        {
            "name": "DC1",
            "datastores": [
                {"name": "datastore1", "kind": "vmfs", "capacity": "4 TiB"},
                {"name": "ssd1", "kind": "vmfs", "capacity": "1 TiB"},
                {"name": "full", "kind": "vmfs", "capacity": "1 TiB", "free": "1 MiB"},
                {"name": "closed", "kind": "vmfs", "capacity": "1 TiB", "denied": DENIED},
            ],
            "networks": ["VM Network", "storage"],
            "vms": [
                {
                    "name": "pgtest1",
                    "datastore": "datastore1",
                    "networks": [{"network": "VM Network", "mac": "00:50:56:9a:10:01"}],
                    "controllers": [{"key": 1000, "kind": "pvscsi"}],
                    "disks": [disk(2000, "3 MiB", 0, 1), disk(2001, "2 MiB", 1, 2)],
                },
                {"name": "other", "folder": "spare", "datastore": "ssd1", "controllers": [], "disks": []},
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def admin(lab: Lab) -> Iterator[Administrator]:
    with administrator(lab) as one:
        yield one


@pytest.fixture(scope="module", autouse=True)
def point(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ran = Site(lab, tmp_path_factory.mktemp("state")).run("pgtest1")
    assert ran.exit_code == 0, ran.error
    return ran.points()[-1]


@pytest.fixture(autouse=True)
def spool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Command:
    """`sendense restore pgtest1 --to-vcenter lab`, in this process."""

    def __init__(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        self._site, self._capsys = site, capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        """What it prints as its answer."""
        self._capsys.readouterr()
        argv = ["restore", str(self._site.job("pgtest1")), "pgtest1", "--to-vcenter", "lab", "--transport", "lease"]
        with pytest.raises(SystemExit) as left:
            main([*argv, "--state", str(self._site.state), *words])
        printed = self._capsys.readouterr()
        self.told = printed.err
        assert (left.value.code or 0) == code, printed.err
        return printed.out


@pytest.fixture
def restore(site: Site, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(site, capsys)


def test_it_goes_to_another_folder_two_datastores_and_a_network_under_another_name(
    restore: Command, admin: Administrator
) -> None:
    words = ["--name", "moved", "--folder", "DC1/vm/spare", "--network", "VM Network=storage", "--thick"]
    answer = json.loads(
        restore(*words, "--datastore", "datastore1", "--datastore", "2001=ssd1", "--power-on", "--json")
    )
    made = answer["restored"]
    assert (made["name"], made["powered_on"], answer["vcenter"]) == ("moved", True, "lab")
    files, was = admin.files(made["moref"]), admin.files(admin.vm("pgtest1"))
    assert [file.parts[-3] for file in files.values()] == ["datastore1", "ssd1"]
    assert all(filecmp.cmp(files[key], was[key], shallow=False) for key in was)
    devices = admin.config(made["moref"])["hardware"]["device"]  # type: ignore[index,call-overload]
    assert [one["backing"]["deviceName"] for one in devices if "macAddress" in one] == ["storage"]
    assert [one["backing"]["thinProvisioned"] for one in devices if one["_type"] == "VirtualDisk"] == [False] * 2
    assert admin.path(made["moref"]) == "DC1/vm/spare/moved"
    admin.delete(made["moref"])


def test_one_disk_alone_comes_back_in_its_place(restore: Command, admin: Administrator) -> None:
    made = json.loads(restore("--name", "part", "--disk", "2001", "--json"))["restored"]
    was = admin.disks(admin.vm("pgtest1"))
    ((place, file),) = admin.disks(made["moref"]).items()
    assert place == ("ParaVirtualSCSIController", 0, 1)
    assert filecmp.cmp(file, was[place], shallow=False)
    admin.delete(made["moref"])


def test_a_dry_run_shows_each_device_beside_the_old_one_and_makes_nothing(
    restore: Command, admin: Administrator
) -> None:
    before = admin.names()
    text = restore("--name", "back", "--network", "VM Network=storage", "--datastore", "2001=ssd1", "--dry-run")
    rows = {line.split("  ")[1].strip(): line for line in text.splitlines() if line[:1] in "=~-" and "  " in line}
    assert rows["Hard disk 1"].startswith("=")
    assert rows["Hard disk 1"].rstrip().endswith("the same")
    assert rows["Hard disk 2"].startswith("~")
    assert "ssd1" in rows["Hard disk 2"]
    macs = [name for name in rows if name.startswith("MAC address")]
    assert macs
    assert text.count("no two VMs may share it") == len([one for one in rows.values() if "no two VMs" in one])
    document = json.loads(restore("--name", "back", "--dry-run", "--json"))
    assert document["vm"]["name"] == "back"
    assert [one["key"] for one in document["vm"]["disks"]] == [2000, 2001]
    kinds = {one["what"]: one["kind"] for one in document["vm"]["changes"]}
    assert kinds["Hard disk 1"] == "kept"
    assert admin.names() == before


def test_what_keeps_it_from_being_made_is_said_at_once_and_the_next_try_may_say_otherwise(
    restore: Command, admin: Administrator, site: Site
) -> None:
    before, calls = admin.names(), site.lab.status()["calls"]
    restore("--datastore", "full", "--network", "VM Network=nowhere", code=1)
    for told in ("already has a VM", "called pgtest1", "nowhere", "full"):
        assert told in restore.told
    restore("--name", "new", "--datastore", "closed", code=1)
    assert all(privilege in restore.told for privilege in DENIED[:1])
    assert "datastore closed" in restore.told
    assert admin.names() == before
    now = site.lab.status()["calls"]
    assert all(now.get(name, 0) == calls.get(name, 0) for name in ("ImportVApp", "CreateVM_Task"))
    # The same VM, and another option: it is not the plan that failed which is tried again.
    made = json.loads(restore("--name", "new", "--datastore", "ssd1", "--json"))["restored"]
    admin.delete(made["moref"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["--to", "/tmp"], "give --to DIR to write files, or", id="both"),
        pytest.param(["--format", "raw"], "are for --to, not for --to-vcenter", id="a format"),
        pytest.param(["--pool", "a", "--cluster", "b"], "give --pool or --cluster", id="pool and cluster"),
        pytest.param(["--thin", "--thick"], "give --thin or --thick", id="thin and thick"),
        pytest.param(["--network", "a"], "write OLD=NEW", id="a network alone"),
        pytest.param(["--datastore", "a", "--datastore", "b"], "KEY=NAME for disks", id="two datastores"),
        pytest.param(["--to-vcenter", "lob"], "did you mean 'lab'?", id="another vCenter"),
    ],
)
def test_what_contradicts_itself_is_bad_usage(restore: Command, words: list[str], told: str) -> None:
    restore(*words, code=2)
    assert told in " ".join(restore.told.split())


def test_the_shipped_job_runs_on_the_lab(site: Site, admin: Administrator, tmp_path: Path) -> None:
    ran = site.run(shipped("jobs/restore-vm.yaml"), lab=str(site.directory), point="pgtest1")
    assert ran.exit_code == 0, ran.error
    assert ran.output("finalize")["name"] == "pgtest1-restored"
    admin.delete(str(ran.output("finalize")["moref"]))
