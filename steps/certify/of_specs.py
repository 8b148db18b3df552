"""Specs of new VMs that a vCenter should refuse, or take; what it makes of them is removed at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steps.certify.outcomes import Expected, failed
from steps.certify.scratch import Scratch
from steps.certify.trial import Trial
from steps.vsphere import vmomi


def _disk(spec: Any) -> Any:
    return next(
        change.device
        for change in spec.deviceChange
        if isinstance(change.device, vmomi.vim.vm.device.VirtualDisk)
    )


def _add(spec: Any, device: Any) -> None:
    of: Any = vmomi.vim.vm.device.VirtualDeviceSpec
    spec.deviceChange.append(of(operation=of.Operation.add, device=device))


def parent(spec: Any) -> None:
    backing = _disk(spec).backing
    backing.parent = type(backing)(fileName=backing.fileName, diskMode="persistent")


def keyboard(spec: Any) -> None:
    of: Any = vmomi.vim.vm.device.VirtualKeyboard
    _add(spec, of(key=-600, controllerKey=300, unitNumber=0))


def unit_of_the_controller(spec: Any) -> None:
    _disk(spec).unitNumber = 7


def negative_ide(spec: Any) -> None:
    _disk(spec).controllerKey = -200


def boot_order(spec: Any) -> None:
    options: Any = vmomi.vim.vm.BootOptions
    spec.bootOptions = options(bootOrder=[options.BootableDiskDevice(deviceKey=-2000)])


def missing_image(spec: Any) -> None:
    of: Any = vmomi.vim.vm.device.VirtualCdrom
    store = _disk(spec).backing.fileName
    image = of.IsoBackingInfo(fileName=f"{store} sendense-certify-nothing.iso")
    _add(spec, of(key=-3000, controllerKey=200, unitNumber=0, backing=image))


def video_card(spec: Any) -> None:
    of: Any = vmomi.vim.vm.device.VirtualVideoCard
    _add(spec, of(key=-500, controllerKey=100, unitNumber=0, videoRamSizeInKB=8192))


def taken(change: Callable[[Any], None]) -> Callable[[Scratch], str | None]:
    def run(scratch: Scratch) -> str | None:
        spec = scratch.spec("-c")
        change(spec)
        return failed(scratch.offer(spec))

    return run


def refused(change: Callable[[Any], None], expected: Expected) -> Callable[[Scratch], str | None]:
    def run(scratch: Scratch) -> str | None:
        spec = scratch.spec("-c")
        change(spec)
        return expected.difference(scratch.offer(spec))

    return run


INVALID = Expected("InvalidDeviceSpec")

TRIALS = (
    Trial(33, "a new disk with a parent is InvalidDeviceSpec", refused(parent, INVALID)),
    Trial(33, "a device that every VM has is InvalidDeviceSpec", refused(keyboard, INVALID)),
    Trial(
        33,
        "unit 7 of a SCSI controller is InvalidDeviceSpec",
        refused(unit_of_the_controller, INVALID),
    ),
    Trial(33, "a video card in the spec takes the place of the VM's own one", taken(video_card)),
    Trial(45, "controller key -200 is InvalidDeviceSpec", refused(negative_ide, INVALID)),
    Trial(45, "a boot order by keys of new devices is refused", refused(boot_order, Expected("MethodFault"))),
    Trial(45, "a missing image of a CD-ROM is InvalidDeviceSpec", refused(missing_image, INVALID)),
)
