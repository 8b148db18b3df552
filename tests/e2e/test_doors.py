"""What is wrong around a job, one door a row: one sentence that says what to do, the right exit code, and nothing changed; the
doctor finds each of them beforehand."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.x509 import DNSName

from runner.app.inspection import diagnose, plan_job
from runner.app.options import Options
from runner.base.errors import SendenseError
from runner.events.events import NodeRetrying
from runner.hosts.local import LocalHost
from steps.lab.simulator import Inventory, Simulator, certificate
from steps.lab.sshd import Sshd
from steps.repository import marker
from steps.vsphere import privileges
from tests.e2e.site import Site, disk, inventory
from tests.hub import tree

INVENTORY = inventory(
    {"name": "vm", "disks": [disk(2000, "1 MiB", 0, 1)]},
    {"name": "pair", "disks": [disk(2000, "1 MiB", 0, 1), disk(2001, "1 MiB", 1, 2)]},
    {"name": "golden", "template": True, "powered-on": False, "disks": [disk(2000, "1 MiB", 0, 1)]},
    {"name": "on-vsan", "datastore": "vsan1", "disks": [disk(2000, "1 MiB", 0, 1)]},
    {"name": "unmerged", "consolidation-needed": True, "disks": [disk(2000, "1 MiB", 0, 1)]},
    {
        "name": "half",
        "disks": [disk(2000, "1 MiB", 0, 1), {**disk(2001, "1 MiB", 1, 2), "mode": "independent_persistent"}],
    },
)
INVENTORY["datacenters"][0]["datastores"].append({"name": "vsan1", "kind": "vsan"})
ROOT = Path(__file__).parents[2]
DENIED = [*privileges.BACKUP, *privileges.FOLDER]


@dataclass
class Door:
    """The lab's site and a job, to be spoilt; `closing` ends what was started for it."""

    site: Site
    directory: Path
    document: dict[str, Any]
    closing: ExitStack

    @property
    def repository(self) -> Path:
        return Path(self.document["repositories"]["main"]["path"])

    @property
    def vcenter(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["vcenters"]["lab"]
        return found

    def sshd(self, host: str, options: dict[str, str]) -> Sshd:
        """`host` becomes another sshd, on the same files."""
        server = Sshd(self.directory / host, options)
        server.start()
        self.closing.callback(server.stop)
        self.document["hosts"][host] = {
            "ssh": server.spec.ssh,
            "port": server.port,
            "identity": {"file": str(self.directory / host / "client")},
            "host-key": server.host_key,
        }
        return server

    def path_without(self, host: str, hidden: str, instead: str = "") -> None:
        """On `host` the program `hidden` is missing, or is the script `instead`."""
        programs = self.directory / "bin"
        programs.mkdir()
        for directory in ("/usr/bin", "/bin"):
            for program in Path(directory).iterdir():
                if program.name != hidden and not (programs / program.name).is_symlink():
                    (programs / program.name).symlink_to(program)
        if instead:
            (programs / hidden).write_text(f"#!/bin/sh\n{instead}\n")
            (programs / hidden).chmod(0o755)
        self.sshd(host, {"SetEnv": f"PATH={programs} SHLVL=2"})

    def simulator(
        self,
        certificate_valid: timedelta = certificate.VALID,
        certificate_names: certificate.Names = certificate.LOOPBACK,
        **more: Any,
    ) -> Simulator:
        """Another vCenter, with the same VMs."""
        content = Inventory.from_json_value({**INVENTORY, **more})
        user = str(self.vcenter["username"])
        made = Simulator(
            content,
            self.directory / "vcenter",
            username=user,
            password="other",
            certificate_valid=certificate_valid,
            certificate_names=certificate_names,
        )
        self.closing.enter_context(made)
        (self.directory / "password").write_text("other\n")
        self.vcenter.update(
            port=made.port, password={"file": str(self.directory / "password")}, tls={"ca": str(made.ca_path)}
        )
        return made


def node_without_way(door: Door) -> None:
    """What reads there gets to another port, where nobody listens; this machine gets through."""
    elsewhere = "s,^url=https://127.0.0.1:[0-9]*/,url=https://127.0.0.1:1/,"
    door.path_without(
        "node",
        "nbdkit",
        f'for word; do shift; set -- "$@" "$(printf %s "$word" | sed {elsewhere!r})"; done; exec /usr/bin/nbdkit "$@"',
    )
    door.document["vars"]["node"] = "node"


def name_of_no_certificate(door: Door) -> None:
    """The API asks nothing but the pinned certificate; curl asks for the name too."""
    made = door.simulator(certificate_names=(DNSName("vcenter.example.com"),))
    door.vcenter["tls"] = {"thumbprint": made.thumbprint}


def unseen_datastore(door: Door) -> None:
    (datacenter,) = INVENTORY["datacenters"]
    first, *others = datacenter["datastores"]
    hidden = {**first, "denied": ["System.Read", *privileges.FOLDER]}
    door.simulator(datacenters=[{**datacenter, "datastores": [hidden, *others]}])


def wrong_password(door: Door) -> None:
    (door.directory / "password").write_text("wrong\n")
    door.vcenter["password"] = {"file": str(door.directory / "password")}


def other_authority(door: Door) -> None:
    before = dict(door.vcenter)
    door.simulator()
    door.document["vcenters"]["lab"] = {**before, "tls": door.vcenter["tls"]}


def small_disk(door: Door) -> None:
    """The repository lies on a file system with less room than the disk takes."""
    place = door.directory / "small"
    place.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", str(place))
    done = subprocess.run(mount, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    door.closing.callback(subprocess.run, ("umount", str(place)), timeout=30, check=True)
    marker.init(LocalHost(), str(place))
    door.document["repositories"]["main"]["path"] = str(place)


def refused_key(door: Door) -> None:
    door.sshd("store", {})
    (door.directory / "store" / "authorized_keys").write_text("")


def old(host: str, program: str, says: str) -> Callable[[Door], None]:
    def apply(door: Door) -> None:
        door.path_without(host, program, f"echo {says}")
        if host == "node":
            door.document["vars"]["node"] = "node"

    return apply


def no_nbdkit(door: Door) -> None:
    door.path_without("node", "nbdkit")
    door.document["vars"]["node"] = "node"


def no_forwards(door: Door) -> None:
    door.sshd("store", {"DisableForwarding": "yes"})


def spoil(*path: str, value: Any) -> Callable[[Door], None]:
    def apply(door: Door) -> None:
        inner: Any = door.document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return apply


OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILPFzkTOgTCG+pnjfzmaTtV+oW0V6pOKOjL5aQiFzx42"
DOORS: dict[str, tuple[Callable[[Door], None], tuple[str, ...], int]] = {
    "wrong vCenter password": (wrong_password, ("wrong user name or password",), 1),
    "unreachable vCenter": (
        spoil("vcenters", "lab", "port", value=1),
        ("127.0.0.1:1 cannot be reached", "refused", "check `server:`"),
        1,
    ),
    "certificate of an unknown authority": (other_authority, ("cannot be verified", "check `tls:`"), 1),
    "expired certificate": (
        lambda door: door.simulator(certificate_valid=timedelta(days=-1)),
        ("certificate has expired", "renew it there"),
        1,
    ),
    "wrong thumbprint": (
        spoil("vcenters", "lab", "tls", value={"thumbprint": "ab" * 32}),
        ("the job pins AB:AB", "write the new thumbprint"),
        1,
    ),
    "wrong host key": (spoil("hosts", "store", "host-key", value=OTHER_KEY), ("another host key", "`host-key`"), 1),
    "refused key": (refused_key, ("refuses the key", "authorized_keys"), 1),
    "no qemu-nbd on the hub": (
        lambda door: door.path_without("store", "qemu-nbd"),
        ("host store has no qemu-nbd", "Debian package qemu-utils"),
        1,
    ),
    "old qemu-img on the hub": (
        old("store", "qemu-img", "qemu-img version 2.11.1"),
        ("host store has qemu-img 2.11.1, which is too old", "4.0 or newer"),
        1,
    ),
    "old qemu-nbd on the hub": (
        old("store", "qemu-nbd", "qemu-nbd 3.1.0"),
        ("host store has qemu-nbd 3.1.0, which is too old", "4.1 or newer"),
        1,
    ),
    "old nbdkit on the node": (
        old("node", "nbdkit", "'nbdkit 1.28.2\nversion=1.28.2'"),
        ("host node has nbdkit 1.28.2, which is too old", "1.30 or newer"),
        1,
    ),
    "no space on the repository": (small_disk, ("free on store", "free some space there"), 1),
    "needs no consolidation": (
        spoil("vars", "vm", value="unmerged"),
        ("unmerged: its disks need consolidation", "consolidate them first"),
        1,
    ),
    "no nbdkit on the node": (no_nbdkit, ("host node has no nbdkit", "Debian package nbdkit"), 1),
    "no way from the node to the vCenter": (
        node_without_way,
        ("through 127.0.0.1", "from host node cannot be read over HTTPS", "Failed to connect"),
        1,
    ),
    "a pinned certificate that names another server": (
        name_of_no_certificate,
        ("does not match target host", "write `server:` as in the certificate"),
        1,
    ),
    "repository without marker": (
        spoil("repositories", "main", "path", value="/nonexistent/repository"),
        ("/nonexistent/repository on store is not a repository", "`sendense init JOB`"),
        1,
    ),
    "no privilege": (lambda door: door.simulator(denied=DENIED), (*DENIED, "VM vm", "datastore datastore1"), 1),
    "no right on the datastore, not even to see its name": (
        unseen_datastore,
        (*privileges.FOLDER, "on datastore datastore1: add them to its role there"),
        1,
    ),
    "a template": (spoil("vars", "vm", value="golden"), ("it is a template", "convert it to a VM"), 1),
    "a disk on vSAN": (spoil("vars", "vm", value="on-vsan"), ("it is on vSAN", "VDDK"), 1),
    "a disk that no snapshot covers": (spoil("vars", "vm", value="half"), ("2001", "`skip-uncovered: [2001]`"), 1),
    "no forwards": (
        no_forwards,
        ("the sshd of store forwards neither unix sockets nor port 10100",),
        1,
    ),
}


@pytest.fixture
def door(site: Site, tmp_path: Path) -> Iterator[Door]:
    document = yaml.safe_load((site.directory / "site.yaml").read_text())
    document["state"] = {"path": str(tmp_path / "state")}
    document["template"] = "backup"
    document["vars"] = {"vm": "vm", "vcenter": "lab", "repository": "main"}
    with ExitStack() as closing:
        yield Door(site, tmp_path, document, closing)


def written(door: Door) -> Path:
    path = door.directory / "job.yaml"
    path.write_text(yaml.safe_dump(door.document, sort_keys=False))
    return path


def outcome(door: Door, job: Path) -> tuple[int, str]:
    """Exit code, and what a person is told."""
    try:
        ran = door.site.run(job, state=door.directory / "state")
    except SendenseError as error:
        return error.exit_code, str(error)
    return ran.exit_code, ran.error


SIBLINGS = {
    "expired certificate",
    "wrong thumbprint",
    "no qemu-nbd on the hub",
    "old qemu-img on the hub",
    "old nbdkit on the node",
    "refused key",
}
"""Of other doors, which are shut by the same code."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.torture) if name in SIBLINGS else name for name in DOORS],
)
def test_a_door_that_is_shut_is_one_sentence_and_nothing_is_changed(door: Door, name: str) -> None:
    shut, words, expected = DOORS[name]
    shut(door)
    job, before = written(door), tree(door.repository)

    examined = diagnose(job, Options(state=door.directory / "state"))
    assert not examined.healthy
    wrong = " / ".join(one.sentence for one in examined.observations if one.state == "wrong")
    assert all(word in wrong for word in words), wrong

    told = len(door.site.events)
    code, said = outcome(door, job)
    assert code == expected, said
    assert not [event for event in door.site.events[told:] if isinstance(event, NodeRetrying)]
    assert all(word in said for word in words), said
    assert "\n" not in said
    assert "Traceback" not in said
    assert door.site.snapshots() == []
    assert tree(door.repository) == before


@pytest.mark.parametrize(
    "blind",
    [
        pytest.param(spoil("vcenters", "lab", "port", value=1), id="vcenter-out-of-reach"),
        pytest.param(spoil("vars", "vm", value="no-such-vm"), id="no-such-vm"),
    ],
)
def test_hub_and_node_are_looked_at_though_the_vm_cannot_be(door: Door, blind: Callable[[Door], None]) -> None:
    door.document["vars"]["node"] = "node"
    door.sshd("node", {})
    blind(door)
    found = diagnose(written(door), Options(state=door.directory / "state")).observations
    good = {(one.subject, one.looked_at) for one in found if one.state == "good"}
    for host, looked_at in (
        ("store", "that it can be reached as the job says"),
        ("store", "qemu-img, 4.0 or newer"),
        ("store", "qemu-nbd, 4.1 or newer"),
        ("store", "forwards through its sshd"),
        ("node", "that it can be reached as the job says"),
        ("node", "nbdkit with its curl plugin, 1.30 or newer"),
        ("node", "forwards to unix sockets through its sshd"),
    ):
        assert (f"host {host}", looked_at) in good
    assert {("repository main", "its marker"), ("repository main", "free space")} <= good
    assert len([one for one in found if one.state == "wrong"]) == 1


def test_a_host_out_of_reach_is_asked_once_and_told_once(door: Door) -> None:
    door.document["vars"]["vm"] = "pair"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.listen()
        door.document["hosts"]["store"]["port"] = silent.getsockname()[1]
        came: list[socket.socket] = []

        def hang_up() -> None:
            while True:
                try:
                    connection = silent.accept()[0]
                except OSError:
                    return
                came.append(connection)
                connection.close()

        answering = threading.Thread(target=hang_up)
        answering.start()
        try:
            found = diagnose(written(door), Options(state=door.directory / "state")).observations
        finally:
            silent.shutdown(socket.SHUT_RDWR)
            answering.join(10)
    (wrong,) = [one for one in found if one.state == "wrong"]
    assert wrong.subject == "host store"
    assert "cannot be reached" in wrong.found
    assert len(came) == 1


def test_without_libnbd_what_needs_no_connection_works_and_the_rest_says_what_to_install(door: Door) -> None:
    (door.directory / "without").mkdir()
    (door.directory / "without" / "nbd.py").write_text("raise ImportError(\"No module named 'nbd'\")\n")
    job, before = str(written(door)), tree(door.site.repository)

    def sendense(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "runner.cli", *words],
            env={**os.environ, "PYTHONPATH": f"{door.directory / 'without'}:{ROOT}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    assert sendense("validate", job)[0] == 0  # which has read every step, as --help and steps do
    state = f"--state={door.directory / 'state'}"
    for command in ("doctor", "run"):
        code, said = sendense(command, job, state)
        assert code == 1
        assert "libnbd's Python binding is missing" in said
        assert "apt install python3-libnbd" in said
    assert door.site.snapshots() == []
    assert tree(door.site.repository) == before


def test_where_only_ports_are_forwarded_the_backup_takes_them_and_says_who_else_can(door: Door) -> None:
    door.sshd("store", {"AllowStreamLocalForwarding": "no"})
    first = 20000 + os.getpid() % 10000
    door.document["hosts"]["store"]["ports"] = f"{first}-{first + 20}"
    job = written(door)
    plan = plan_job(job, Options(state=door.directory / "state"), offline=False)
    assert plan.problems == ()
    (noted,) = {note for node in plan.nodes for note in node.notes if "every user" in note}
    assert f"127.0.0.1 ports {first}-{first + 20}" in noted
    ran = door.site.run(job, state=door.directory / "state")
    assert ran.exit_code == 0, ran.error
    assert ran.output("export[2000]")["nbd_targets"].startswith("2000:nbd://127.0.0.1:")
    assert door.site.images_equal_sources("vm", ran.points()[0], (2000,))
