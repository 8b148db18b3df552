"""A set tells once of all its VMs, and its metrics are what the repository holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from runner.cli import main
from runner.hosts.local import LocalHost
from steps.repository import reader
from tests.estate import Estate, disk, estate, inventory, machine
from tests.sink import Sink

pytestmark = pytest.mark.slow

NAMES = ("db1", 'we"b\\1')


@pytest.fixture
def site(tmp_path: Path, service: Sink) -> Iterator[Estate]:
    machines = [machine(disk(2000, "1 MiB"), name=name) for name in NAMES]
    with estate(tmp_path, {"prod": inventory(*machines)}) as found:
        yield found


def gold(site: Estate, *, at_least: int = 1, **settings: Any) -> Path:
    path = site.directory / "gold.yaml"
    document = {
        "version": 1,
        "name": "gold",
        "include": "site.yaml",
        "template": "backup",
        "select": {"from": "vcenters.prod", "at-least": at_least},
        "vars": {"repository": "main", "transport": "https", **settings},
        "notify": {"to": [{"env": "CHAT"}]},
        "rpo": "26h",
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def run(job: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["run", str(job), "--json", "--fresh", *words])
    return int(left.value.code or 0), json.loads(capsys.readouterr().out)


def samples(file: Path) -> dict[str, dict[str, float]]:
    """Metric → the VM's name → value; of those without a VM, the metric alone."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[sample.labels.get("vm", "")] = sample.value
    return found


def test_nights_of_a_set(site: Estate, service: Sink, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    metrics = tmp_path / "gold.prom"
    code, _ = run(gold(site, transport="vddk", vddk_plugin="/nonexistent.so"), capsys, f"--metrics={metrics}")
    assert code == 1
    assert service.titles == ["sendense: gold: 2 failed, 2 too old for the rpo, of 2 VMs"]
    assert "2 VMs, one cause: " in service.notices[0]["message"]
    told = samples(metrics)
    assert told["sendense_run_newest_good_point_timestamp_seconds"] == dict.fromkeys(NAMES, 0)
    assert told["sendense_run_last_exit_code"] == dict.fromkeys(NAMES, 1)

    code, document = run(gold(site), capsys, f"--metrics={metrics}", "--parallel=1")
    assert code == 0 and document["warnings"] == []
    assert service.titles[1:] == ["sendense: gold: 2 recovered, 2 young enough again, of 2 VMs"]
    told = samples(metrics)
    stored = reader.read_all(LocalHost(), str(site.repository())).vms.values()
    made = {vm.vm_name: vm.entries[-1] for vm in stored}
    assert told["sendense_run_newest_good_point_timestamp_seconds"] == {
        name: pytest.approx(entry.moment.timestamp()) for name, entry in made.items()
    }
    assert told["sendense_run_newest_good_point_read_bytes"] == {
        name: sum(disk.read for disk in entry.manifest.disks) for name, entry in made.items()
    }
    assert told["sendense_run_newest_good_point_stored_bytes"] == {
        vm.vm_name: vm.stored_in(vm.entries[-1].path) for vm in stored
    }
    assert told["sendense_run_last_exit_code"] == dict.fromkeys(NAMES, 0)
    assert told["sendense_run_held"] == dict.fromkeys(NAMES, 0)
    assert told["sendense_run_waiting"] == {"": 0}
    waited = told["sendense_run_waited_seconds"]
    assert waited.keys() == set(NAMES) and min(waited.values()) < max(waited.values())
    assert told["sendense_run_rpo_seconds"] == dict.fromkeys(NAMES, 26 * 3600)
    assert told["sendense_run_repository_free_bytes"][""] > 0
    assert metrics.stat().st_mode & 0o777 == 0o644

    code, _ = run(gold(site, at_least=3), capsys, f"--metrics={metrics}")
    assert code == 1
    assert service.titles[2:] == ["sendense: gold: failed"]
    assert samples(metrics)["sendense_run_newest_good_point_timestamp_seconds"].keys() == set(NAMES)
