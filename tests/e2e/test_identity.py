"""A VM whose vCenter is another one by now: refused, adopted, a full, and then incrementals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.cli import main
from tests.estate import Estate, disk, estate, inventory, machine, of, read

REBUILT = "7e0d3f51-6c1f-4a57-9d3e-2f6b1c0a7e22"
UUIDS = {"instance_uuid": "11111111-2222-3333-4444-555555555555", "uuid": "42130000-0000-0000-0000-000000000001"}
DISK = "6000C298-0000-0000-0000-000000000001"


def vm(**changes: Any) -> dict[str, Any]:
    tracked = disk(2000, "2 MiB", uuid=DISK, content={"pattern": 1})
    return machine(tracked, change_tracking=True, **{**UUIDS, **changes})


def adopt(place: Estate, job: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(("adopt", f"--state={place.directory / 'state'}", str(job), *options))
    return int(left.value.code or 0)


def test_an_adopted_vm_continues_its_points_with_a_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the rebuilt vCenter gave it another instance uuid, after which no directory is named."""
    uuid = "99999999-2222-3333-4444-555555555555"
    with estate(tmp_path, {"prod": inventory(vm())}) as place:
        first = place.backup(place.job())
    with estate(tmp_path, {"prod": inventory(vm(instance_uuid=uuid), instance_uuid=REBUILT)}) as place:
        job = place.job()
        ran = place.run(job)
        assert (ran.exit_code, ran.points()) == (1, [])
        assert "`sendense adopt JOB`" in str(ran.failures())
        assert adopt(place, job) == 2
        assert f"sendense adopt --state={tmp_path / 'state'} {job} --yes" in capsys.readouterr().err
        assert adopt(place, job, "--yes", "--json") == 0
        (told,) = json.loads(capsys.readouterr().out)["vms"]
        assert (told["adopted"], told["directory"]) == (True, str(first.parent))
        assert (told["old"]["instance_uuid"], told["new"]["instance_uuid"]) == (UUIDS["instance_uuid"], uuid)
        second = place.backup(job)
        assert second.parent == first.parent
        assert (of(second, 2000).parent, read(second).vm.vcenter_uuid) == (None, REBUILT)
        assert "adopted" in of(second, 2000).reason
        assert adopt(place, job, "--yes") == 0
        assert "nothing to adopt" in capsys.readouterr().out
        third = place.backup(job)
        assert of(third, 2000).parent == second.name
        place.assert_all_equal()


def run_set(place: Estate) -> tuple[int, Path, set[Path]]:
    """Exit code, job, the directories of VMs afterwards."""
    document = {
        "version": 1,
        "include": "site.yaml",
        "template": "backup",
        "name": "gold",
        "select": {"from": "vcenters.prod", "any": [{"name": "*"}]},
        "vars": {"repository": "main", "transport": "https"},
    }
    job = place.directory / "gold.yaml"
    job.write_text(yaml.safe_dump(document))
    with pytest.raises(SystemExit) as left:
        main(("run", f"--state={place.directory / 'state'}", str(job)))
    made = {point.parent.parent for point in place.repository().glob("*/*/manifest.json")}
    return int(left.value.code or 0), job, made


@pytest.mark.slow
def test_the_children_of_a_set_are_adopted_by_the_sets_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a rebuilt vCenter each is refused until it is adopted; a VM that has no point yet is not asked for."""
    uuid = "99999999-2222-3333-4444-555555555555"
    with estate(tmp_path, {"prod": inventory(vm())}) as place:
        code, _, first = run_set(place)
        assert (code, len(first)) == (0, 1)
    new = machine(disk(2000, "1 MiB"), name="new")
    with estate(tmp_path, {"prod": inventory(vm(instance_uuid=uuid), new, instance_uuid=REBUILT)}) as place:
        code, job, made = run_set(place)
        assert (code, len(made)) == (4, 2)
        assert "sendense adopt" in capsys.readouterr().err
        assert adopt(place, job, "--yes", "--json") == 0
        told = json.loads(capsys.readouterr().out)["vms"]
        assert [(one["new"]["instance_uuid"] == uuid, one["adopted"]) for one in told] == [(True, True), (False, False)]
        assert run_set(place)[::2] == (0, made)
        assert len(list(first.pop().glob("*/manifest.json"))) == 2
