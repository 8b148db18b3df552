"""KVM is used where a guest really runs with it, and the reason is told where not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from steps.boot import accelerator
from steps.boot import start as starting
from steps.boot.accelerator import choose, observation
from steps.boot.errors import BootError
from steps.boot.start import start
from tests.guests.boot_sectors import disk, sector
from tests.hub import Hub
from tests.steps.boot.machines import CAPACITY, needs_qemu, one_disk

HANG = b"\xeb\xfe"
_argv = accelerator._trial_argv


def under_tcg(sector: str) -> tuple[str, ...]:
    """As if it were KVM: it can be relied on here."""
    said = {"kvm": "tcg", "host": "max"}
    return tuple(said.get(word, word) for word in _argv(sector))


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accelerator, "DEVICE", str(device))
    monkeypatch.setattr(accelerator, "_trial_argv", under_tcg)


@needs_qemu
def test_kvm_is_used_where_a_guest_printed_its_line(any_hub: Hub, works):
    ctx = any_hub.context()
    assert choose(ctx, ctx.host("hub"), "auto") == accelerator.Chosen("kvm", "")
    assert choose(ctx, ctx.host("hub"), "kvm").argument(smm=True) == "kvm"
    assert observation(ctx, ctx.host("hub")).sentence == "guests run with KVM"


@needs_qemu
def test_kvm_under_which_no_guest_prints_anything_is_not_used_and_that_is_said(hub: Hub, works, monkeypatch):
    monkeypatch.setattr(accelerator, "_CODE", HANG)
    monkeypatch.setattr(accelerator, "TRIAL_TIMEOUT", 1.0)
    ctx = hub.context()
    chosen = choose(ctx, ctx.host("hub"), "auto")
    assert chosen.accelerator == "tcg"
    assert chosen.why.endswith("/kvm opens, but a guest printed nothing within 1 s")
    with pytest.raises(BootError, match=r"host hub runs no guests with KVM: .* printed nothing"):
        choose(ctx, ctx.host("hub"), "kvm")
    found = observation(ctx, ctx.host("hub"))
    assert found.state == "noted"
    assert "so drills use TCG, which is 10 to 50 times slower" in found.sentence


@needs_qemu
def test_kvm_that_qemu_cannot_use_is_told_in_its_words(hub: Hub, works, monkeypatch):
    monkeypatch.setattr(accelerator, "_trial_argv", lambda sector: (*under_tcg(sector), "-device", "nothing"))
    ctx = hub.context()
    why = choose(ctx, ctx.host("hub"), "auto").why
    assert "kvm (-device nothing: 'nothing' is not a valid device model name)" in why


@needs_qemu
def test_a_host_without_kvm_is_tried_once_a_run(hub: Hub, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(accelerator, "DEVICE", str(tmp_path / "absent"))
    ctx = hub.context()
    assert choose(ctx, ctx.host("hub"), "auto").why == f"it has no {tmp_path}/absent"
    monkeypatch.setattr(accelerator, "DEVICE", "/dev/null")
    assert choose(hub.context("another"), ctx.host("hub"), "auto").why == f"it has no {tmp_path}/absent"


@needs_qemu
def test_a_user_who_may_not_open_it_is_told_the_group(hub: Hub, works, monkeypatch, tmp_path: Path):
    # Root may write to every file.
    denying = tmp_path / "test"
    denying.write_text('#!/bin/sh\n[ "$1" != -w ]\n')
    denying.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ctx = hub.context()
    account = ctx.host("hub").account
    found = observation(ctx, ctx.host("hub"))
    assert found.sentence == (
        f"user {account} may not open {tmp_path}/kvm, so drills use TCG, which is 10 to 50 times slower; "
        f"add it to group kvm: usermod -aG kvm {account}"
    )


def test_tcg_that_was_asked_for_asks_nothing(hub: Hub, monkeypatch):
    monkeypatch.setattr(accelerator, "_try", None)
    ctx = hub.context()
    assert choose(ctx, ctx.host("hub"), "tcg").argument(smm=False) == "tcg,tb-size=128"


def test_cpus_that_wait_for_each_other_share_one_thread_of_tcg(hub: Hub):
    ctx = hub.context()
    assert choose(ctx, ctx.host("hub"), "tcg").argument(smm=True).endswith(",thread=single")


@needs_qemu
def test_a_machine_that_runs_with_something_else_than_was_chosen_is_not_used(hub: Hub, tmp_path: Path):
    """QEMU is asked, whatever it was told."""
    source = disk(tmp_path / "disk.raw", sector("hangs"), CAPACITY)
    ctx = hub.context()
    with start(ctx, ctx.host("hub"), one_disk(source)) as running:
        starting._check_accelerator(running.host, accelerator.Chosen("tcg", ""), running.monitor)
        with pytest.raises(BootError, match="was to use kvm, and runs without KVM"):
            starting._check_accelerator(running.host, accelerator.Chosen("kvm", ""), running.monitor)


@needs_qemu
def test_this_machine_is_looked_at_without_a_job(works):
    assert accelerator.here().sentence == "guests run with KVM"
