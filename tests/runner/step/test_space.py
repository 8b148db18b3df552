"""What all nodes need in one place, against what is free there."""

from __future__ import annotations

import pytest

from runner.base.units import MiB
from runner.step.space import Space, summed


def space(least: int, most: int, *, free: int = 100, path: str = "/backup", host: str = "hub") -> Space:
    sizes = {"least": least * MiB, "most": most * MiB, "free": free * MiB}
    return Space(host=host, path=path, of=f"disk of {least}", **sizes)


@pytest.mark.parametrize(
    ("several", "fits"),
    [
        pytest.param([space(10, 40), space(20, 60)], "yes", id="yes"),
        pytest.param([space(10, 60), space(20, 60)], "perhaps", id="each fits alone"),
        pytest.param([space(60, 60), space(50, 90)], "no", id="each fits alone, both do not"),
    ],
)
def test_the_sum_counts(several: list[Space], fits: str) -> None:
    (found,) = summed(several)
    assert found.fits == fits
    assert (found.problem is not None, found.note is not None) == (fits == "no", fits == "perhaps")
    assert found.observation().state == {"yes": "good", "perhaps": "noted", "no": "wrong"}[fits]


def test_each_place_has_a_sum_of_its_own() -> None:
    found = summed([space(60, 60), space(60, 60, path="/other"), space(60, 60, host="local")])
    assert [(one.host, one.path, one.problem) for one in found] == [
        ("hub", "/backup", None), ("hub", "/other", None), ("local", "/backup", None)
    ]  # fmt: skip


def test_the_sentence_names_numbers_disks_and_what_to_do() -> None:
    (found,) = summed([space(60, 60), space(50, 90)])
    assert found.problem == (
        "110.0 MiB at least, up to 150.0 MiB needed in /backup on hub, 100.0 MiB free: it does not fit (disk of 60; disk of 50); "
        "free at least 10.0 MiB there, or write to another disk"
    )
