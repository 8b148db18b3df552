"""What runs a guest's instructions: KVM where it really does, else QEMU itself (TCG).

That /dev/kvm opens proves nothing: on a rented machine it may be an emulation of one, under which no guest
ever says a word (tried). So a boot sector of ours must print its line first, once a run and host.
"""

from __future__ import annotations

import json
import posixpath
import secrets
import threading
from dataclasses import dataclass

from runner.base.errors import Interrupted, SendenseError
from runner.base.waiting import NEVER, until
from runner.events.check_results import Observation, good, met, noted
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.step.context import Context
from runner.step.tools import HERE, ToolMissing
from steps.boot.errors import BootError
from steps.boot.last_words import last_words
from steps.boot.sandbox import SANDBOX
from steps.qemu.system import QEMU_SYSTEM
from steps.values.drill import Accelerator, AcceleratorChoice

DEVICE = "/dev/kvm"

_LOOKED_AT = "KVM, for restore points that are booted"

TRIAL_TIMEOUT = 12.0
"""Seconds for the boot sector's line: half a second with KVM on a quiet machine, and less than that under
TCG."""

TRANSLATED = 128
"""MiB of translated code that TCG keeps at most; by itself it takes an eighth of the guest's memory, and up
to 1 GiB. A small Linux that boots makes 59 MB of it (``info jit``, 7.2)."""

_CODE = bytes.fromhex("31c0 8ed8 be167c fc ac 84c0 7406 baf803 ee ebf5 f4 ebfd")
"""Prints the bytes behind it on COM1, up to a zero, and halts:
``xor ax,ax; mov ds,ax; mov si,0x7c16; cld; 1: lodsb; test al,al; jz 2f; mov dx,0x3f8; out dx,al; jmp 1b;
2: hlt; jmp 2b``"""


@dataclass(frozen=True)
class Chosen:
    accelerator: Accelerator
    why: str
    """Why it is not KVM, in words; empty where it is."""

    def argument(self, *, smm: bool) -> str:
        """Of QEMU's -accel, for a machine with or without system management mode.

        In that mode each CPU waits for all others, and spins. With a thread for each of two CPUs, OVMF took
        25 CPU seconds and three minutes to boot on two busy cores, and with one thread 4.4, as with one CPU
        (measured with 7.2)."""
        if self.accelerator == "kvm":
            return "kvm"
        return f"tcg,tb-size={TRANSLATED}{',thread=single' if smm else ''}"


@dataclass(frozen=True)
class _Trial:
    found: str
    """Why guests do not run with KVM there, in words; empty if they do."""
    remedy: str = ""


def choose(ctx: Context, host: Host, choice: AcceleratorChoice) -> Chosen:
    """Raises BootError where KVM alone is wanted and does not work, ToolMissing, HostError, Interrupted."""
    if choice == "tcg":
        return Chosen("tcg", "the job says so")
    trial = _tried(ctx, host)
    if not trial.found:
        return Chosen("kvm", "")
    if choice == "kvm":
        remedy = f"{trial.remedy}, " if trial.remedy else ""
        raise BootError(
            f"host {host.name} runs no guests with KVM: {trial.found}; {remedy}or set `accelerator: auto`"
        )
    return Chosen("tcg", trial.found)


def observation(ctx: Context, host: Host) -> Observation:
    """For a doctor: how drills would run on `host`, which has QEMU."""
    subject = f"host {host.name}"
    try:
        return _observed(subject, _tried(ctx, host))
    except Interrupted:
        raise
    except SendenseError as error:
        return met(subject, _LOOKED_AT, error)


def here() -> Observation:
    """Of this machine, see `runner.step.tools.Program.here`."""
    here = LocalHost(HERE)
    try:
        QEMU_SYSTEM.version_on(here)
        return _observed(HERE, _try(here, NEVER))
    except ToolMissing:
        return noted(HERE, _LOOKED_AT, f"not tried without {QEMU_SYSTEM.program}")
    except SendenseError as error:
        return noted(HERE, _LOOKED_AT, error.message)


def _observed(subject: str, trial: _Trial) -> Observation:
    if not trial.found:
        return good(subject, _LOOKED_AT, "guests run with KVM")
    slow = f"{trial.found}, so drills use TCG, which is 10 to 50 times slower"
    return noted(subject, _LOOKED_AT, slow, trial.remedy)


def _tried(ctx: Context, host: Host) -> _Trial:
    QEMU_SYSTEM.require(ctx, host)
    return ctx.once(("kvm", host.name), lambda: _try(host, ctx.stop))


def _try(host: Host, stop: threading.Event) -> _Trial:
    """`host` has QEMU."""
    if host.run(("test", "-e", DEVICE), ok=(0, 1)).exit_code:
        return _Trial(f"it has no {DEVICE}", "enable virtualization in its firmware or its hypervisor")
    if host.run(("test", "-w", DEVICE), ok=(0, 1)).exit_code:
        account = host.account
        return _Trial(
            f"user {account} may not open {DEVICE}", f"add it to group kvm: usermod -aG kvm {account}"
        )
    return _boot(host, stop)


def _boot(host: Host, stop: threading.Event) -> _Trial:
    line = f"guest-{secrets.token_hex(8)}"
    with host.tempdir() as directory:
        sector = posixpath.join(directory, "sector")
        host.write(sector, (_CODE + line.encode()).ljust(510, b"\0") + b"\x55\xaa")
        child = host.popen(_trial_argv(sector))
        try:
            until(
                lambda: line in child.stderr() or child.poll() is not None,
                stop=stop,
                timeout=TRIAL_TIMEOUT,
            )
        except TimeoutError:
            return _Trial(f"{DEVICE} opens, but a guest printed nothing within {TRIAL_TIMEOUT:.0f} s")
        finally:
            child.stop()
        if line in child.stderr():
            return _Trial("")
        return _Trial(f"QEMU cannot use {DEVICE} ({last_words(child) or 'it printed nothing'})")


def _trial_argv(sector: str) -> tuple[str, ...]:
    node = {"driver": "raw", "node-name": "sector", "file": {"driver": "file", "filename": sector}}
    return (
        *(QEMU_SYSTEM.program, "-nodefaults", "-no-user-config", "-display", "none", *SANDBOX),
        *("-machine", "pc", "-accel", "kvm", "-cpu", "host", "-m", "32"),
        *("-blockdev", json.dumps(node)),
        *("-device", "ide-hd,drive=sector"),
        *("-chardev", "stdio,id=said,signal=off", "-device", "isa-serial,chardev=said"),
    )
