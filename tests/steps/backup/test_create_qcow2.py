from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runner.base.units import GiB, MiB
from runner.step.preflight import Known
from steps.backup.create_qcow2 import CreateQcow2, CreateQcow2In
from steps.qemu import img
from steps.repository import marker
from steps.repository.vm_place import OtherVcenterError, TwoDirectoriesError
from steps.vsphere.inventory import VM, Disk
from tests.hub import INSTANCE, OTHER_RUN, RUN, Hub, disk, tree, vm
from tests.points import publish

STEP = CreateQcow2()


def inputs(of: Disk | None = None, machine: VM | None = None) -> CreateQcow2In:
    return CreateQcow2In(disk=of or disk(), vm=machine or vm(), repository="main")


def test_an_image_of_the_exact_size_is_made_in_the_runs_partial_directory(any_hub: Hub) -> None:
    hub = any_hub
    wanted = inputs(disk(capacity=5 * GiB + 512))
    assert STEP.check(hub.context(), wanted, None) is None
    image = STEP.run(hub.context(), wanted, STEP.Live())
    assert image.path == f"{hub.root}/pgtest1-{INSTANCE}/{RUN}.partial/disk-2000.qcow2"
    assert image.directory == str(Path(image.path).parent)
    assert img.info(hub.host, image.path).virtual_size == 5 * GiB + 512
    assert Path(image.directory).stat().st_mode & 0o777 == 0o700
    assert STEP.check(hub.context(), wanted, None) == image
    assert STEP.check(hub.context(), wanted, image) == image


def test_running_again_keeps_the_bytes(hub: Hub) -> None:
    image = hub.image()
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", image.path], check=True, capture_output=True)
    before = tree(Path(hub.root))
    assert hub.image() == image
    assert tree(Path(hub.root)) == before


@pytest.mark.parametrize("wrong", ["size", "torn", "empty"])
def test_a_wrong_image_is_made_again_and_forgets_what_was_said_of_it(hub: Hub, wrong: str) -> None:
    image = hub.image()
    if wrong == "size":
        img.create(hub.host, image.path, 8 * MiB)
    else:
        Path(image.path).write_bytes(Path(image.path).read_bytes()[:100] if wrong == "torn" else b"")
    said = [Path(image.directory) / f"disk-2000.{end}" for end in ("copied.json", "verified.json", "blake3")]
    of_another = Path(image.directory) / "disk-2001.copied.json"
    for path in (*said, of_another):
        path.touch()
    assert STEP.check(hub.context(), inputs(), image) is None
    assert hub.image() == image
    assert img.info(hub.host, image.path).virtual_size == image.capacity
    assert not any(path.exists() for path in said)
    assert of_another.exists()


def test_check_looks_at_an_image_that_is_being_written(hub: Hub) -> None:
    image = hub.image()
    context = hub.context()
    with context.closing, hub.host.tempdir() as directory:
        argv = ("qemu-nbd", "--persistent", "--format=qcow2", f"--socket={directory}/s", image.path)
        child = context.start(hub.host, argv)
        while not hub.host.exists(f"{directory}/s"):
            assert child.poll() is None, child.stderr()
        assert STEP.check(hub.context(), inputs(), image) == image


def test_a_renamed_vm_keeps_its_directory(hub: Hub) -> None:
    first = hub.image()
    later = hub.image(machine=vm("renamed"), run=OTHER_RUN)
    assert Path(first.directory).parent == Path(later.directory).parent


def test_vms_of_one_name_have_directories_of_their_own(hub: Hub) -> None:
    other = vm(instance_uuid=INSTANCE.replace("5013", "5014"))
    assert Path(hub.image().directory).parent != Path(hub.image(machine=other).directory).parent


def test_two_directories_of_one_vm_are_refused(hub: Hub) -> None:
    hub.image()
    hub.host.mkdir(f"{hub.root}/copy-{INSTANCE}")
    with pytest.raises(TwoDirectoriesError, match=r"copy-5013.* and pgtest1-5013.*"):
        hub.image()


def test_nothing_is_written_where_no_repository_is(hub: Hub) -> None:
    (Path(hub.root) / "repository.json").unlink()
    with pytest.raises(marker.NotARepositoryError, match="mount its disk"):
        hub.image()
    assert list(Path(hub.root).iterdir()) == []
    seen = STEP.preflight(hub.context(), Known(inputs=inputs()))
    assert [one.state for one in seen.observations] == ["wrong", "good"]
    assert "mount its disk" in seen.observations[0].sentence
    assert seen.prospect is None


def test_a_look_ahead_tells_sizes_and_the_image_and_changes_nothing(hub: Hub) -> None:
    before = tree(Path(hub.root))
    seen = STEP.preflight(hub.context(), Known(inputs=inputs(disk(capacity=62 << 40, thin=False))))
    assert (seen.problems, seen.notes) == ((), ("62.0 TiB virtual",))
    assert seen.prospect is not None
    assert seen.prospect.capacity == 62 << 40
    assert tree(Path(hub.root)) == before


def test_undo_leaves_nothing_of_the_run_and_all_of_the_others(any_hub: Hub) -> None:
    hub = any_hub
    one, two = hub.image(), hub.image(disk(2001))
    other = hub.image(run=OTHER_RUN)
    STEP.undo(hub.context(), inputs(), one)
    assert (Path(one.path).exists(), Path(two.path).exists()) == (False, True)
    STEP.undo(hub.context(), inputs(disk(2001)), two)
    STEP.undo(hub.context(), inputs(disk(2001)), two)
    assert not Path(two.directory).exists()
    assert Path(other.path).exists()


def test_what_was_cut_short_is_taken_back_too_and_with_the_last_image_all_that_is_beside_it(hub: Hub) -> None:
    image = hub.image()
    Path(image.path).write_bytes(b"")
    (Path(image.directory) / ".sd-tmp-x").touch()
    (Path(image.directory) / "vm").mkdir()
    (Path(image.directory) / "vm/config.json").touch()
    assert STEP.check(hub.context(), inputs(), None) is None
    begun = STEP.leftover(hub.context(), inputs())
    assert begun == image
    STEP.undo(hub.context(), inputs(), begun)
    assert not Path(image.directory).exists()
    STEP.undo(hub.context(), inputs(), begun)


def test_a_vm_of_another_vcenter_is_refused(hub: Hub) -> None:
    publish(hub)
    stranger = vm(vcenter_uuid="99999999-2222-3333-4444-555555555555")
    with pytest.raises(OtherVcenterError, match="another vCenter"):
        hub.image(machine=stranger, run=OTHER_RUN)
    seen = STEP.preflight(hub.context(), Known(inputs=inputs(machine=stranger)))
    (refused,) = [one for one in seen.observations if one.state == "wrong"]
    assert "another vCenter" in refused.found


def test_an_image_whose_point_is_published_is_complete(hub: Hub) -> None:
    image = hub.image()
    publish(hub)
    assert not Path(image.path).exists()
    assert STEP.check(hub.context(), inputs(), image) == image
    assert STEP.check(hub.context(run=OTHER_RUN), inputs(), image) is None
