"""A machine in QEMU on a host, leashed to us: paused, with nothing of it on any disk.

directory/qmp serial agent        unix sockets, forwarded here; the picture is put there too
scratch/disk-2000.qcow2 …         overlays and EFI's variables: gone as soon as QEMU has them open
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import cast

from runner.base.waiting import until
from runner.hosts.host import Host
from runner.step.context import Context
from steps.boot import accelerator, firmware, network, overlays
from steps.boot.accelerator import Chosen
from steps.boot.errors import BootError
from steps.boot.firmware import Firmware
from steps.boot.last_words import ended
from steps.boot.monitor import QemuMonitor, connected
from steps.boot.nvme_errors import NvmeErrors
from steps.boot.request import BootRequest
from steps.boot.running import Monitor, Running
from steps.boot.sandbox import SANDBOX
from steps.machine.hardware import hardware
from steps.nbd.announced import Announced
from steps.nbd.forwards import kind_for
from steps.qemu.img import QEMU_IMG
from steps.qemu.system import QEMU_SYSTEM

START_TIMEOUT = 60.0
"""Seconds for QEMU to make its machine: a moment, but for the images that it opens on a busy disk."""

FIRMWARE_LOG = "firmware-log"


@dataclass(frozen=True)
class _Plan:
    """What is known before anything is started."""

    request: BootRequest
    chosen: Chosen
    qemu: str
    overlays: Mapping[int, int]
    directory: str

    @property
    def ports(self) -> tuple[int, ...]:
        return network.ports(self.request.expect)

    @property
    def agent(self) -> bool:
        return any(each.agent for each in self.request.expect)

    def socket(self, name: str) -> str:
        return posixpath.join(self.directory, name)


@contextmanager
def start(ctx: Context, host: Host, request: BootRequest) -> Iterator[Running]:
    """It ends with the block, and with this process. Raises BootError, ToolMissing, OvmfMissing,
    ForwardsForbidden, NoRoomError, NoSpaceError, HostError, CommandError, Interrupted."""
    version = QEMU_SYSTEM.require(ctx, host)
    QEMU_IMG.require(ctx, host)
    _check_sockets(ctx, host)
    sizes = overlays.shares(request.machine, request.limits.overlay)
    chosen = accelerator.choose(ctx, host, request.accelerator)
    with ExitStack() as closing:
        directory = closing.enter_context(host.tempdir())
        plan = _Plan(request, chosen, version, sizes, directory)
        yield _run(ctx, host, plan, closing)


def _check_sockets(ctx: Context, host: Host) -> None:
    """QEMU's monitor rules the machine: no port that others may connect to leads to it."""
    if kind_for(ctx, host) != "sockets":
        raise BootError(
            f"the sshd of {host.name} forwards no unix sockets, through which QEMU is controlled: add "
            "AllowStreamLocalForwarding yes to its sshd_config, or drill on another host"
        )


def _run(ctx: Context, host: Host, plan: _Plan, closing: ExitStack) -> Running:
    with host.tempdir(plan.request.limits.overlay, on_disk=True) as scratch:
        request = plan.request
        overlays.make(host, scratch, request.machine, plan.overlays)
        boots = firmware.prepare(ctx, host, request.machine, request.disks, scratch)
        child = Announced(host, _argv(plan, boots, scratch), plan.socket("qmp"))
        closing.callback(child.stop)
        _await_ready(ctx, host, child)
        control = closing.enter_context(host.forward((plan.socket("qmp"),))).sockets[0]
        monitor = closing.enter_context(connected(child, control, START_TIMEOUT, ctx.stop))
    _check_accelerator(host, plan.chosen, monitor)
    names = ("serial", "agent") if plan.agent else ("serial",)
    # Apart from what other work of this run goes through: a guest may say a great deal.
    said = closing.enter_context(host.forward(tuple(map(plan.socket, names)), dedicated=True)).sockets
    return Running(
        host=host,
        directory=plan.directory,
        child=child,
        monitor=_telling(plan, monitor),
        serial=said[0],
        agent=said[1] if plan.agent else None,
        ports=_ports(host, plan, monitor, closing),
        accelerator=plan.chosen.accelerator,
        accelerator_why=plan.chosen.why,
        firmware=boots.name,
        qemu=plan.qemu,
        firmware_log=FIRMWARE_LOG if boots.machine.firmware == "bios" else "",
    )


def _argv(plan: _Plan, boots: Firmware, scratch: str) -> tuple[str, ...]:
    machine, request = boots.machine, plan.request
    names = ("serial", "agent") if plan.agent else ("serial",)
    return (
        *(QEMU_SYSTEM.program, "-nodefaults", "-no-user-config", "-display", "none", "-S", *SANDBOX),
        *("-accel", plan.chosen.argument(smm=machine.firmware == "efi-secure")),
        # So that it can still be looked at: a guest that turned itself off, or panicked, is paused.
        *("-action", "reboot=reset,shutdown=pause,panic=pause"),
        *overlays.arguments(scratch, machine, plan.overlays, request.disks),
        *boots.arguments,
        *network.arguments(machine, plan.ports, request.guest_address),
        *(word for name in names for word in ("-chardev", _socket(name, plan.socket(name)))),
        *(("-chardev", f"ringbuf,id={FIRMWARE_LOG},size=65536") if machine.firmware == "bios" else ()),
        *hardware(machine, plan.chosen.accelerator, plan.agent),
        # Last: once it is there, all others are.
        *("-chardev", _socket("qmp", plan.socket("qmp")), "-mon", "chardev=qmp,mode=control"),
    )


def _socket(name: str, path: str) -> str:
    return f"socket,id={name},path={path.replace(',', ',,')},server=on,wait=off"


def _await_ready(ctx: Context, host: Host, child: Announced) -> None:
    def is_ready() -> bool:
        if not (ready := child.ready()) and child.poll() is not None:
            raise ended(child)
        return ready

    def late() -> BootError:
        return BootError(f"QEMU on {host.name} did not start within {START_TIMEOUT:.0f} s")

    until(is_ready, stop=ctx.stop, timeout=START_TIMEOUT, late=late)


def _check_accelerator(host: Host, chosen: Chosen, monitor: QemuMonitor) -> None:
    """What runs is what was chosen."""
    enabled = cast("dict[str, bool]", monitor.execute("query-kvm"))["enabled"]
    if enabled != (chosen.accelerator == "kvm"):
        used = "with KVM" if enabled else "without KVM"
        raise BootError(f"QEMU on {host.name} was to use {chosen.accelerator}, and runs {used}")


def _telling(plan: _Plan, monitor: QemuMonitor) -> Monitor:
    disks = [disk for disk in plan.request.machine.disks if disk.controller == "nvme"]
    sizes = {overlays.node(disk): plan.overlays[disk.key] for disk in disks}
    return NvmeErrors(monitor, sizes) if sizes else monitor


def _ports(host: Host, plan: _Plan, monitor: QemuMonitor, closing: ExitStack) -> Mapping[int, str]:
    if not plan.ports:
        return {}
    said = str(monitor.execute("human-monitor-command", **{"command-line": "info usernet"}))
    there = network.forwarded(said)
    if set(there) != set(plan.ports):
        raise BootError(f"QEMU on {host.name} has no forward to each of the ports {plan.ports}")
    if host.local:
        return {port: f"127.0.0.1:{there[port]}" for port in plan.ports}
    # An sshd that forwards to unix sockets forwards to ports too (tried: `steps.nbd.forwards`).
    far = [f"127.0.0.1:{there[port]}" for port in plan.ports]
    near = closing.enter_context(host.forward(far, dedicated=True)).sockets
    return dict(zip(plan.ports, near, strict=True))
