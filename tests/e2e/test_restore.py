"""Restore points become files again: in every format, from any point of a chain, and not a byte otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli import main
from runner.units import MiB
from steps.lab.lab import Lab
from tests.chains import Reference, incremental, manifest_of, qemu, reference
from tests.e2e.site import Site, disk, inventory

SPARSE = {
    "key": 2000, "controller": 1000, "unit": 0, "size": "40 MiB", "content": {"pieces": [
        {"offset": 0, "length": "3 MiB", "seed": 1}, {"offset": "20 MiB", "length": "2 MiB", "seed": 2}]},
}  # fmt: skip
INVENTORY = inventory({"name": "vm", "disks": [SPARSE, disk(2001, "3 MiB + 512 B", 1, 2)]})
KEYS = (2000, 2001)
EXTENSIONS = {"vmdk-stream": "vmdk"}


@pytest.fixture(scope="module")
def points(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> list[Reference]:
    """A full, and two incrementals on it."""
    directory = tmp_path_factory.mktemp("references")
    site = Site(lab, directory / "state")
    ran = site.run("vm")
    assert ran.exit_code == 0, ran.error
    full = reference(ran.points()[0], directory)
    first = incremental(full, directory, seed=1)
    return [full, first, incremental(first, directory, seed=2)]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return tmp_path / "state"


def sendense(site: Site, *arguments: object, state: Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in (arguments[0], site.job("vm"), *arguments[1:], "--state", state)])
    assert isinstance(left.value.code, int)
    return left.value.code


def restored(directory: Path, key: int, form: str) -> Path:
    return directory / f"vm-disk-{key}.{EXTENSIONS.get(form, form)}"


def is_equal(file: Path, form: str, raw: Path) -> bool:
    extension = EXTENSIONS.get(form, form)
    return qemu("qemu-img", "compare", "-f", extension, "-F", "raw", file, raw) == "Images are identical.\n"


@pytest.mark.parametrize(
    ("number", "form", "to"),
    [
        pytest.param(0, "raw", "{}", id="full as raw, here"),
        pytest.param(1, "raw", "{}", id="incremental as raw, here"),
        pytest.param(2, "raw", "hub:{}", id="incremental on incremental as raw, on the hub"),
        pytest.param(0, "qcow2", "{}", id="full as qcow2, here"),
        pytest.param(2, "qcow2", "hub:{}", id="incremental on incremental as qcow2, on the hub"),
        pytest.param(0, "vmdk", "hub:{}", id="full as vmdk, on the hub"),
        pytest.param(2, "vmdk", "{}", id="incremental on incremental as vmdk, here"),
        pytest.param(2, "vmdk-stream", "{}", id="incremental on incremental as a stream, here"),
    ],
)
def test_every_point_restores_to_the_bytes_of_its_moment(
    site: Site, points: list[Reference], state: Path, tmp_path: Path, number: int, form: str, to: str
):
    point, place = points[number], tmp_path / "restored"
    code = sendense(site, "restore", point.point, "--to", to.format(place), "--format", form, state=state)
    assert code == 0
    assert sorted(path.name for path in place.iterdir()) == [restored(place, key, form).name for key in KEYS]
    for key in KEYS:
        file = restored(place, key, form)
        assert is_equal(file, form, point.disks[key])
        assert file.stat().st_mode & 0o777 == 0o600
        of = next(disk for disk in manifest_of(point.point).disks if disk.key == key)
        assert file.stat().st_blocks * 512 <= of.data + MiB, "holes were written"
