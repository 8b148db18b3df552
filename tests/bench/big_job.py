"""How long a job of 2,000 nodes takes to validate and to plan."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import yaml

from runner.app.inspection import plan_job
from runner.app.options import Options, read_job

VMS = 200
STEPS_A_VM = 10


def big_job(vms: int = VMS) -> dict[str, object]:
    """A job of `vms` backups side by side, ten steps each, written out; nothing in it can be reached."""
    steps: list[dict[str, object]] = []
    for number in range(vms):
        name = f"vm{number}"

        def ref(step: str, path: str = "", name: str = name) -> str:
            return "${{ " + f"{step}-{name}{path}" + " }}"

        each = {"disk": ref("discover", ".disks")}
        steps += [
            {"id": f"discover-{name}", "uses": "discover", "with": {"vcenter": "prod", "vm": name}},
            {"id": f"snapshot-{name}", "uses": "snapshot", "with": {"vm": ref("discover", ".vm")}},
            {"id": f"image-{name}", "uses": "create-qcow2", "each": each, "with": {"vm": ref("discover", ".vm"), "disk": "${{ disk }}", "repository": "main"}},
            {"id": f"export-{name}", "uses": "start-nbd", "each": each, "with": {"image": ref("image")}},
            {"id": f"tunnel-{name}", "uses": "open-tunnel", "each": each, "with": {"export": ref("export")}},
            {"id": f"source-{name}", "uses": "open-source", "each": each, "with": {"snapshot": ref("snapshot"), "disk": "${{ disk }}"}},
            {"id": f"transfer-{name}", "uses": "transfer", "each": each, "with": {"source": ref("source"), "target": ref("tunnel")}},
            {"id": f"verify-{name}", "uses": "verify", "each": each, "with": {"copied": ref("transfer")}},
        ]  # fmt: skip
    return {
        "version": 1,
        "name": "big",
        "hosts": {"hub": {"ssh": "backup@hub.example.com"}},
        "vcenters": {
            "prod": {
                "server": "vcenter.example.com",
                "username": "backup@vsphere.local",
                "password": {"env": "VCENTER_PASSWORD"},
                "tls": {"thumbprint": "AB:" * 31 + "AB"},
            }
        },
        "repositories": {"main": {"host": "hub", "path": "/backup/repository"}},
        "steps": steps,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "big.yaml"
        path.write_text(yaml.safe_dump(big_job(), sort_keys=False))
        began = time.perf_counter()
        job = read_job(path, Options())
        validated = time.perf_counter()
        plan = plan_job(path, Options(), offline=True)
        planned = time.perf_counter()
    print(
        f"a job of {len(job.steps)} steps: validated in {validated - began:.2f} s, "
        f"validated and planned ({len(plan.nodes)} nodes) in {planned - validated:.2f} s (aim: < 2 s)"
    )


if __name__ == "__main__":
    main()
