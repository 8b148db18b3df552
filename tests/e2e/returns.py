"""Jobs that bring a VM of an estate back into its vCenter, and what somebody does to it in vSphere meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from steps.vsphere import find, vmomi
from steps.vsphere.client import Client
from steps.vsphere.section import VCenter
from steps.vsphere.session import Session
from steps.vsphere.tasks import finish
from tests.estate import PASSWORD_FILE, USER, VM, Estate
from tests.vddk_library import Vddk


def section(site: Estate) -> VCenter:
    simulator = site.vcenter
    return VCenter.from_json_value(
        {
            "server": "127.0.0.1",
            "port": simulator.port,
            "username": USER,
            "password": {"file": str(site.directory / PASSWORD_FILE)},
            "tls": {"ca": str(simulator.ca_path)},
        }
    )


def delete(site: Estate) -> None:
    """The VM, which runs, with its disks."""
    with Client("prod", section(site)) as client:
        vm = find.find(client, VM)

        def run(method: str) -> None:
            def start(session: Session) -> str:
                return str(getattr(session.object(vmomi.vim.VirtualMachine, vm), method)()._moId)

            finish(client, client.call(method, start), method, 30.0)

        run("PowerOffVM_Task")
        run("Destroy_Task")


def restore_job(site: Estate, vddk: Vddk | None, point: Path, **variables: Any) -> Path:
    """Of `template: restore-vm`; through VDDK, unless told otherwise or without its library."""
    values = {"repository": "main", "point": str(point), "vcenter": "prod"}
    if vddk is not None:
        vddk.expect_vcenter(section(site), site.directory / "prod" / "datastores")
        values |= {"transport": "vddk", "vddk_libdir": str(vddk.libdir), "vddk_plugin": vddk.plugin}
    values |= variables
    job = site.directory / "restore.yaml"
    job.write_text(yaml.safe_dump({"version": 1, "include": "site.yaml", "template": "restore-vm", "vars": values}))
    return job
