"""A VM's properties as the API gives them: config, runtime, guest, summary, files."""

from __future__ import annotations

import copy
from typing import Any

from runner.base.units import MiB
from steps.lab.simulator import settings
from steps.lab.simulator.devices import View, disk_device
from steps.lab.simulator.machine import Machine, Question
from steps.lab.simulator.vmodl import vim

KEY = vim.encryption.CryptoKeyId(
    keyId="1d6c3f3e", providerId=vim.encryption.KeyProviderId(id="native-key-provider")
)
"""Of what is encrypted."""

TOOLS_STATUS = {"running": "toolsOk", "not-running": "toolsNotRunning", "not-installed": "toolsNotInstalled"}


def config(machine: Machine, views: dict[int, View], tracking: bool) -> Any:
    """VirtualMachineConfigInfo with the disks as in `views`, by key."""
    spec = machine.spec
    made = vim.vm.ConfigInfo(
        changeVersion=machine.change_version,
        modified=machine.modified,
        name=machine.name,
        guestFullName=spec.guest,
        version=f"vmx-{spec.hardware_version:02}",
        uuid=machine.uuid,
        instanceUuid=machine.instance_uuid,
        template=spec.template,
        guestId=spec.guest,
        alternateGuestName="",
        annotation=spec.annotation,
        files=vim.vm.FileInfo(
            vmPathName=machine.file("vmx"),
            snapshotDirectory=machine.place(""),
            suspendDirectory=machine.place(""),
            logDirectory=machine.place(""),
        ),
        flags=vim.vm.FlagInfo(
            snapshotDisabled=spec.snapshots == "disabled", snapshotLocked=spec.snapshots == "locked"
        ),
        defaultPowerOps=vim.vm.DefaultPowerOpInfo(),
        hardware=vim.vm.VirtualHardware(
            numCPU=spec.cpus,
            numCoresPerSocket=1,
            memoryMB=spec.memory // MiB,
            device=_devices(machine, views),
        ),
        extraConfig=[
            vim.option.OptionValue(key=key, value=value)
            for key, value in machine.extra_config(tracking=tracking).items()
        ],
        bootOptions=vim.vm.BootOptions(
            enterBIOSSetup=False, efiSecureBootEnabled=spec.secure_boot, bootRetryEnabled=False
        ),
        firmware=spec.firmware,
        keyId=KEY if spec.encrypted else None,
        changeTrackingEnabled=tracking,
        ftInfo=_fault_tolerance(machine),
        datastoreUrl=[
            vim.vm.ConfigInfo.DatastoreUrlPair(name=store.name, url=store.url)
            for store in machine.datastores()
        ],
    )
    settings.show(machine.settings, made)
    return made


def _fault_tolerance(machine: Machine) -> Any:
    """`role`: 1 of the primary, 2 of a secondary (API reference, FaultToleranceConfigInfo)."""
    if machine.spec.fault_tolerance == "none":
        return None
    return vim.vm.FaultToleranceConfigInfo(
        role=1 if machine.spec.fault_tolerance == "primary" else 2,
        instanceUuids=[machine.instance_uuid],
        configPaths=[machine.file("vmx")],
    )


def _devices(machine: Machine, views: dict[int, View]) -> list[Any]:
    disks = [
        disk_device(disk, number, views[disk.key], machine.layer_file(disk), machine.datastore_of(disk).ref)
        for number, disk in enumerate(machine.disks, 1)
        if disk.key in views
    ]
    for disk in disks if machine.spec.encrypted else ():
        disk.backing.keyId = KEY
    others = [copy.copy(one) for one in machine.devices.values()]
    for controller in others:
        if isinstance(controller, vim.vm.device.VirtualController):
            controller.device = [one.key for one in (*others, *disks) if one.controllerKey == controller.key]
    return [*others, *disks]


def runtime(machine: Machine) -> Any:
    return vim.vm.RuntimeInfo(
        host=machine.host,
        connectionState=machine.spec.connection,
        powerState=machine.power,
        question=_question(machine.question),
        faultToleranceState="notConfigured" if machine.spec.fault_tolerance == "none" else "running",
        toolsInstallerMounted=False,
        numMksConnections=0,
        recordReplayState="inactive",
        onlineStandby=False,
        consolidationNeeded=machine.consolidation_needed,
    )


def _question(asked: Question | None) -> Any:
    if asked is None:
        return None
    answers = [
        vim.ElementDescription(key=str(number), label=label, summary=label)
        for number, label in enumerate(asked.choices)
    ]
    return vim.vm.QuestionInfo(
        id=asked.id,
        text=asked.text,
        choice=vim.option.ChoiceOption(choiceInfo=answers, defaultIndex=0),
        message=[vim.vm.Message(id=asked.message, text=asked.text)] if asked.message else [],
    )


def guest(machine: Machine) -> Any:
    running, not_installed = machine.tools_run, machine.spec.tools == "not-installed"
    return vim.vm.GuestInfo(
        toolsStatus=TOOLS_STATUS[machine.spec.tools if running or not_installed else "not-running"],
        toolsRunningStatus="guestToolsRunning" if running else "guestToolsNotRunning",
        toolsVersionStatus2="guestToolsNotInstalled" if not_installed else "guestToolsCurrent",
        guestState="running" if running else "notRunning",
        guestId=machine.spec.guest,
        guestFullName=machine.spec.guest,
        hostName=machine.stem if running else None,
    )


def summary(machine: Machine) -> Any:
    spec = machine.spec
    return vim.vm.Summary(
        vm=machine.ref,
        runtime=runtime(machine),
        config=vim.vm.Summary.ConfigSummary(
            name=machine.name,
            template=spec.template,
            vmPathName=machine.file("vmx"),
            memorySizeMB=spec.memory // MiB,
            numCpu=spec.cpus,
            numEthernetCards=len(machine.cards),
            annotation=spec.annotation,
            numVirtualDisks=len(machine.disks),
            uuid=machine.uuid,
            instanceUuid=machine.instance_uuid,
            guestId=spec.guest,
            guestFullName=spec.guest,
        ),
        quickStats=vim.vm.Summary.QuickStats(guestHeartbeatStatus="green" if machine.tools_run else "gray"),
        overallStatus="green",
    )


def capability(machine: Machine) -> Any:
    made = vim.vm.Capability(
        snapshotOperationsSupported=not machine.spec.template,
        multipleSnapshotsSupported=True,
        snapshotConfigSupported=True,
        poweredOffSnapshotsSupported=True,
        memorySnapshotsSupported=True,
        revertToSnapshotSupported=True,
        quiescedSnapshotsSupported=True,
        changeTrackingSupported=machine.spec.change_tracking_supported,
    )
    made.diskOnlySnapshotOnSuspendedVMSupported = True
    return made


def layout(machine: Machine) -> Any:
    """VirtualMachineFileLayoutEx: every file, and each disk's chain of them from the base up."""
    files: list[Any] = []

    def add(name: str, kind: str, size: int) -> int:
        files.append(
            vim.vm.FileLayoutEx.FileInfo(
                key=len(files), name=name, type=kind, size=size, uniqueSize=size, accessible=True
            )
        )
        return len(files) - 1

    for path, kind in ((machine.path("vmx"), "config"), (machine.nvram, "nvram")):
        if path.exists():
            add(machine.place(path.name), kind, path.stat().st_size)
    disks = []
    for disk in machine.disks:
        name = machine.layer_file(disk)
        chain = []
        for layer in disk.layers:
            descriptor = add(name(layer), "diskDescriptor", layer.descriptor.stat().st_size)
            extent_name = name(layer).rsplit("/", 1)[0] + "/" + layer.raw.path.name
            extent = add(extent_name, "diskExtent", layer.raw.path.stat().st_blocks * 512)
            chain.append(vim.vm.FileLayoutEx.DiskUnit(fileKey=[descriptor, extent]))
        disks.append(vim.vm.FileLayoutEx.DiskLayout(key=disk.key, chain=chain))
    return vim.vm.FileLayoutEx(file=files, disk=disks, timestamp=machine.world.now())
