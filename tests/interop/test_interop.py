"""Others as judges: a client of VMware's own Go library against our simulator, and our client against that library's vcsim."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import yaml

from tests.interop.vcsim import Vcsim
from tests.simulation import PASSWORD, USER, estate, machine, running


def test_a_program_of_govmomi_lists_snapshots_reads_changes_and_downloads_from_our_simulator(tmp_path, built):
    with running(estate(machine(powered_on=False), machine("web", folder="prod")), tmp_path) as client:
        frozen = hashlib.sha256(client.sim.disk_file("db", 2000).read_bytes()).hexdigest()
        address = f"https://{quote(USER)}:{quote(PASSWORD)}@127.0.0.1:{client.sim.port}/sdk"
        program = subprocess.Popen(
            [built("client"), address, "/DC1/vm/db", "2000", str(client.sim.ca_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert program.stdin and program.stdout
        said = []
        for line in program.stdout:
            said.append(json.loads(line))
            if "change_id" in said[-1]:
                client.sim.write("db", 2000, 3 << 20, b"changed")
                program.stdin.write("\n")
                program.stdin.flush()
        assert program.wait(60) == 0
        vms = {one["vm"]: one for one in said if "vm" in one}
        assert set(vms) == {"db", "web"}
        for name, path in (("db", "DC1/vm/db"), ("web", "DC1/vm/prod/web")):
            seen = client.vm(path)
            assert vms[name]["moref"] == seen._moId
            assert vms[name]["pool"] == {"Type": "ResourcePool", "Value": seen.resourcePool._moId}
            assert vms[name]["host"] == {"Type": "HostSystem", "Value": seen.runtime.host._moId}
            assert vms[name]["datastores"] == [{"Type": "Datastore", "Value": seen.datastore[0]._moId}]
        told = {key: value for one in said if "vm" not in one for key, value in one.items()}
        assert told["areas"] == [[3 << 20, 65536]]
        assert told["length"] == 4 << 20
        assert (told["downloaded"], told["size"], told["sha256"]) == ("db/db-flat.vmdk", 4 << 20, frozen)
        assert {"db.vmdk", "db-flat.vmdk", "db-000001.vmdk", "db-000002.vmdk"} <= set(told["files"])
        assert told["events"] == ["org.example.backup.done"]
        assert told["tasks"][:2] == ["VirtualMachine.removeAllSnapshots", "host.DatastoreBrowser.search"]
        assert client.sim.snapshots("db") == []


def test_our_client_takes_a_backup_of_vcsim(vcsim):
    """All that it is asked of a vCenter for a full over HTTPS: vcsim 0.24.2 tracks no changes and knows no VDDK."""
    point = backup(vcsim, "DC0_H0_VM0")
    assert point.images() == vcsim.disks("DC0_H0_VM0")
    assert vcsim.read("DC0_H0_VM0", "snapshot") is None


def test_our_client_restores_into_vcsim_by_a_lease_and_takes_a_backup_of_what_it_restored(vcsim):
    """govmomi reads the spec and makes the VM, qemu-img reads the streams. The lease names the last disk first."""
    original = vcsim.disks("DC0_H0_VM0")
    assert len(set(original)) == 3
    backup(vcsim, "DC0_H0_VM0")
    job = vcsim.directory / "DC0_H0_VM0.yaml"
    sendense("restore", job, "DC0_H0_VM0/latest", "--to-vcenter", "vcsim", "--name", "back", "--transport", "lease")
    assert vcsim.disks("back") == original
    settings = {one.key: one.value for one in vcsim.read("back", "config.extraConfig")}
    # An empty value deletes a key (API reference); vcsim 0.24.2 puts it behind the one that it has.
    assert not any(value for key, value in settings.items() if key.startswith("sendense."))
    assert backup(vcsim, "back").images() == original


@dataclass
class Backup:
    path: Path

    def images(self) -> list[bytes]:
        return [self._raw(image) for image in sorted(self.path.glob("disk-*.qcow2"))]

    def _raw(self, image: Path) -> bytes:
        raw = self.path.parents[1] / f"{image.stem}.raw"
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True, timeout=60)
        return raw.read_bytes()


def backup(vcsim: Vcsim, vm: str) -> Backup:
    """A full of it by the standard job, with the program that users have."""
    job = vcsim.directory / f"{vm}.yaml"
    settings = {"vm": vm, "vcenter": "vcsim", "repository": "main", "transport": "https"}
    job.write_text(yaml.safe_dump({"version": 1, "include": "site.yaml", "template": "backup", "vars": settings}))
    if not (vcsim.directory / "repository").exists():
        sendense("init", job)
    sendense("run", job)
    (manifest,) = (vcsim.directory / "repository").glob(f"{vm}-*/*/manifest.json")
    return Backup(manifest.parent)


def sendense(*arguments: object) -> str:
    command = [sys.executable, "-m", "runner.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
