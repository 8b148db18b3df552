"""`sendense drill` on points whose disks begin with a boot sector: each verdict with its exit code, its sentence and its
picture. QEMU is the real one; the repository is made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.base.units import MiB
from runner.hosts.local import LocalHost
from steps.repository import verification_records
from tests.chain import Chain
from tests.drills import add, needs_qemu, repository, run, site
from tests.guests.boot_sectors import sector
from tests.hub import tree
from tests.marks import marks

pytestmark = [needs_qemu, pytest.mark.slow]

LOCAL = LocalHost("local")
PNG = b"\x89PNG\r\n\x1a\n"
KEPT = {"drilled.json", "drilled.png", "drilled-serial.log"}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return repository(tmp_path / "repository")


def drilled(capsys: pytest.CaptureFixture[str], made: Chain, *words: object) -> tuple[int, dict[str, Any]]:
    code, out, err = run(capsys, "drill", site(made), *words, "--accelerator=tcg", "--json")
    assert out, err
    return code, json.loads(out)


@pytest.mark.parametrize(
    ("first", "options", "verdict", "code", "why"),
    [
        pytest.param(b"", [], "failed", 5, "the BIOS found nothing that boots", id="its first sectors are zeroed"),
        pytest.param(sector("panics"), [], "failed", 5, "the guest's kernel panicked", id="its kernel panics"),
        pytest.param(sector("powers-off", "bye"), [], "failed", 5, "powered itself off", id="it powers itself off"),
        pytest.param(
            sector("hangs"), ["--within=3s"], "undecided", 1, "did not say 'login:'", id="it never says anything"
        ),
        pytest.param(
            sector("writes", times=0),
            ["--overlay=16MiB"],
            "undecided",
            1,
            "16.0 MiB",
            id="it fills its overlay",
        ),
    ],
)
def test_what_does_not_boot_has_its_verdict_its_sentence_and_its_picture(
    made: Chain,
    first: bytes,
    options: list[str],
    verdict: str,
    code: int,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made.capacity = 24 * MiB  # more than an overlay takes
    point = add(made, first)
    before = tree(point)
    found, told = drilled(capsys, made, "latest", "--expect=serial=login:", "--within=90s", *options)
    assert (found, told["drill"]["verdict"]) == (code, verdict)
    assert why in told["drill"]["why"]
    assert why in told["error"]
    for picture in (marks(point) / "drilled.png", Path(told["drill"]["picture_here"])):
        assert picture.read_bytes().startswith(PNG)
    record = verification_records.read(LOCAL, str(point)).drilled
    assert record is not None
    assert (record.verdict, record.passed_at) == (verdict, None)
    after = tree(point)
    assert {name: after[name] for name in before} == before
    assert after.keys() == before.keys()
    assert tree(marks(point)).keys() <= KEPT
    assert all((point / name).stat().st_mode & 0o777 == 0o600 for name in after.keys() - before.keys())
