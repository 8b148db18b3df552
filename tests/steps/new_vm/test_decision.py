"""What becomes of a VM's devices and settings, from configurations as vCenters give them."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import SoapAdapter, vim
from pyVmomi.VmomiSupport import newestVersions

from runner.base.units import GiB, MiB, TiB
from steps.new_vm.decision import Decided
from steps.new_vm.saved_inventory import SavedInventory
from steps.vsphere import specs
from steps.vsphere.taken import Taken
from steps.vsphere.vm_inventory import VmInventory
from steps.vsphere.vm_spec import Unrecorded
from tests.steps.new_vm.vms import (
    about,
    card,
    change,
    decided,
    device,
    disk,
    flat,
    net,
    placement,
    port_group,
    pvscsi,
    saved,
    store,
)

ISO = device.VirtualCdrom.IsoBackingInfo(fileName="[iso] debian.iso")


def hanging(kind: str, key: int, label: str, controller: int = 100, unit: int = 20, **more: Any) -> Any:
    return getattr(device, kind)(key=key, controllerKey=controller, unitNumber=unit, deviceInfo=about(label), **more)


KINDS = {
    "cd": hanging("VirtualCdrom", 3000, "CD/DVD drive 1", 200, 0, backing=ISO),
    "cd on sata": hanging("VirtualCdrom", 16001, "CD/DVD drive 2", 15000, 1, backing=ISO),
    "floppy": hanging(
        "VirtualFloppy",
        8000,
        "Floppy drive 1",
        400,
        0,
        backing=device.VirtualFloppy.ImageBackingInfo(fileName="[a] b.flp"),
    ),
    "serial to file": hanging(
        "VirtualSerialPort",
        9000,
        "Serial port 1",
        400,
        0,
        yieldOnPoll=True,
        backing=device.VirtualSerialPort.FileBackingInfo(fileName="[ds1] web/serial.log"),
    ),
    "serial to network": hanging(
        "VirtualSerialPort",
        9001,
        "Serial port 2",
        400,
        1,
        yieldOnPoll=True,
        backing=device.VirtualSerialPort.URIBackingInfo(serviceURI="telnet://10.0.0.1:13370", direction="server"),
    ),
    "usb": hanging(
        "VirtualUSBXHCIController", 14000, "USB xHCI controller", 100, 23, busNumber=0, autoConnectDevices=False
    ),
    "watchdog": hanging("VirtualWDT", 18000, "Watchdog timer 1", 100, 24, runOnBoot=True, running=True),
}

LOST = {
    "usb device": hanging("VirtualUSB", 21000, "USB 1", 14000, 0, connected=True),
    "passthrough": hanging("VirtualPCIPassthrough", 13000, "PCI device 0"),
    "sr-iov": hanging("VirtualSriovEthernetCard", 4001, "Network adapter 2", allowGuestOSMtuChange=False),
    "sound": hanging("VirtualHdAudioCard", 5000, "Sound card"),
    "parallel": hanging("VirtualParallelPort", 10000, "Parallel port 1", 400, 0),
    "nvdimm": hanging("VirtualNVDIMM", 29000, "NVDIMM 1", 28000, 0, capacityInMB=1024),
    "clock": hanging("VirtualPrecisionClock", 19000, "Precision clock"),
    "scsi passthrough": hanging("VirtualSCSIPassthrough", 2010, "SCSI device 1", 1000, 10),
}


def sent(found: Decided) -> str:
    """The spec as it goes over the wire: what lacks a required property cannot be written."""
    assert found.machine is not None, found.problems
    spec = specs.import_spec(found.machine, "web (restoring)", {"sendense.restore": "{}"}, Unrecorded())
    return SoapAdapter.SerializeToStr(spec, version=newestVersions.Get("vim"))


@pytest.mark.parametrize("kind", KINDS)
def test_devices_on_the_list_come_back(kind: str) -> None:
    sata = device.VirtualAHCIController(
        key=15000, busNumber=0, controllerKey=100, deviceInfo=about("SATA controller 0")
    )
    found = decided(saved(pvscsi(), disk(), sata, KINDS[kind]))
    assert type(KINDS[kind]).__name__.rpartition(".")[2] in sent(found)
    assert change(found, KINDS[kind].deviceInfo.label).kind != "left out"


@pytest.mark.parametrize("kind", LOST)
def test_devices_that_are_not_on_it_are_left_out_with_a_word_and_keep_nothing_from_coming_back(kind: str) -> None:
    found = decided(saved(pvscsi(), disk(), LOST[kind]))
    assert f'"{type(LOST[kind]).__name__.rpartition(".")[2]}"' not in sent(found)
    lost = change(found, LOST[kind].deviceInfo.label)
    assert (lost.kind, lost.warn, lost.becomes) == ("left out", True, "")
    assert lost.why


def test_a_kind_of_device_that_no_version_of_ours_knows_is_left_out() -> None:
    config = saved()
    config.json["hardware"]["device"].append({"_type": "VirtualAbacus", "key": 77})  # type: ignore[index,call-overload,union-attr]
    found = decided(saved_again(config))
    assert change(found, "VirtualAbacus 77").kind == "left out"
    assert "VirtualAbacus" not in sent(found)


def saved_again(config: Any) -> Any:
    return type(config)(config.json)


def test_what_every_vm_has_is_in_no_spec() -> None:
    told = sent(decided())
    for kind in ("VirtualIDEController", "VirtualPS2Controller", "VirtualPCIController", "VirtualKeyboard", "VMCI"):
        assert kind not in told
    assert "VirtualMachineVideoCard" in told


def test_a_drive_comes_back_empty() -> None:
    found = decided(saved(pvscsi(), disk(), KINDS["cd"]))
    assert "debian.iso" not in sent(found)
    assert change(found, "CD/DVD drive 1").becomes == "CD/DVD drive, empty"


def test_a_drive_whose_controller_is_gone_is_left_out() -> None:
    found = decided(saved(pvscsi(), disk(), KINDS["cd on sata"]))
    assert "VirtualCdrom" not in sent(found)
    assert change(found, "CD/DVD drive 2").why == "what it was attached to is not restored"


# Disks


def test_only_the_disks_that_were_asked_for_come_back() -> None:
    found = decided(saved(pvscsi(), disk(), disk(2001, unit=1)), only=[2001])
    assert found.machine is not None
    assert [one.key for one in found.machine.disks] == [2001]
    assert (change(found, "Hard disk 1").kind, change(found, "Hard disk 1").warn) == ("left out", False)


def test_a_disk_that_no_snapshot_covered_is_missed_with_a_word() -> None:
    lost = change(decided(saved(pvscsi(), disk(), disk(2001, unit=1)), uncovered=[2001]), "Hard disk 2")
    assert (lost.kind, lost.warn, lost.why) == ("left out", True, "it is not in the restore point")


@pytest.mark.parametrize(
    ("provisioning", "backing", "thin", "eager"),
    [
        ("saved", {"thinProvisioned": True}, True, False),
        ("saved", {"thinProvisioned": False}, False, False),
        ("saved", {"thinProvisioned": False, "eagerlyScrub": True}, False, True),
        ("thin", {"thinProvisioned": False, "eagerlyScrub": True}, True, False),
        ("thick", {"thinProvisioned": True}, False, False),
    ],
)
def test_disks_are_thin_or_thick_as_they_were_or_as_is_asked(
    provisioning: str, backing: dict[str, bool], thin: bool, eager: bool
) -> None:
    found = decided(saved(pvscsi(), disk(backing=flat(**backing))), provisioning=provisioning)
    assert found.machine is not None
    assert (found.machine.disks[0].thin, found.machine.disks[0].eager) == (thin, eager)


def test_a_disk_on_a_delta_is_judged_by_its_base() -> None:
    base = flat("[ds2] web/web.vmdk", thinProvisioned=False)
    found = decided(saved(pvscsi(), disk(backing=flat("[ds1] web/web-000001.vmdk", parent=base))))
    assert found.machine is not None
    assert (found.machine.disks[0].datastore, found.machine.disks[0].thin) == ("ds2", False)


def test_a_raw_device_mapping_becomes_a_file() -> None:
    rdm = device.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName="[ds1] web/web_1.vmdk",
        lunUuid="0200",
        compatibilityMode="virtualMode",
        diskMode="persistent",
        uuid="6000",
    )
    found = decided(saved(pvscsi(), disk(backing=rdm)))
    assert "RawDiskMapping" not in sent(found)
    assert change(found, "Hard disk 1").warn


def test_datastores_are_those_of_each_disk_or_those_that_are_named() -> None:
    old = saved(pvscsi(), disk(), disk(2001, unit=1, backing=flat("[ds2] web/web_1.vmdk")))
    stores = placement([store(name, f"datastore-{name}") for name in ("ds1", "ds2", "ssd1", "ssd2")])

    def chosen(**options: Any) -> list[str]:
        found = decided(old, there=stores, **options)
        assert found.machine is not None
        return [found.machine.datastore, *(one.datastore for one in found.machine.disks)]

    assert chosen() == ["ds1", "ds1", "ds2"]
    assert chosen(datastore="ssd1") == ["ssd1", "ssd1", "ssd1"]
    assert chosen(datastores={"2001": "ssd2"}) == ["ds1", "ds1", "ssd2"]
    assert chosen(datastore="ssd1", datastores={"2001": "datastore-ssd2"}) == ["ssd1", "ssd1", "ssd2"]


def test_a_datastore_that_is_not_there_is_named_with_those_that_are() -> None:
    found = decided(there=placement([store("new1", "datastore-1"), store("new2", "datastore-2")]))
    assert found.machine is None
    (told,) = found.problems
    assert told.startswith("Hard disk 1, the VM's configuration cannot go to datastore ds1: ")
    assert "has new1, new2" in told


def test_the_configuration_goes_where_the_disks_go_if_its_own_datastore_is_gone() -> None:
    gone = saved(pvscsi(), disk(), files=vim.vm.FileInfo(vmPathName="[gone] web/web.vmx"))
    found = decided(gone, datastores={"2000": "ds2"})
    assert found.machine is not None
    assert found.machine.datastore == "ds2"


def test_a_datastore_in_maintenance_or_too_full_is_a_problem_before_anything_is_made() -> None:
    resting = decided(there=placement([store("ds1", "datastore-1", why_not="it is in maintenance mode")]))
    assert any("it is in maintenance mode" in one for one in resting.problems)
    full = [store("ds1", "datastore-1", free=2 * MiB)]
    thick = decided(there=placement(full), provisioning="thick", data=MiB)
    assert any("has 2.0 MiB free, and the disks that go there take 1.0 GiB" in one for one in thick.problems)
    assert decided(there=placement(full), data=MiB).problems == ()
    assert decided(there=placement([store("ds1", "datastore-1", free=None)]), data=TiB).problems == ()


def test_a_datastore_for_a_disk_that_is_not_restored_is_a_problem() -> None:
    assert any(
        "disk 2007, which is not restored; restored are 2000" in one
        for one in decided(datastores={"2007": "ds2"}).problems
    )


def test_a_disk_whose_controller_is_gone_is_a_problem() -> None:
    assert any("Hard disk 1 is attached to a controller" in one for one in decided(saved(disk())).problems)


def test_a_shared_bus_comes_back_unshared() -> None:
    found = decided(saved(pvscsi(sharedBus="physicalSharing"), disk()))
    assert "physicalSharing" not in sent(found)
    assert change(found, "SCSI controller 0").warn


# Networks and MAC addresses


def test_a_network_that_is_not_there_is_a_problem_that_names_those_that_are() -> None:
    found = decided(there=placement(nets=[net("prod"), net("dmz", "network-2")]))
    (told,) = found.problems
    assert "Network adapter 1 was on network VM Network" in told
    assert "`--network 'VM Network=NEW'`" in told
    assert "has dmz, prod: name one of them" in told


@pytest.mark.parametrize("wanted", ["prod", "network-7"])
def test_networks_are_mapped_by_name_or_moref(wanted: str) -> None:
    found = decided(there=placement(nets=[net("prod", "network-7")]), networks={"VM Network": wanted})
    assert "<deviceName>prod</deviceName>" in sent(found)
    assert change(found, "Network adapter 1").becomes == "vmxnet3 on prod"


def test_a_network_that_no_adapter_was_on_cannot_be_mapped() -> None:
    (told,) = decided(networks={"Production": "VM Network"}).problems
    assert told == "the VM had no network adapter on 'Production'; it was on VM Network"


def test_two_networks_of_one_name_are_told_apart_by_their_morefs() -> None:
    (told,) = decided(there=placement(nets=[net("VM Network"), port_group("VM Network", "dvportgroup-9")])).problems
    assert "several networks are called VM Network" in told
    assert "VM Network (network-1)" in told


def on_port_group(key: str, switch: str = "50 2e 11") -> Any:
    port = vim.dvs.PortConnection(switchUuid=switch, portgroupKey=key, portKey="17", connectionCookie=5)
    return card(backing=device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port))


def test_an_adapter_returns_to_its_port_group_whatever_that_is_called_now() -> None:
    old, known = (
        saved(pvscsi(), disk(), on_port_group("dvportgroup-9")),
        VmInventory(networks={"dvportgroup-9": "prod"}),
    )
    found = decided(old, inventory=known, there=placement(nets=[port_group("renamed", "dvportgroup-9")]))
    told = sent(found)
    assert "<portgroupKey>dvportgroup-9</portgroupKey>" in told
    assert "portKey" not in told
    assert change(found, "Network adapter 1").becomes == "vmxnet3 on renamed"


def test_in_another_vcenter_a_port_group_is_found_by_the_name_that_was_saved() -> None:
    old, known = (
        saved(pvscsi(), disk(), on_port_group("dvportgroup-9")),
        VmInventory(networks={"dvportgroup-9": "prod"}),
    )
    elsewhere = placement(
        nets=[port_group("prod", "dvportgroup-200", "50 aa"), port_group("x", "dvportgroup-9", "50 bb")]
    )
    assert "<portgroupKey>dvportgroup-200</portgroupKey>" in sent(decided(old, inventory=known, there=elsewhere))


def test_a_new_vm_gets_new_addresses_and_uuids() -> None:
    found = decided()
    told = sent(found)
    assert "macAddress" not in told
    assert "<addressType>generated</addressType>" in told
    assert "instanceUuid" not in told
    assert change(found, "MAC address of network adapter 1").becomes == "a new one"


@pytest.mark.parametrize(
    ("mac", "kind"),
    [
        ("00:50:56:9a:10:01", "assigned"),
        ("00:50:56:3f:10:01", "manual"),
        ("00:50:56:40:10:01", "assigned"),
        ("00:0c:29:aa:bb:cc", "generated"),
        ("02:42:ac:11:00:02", "manual"),
    ],
)
def test_an_address_that_is_kept_is_of_the_kind_that_vcenter_accepts(mac: str, kind: str) -> None:
    old = saved(pvscsi(), disk(), card(mac=mac.upper()))
    told = sent(decided(old, identity="keep", around={"taken": Taken()}))
    assert f"<addressType>{kind}</addressType><macAddress>{mac}</macAddress>" in told


def test_what_another_vm_has_is_not_kept_and_that_vm_is_named() -> None:
    taken = Taken(
        instance_uuids={"50130000-0000-0000-0000-000000000001": "old (vm-7)"},
        macs={"00:50:56:9a:10:01": "clone (vm-8)"},
    )
    found = decided(identity="keep", around={"taken": taken})
    told = sent(found)
    assert "macAddress" not in told
    assert "instanceUuid" not in told
    assert "<uuid>42130000-0000-0000-0000-000000000001</uuid>" in told
    lost = change(found, "MAC address of network adapter 1")
    assert (lost.why, lost.warn) == ("VM clone (vm-8) has it", True)
    assert change(found, "instance uuid").why == "VM old (vm-7) has it"


def test_where_a_vm_could_not_be_read_nothing_counts_as_free() -> None:
    found = decided(identity="keep", around={"taken": Taken(unread=("hidden (vm-9)",))})
    for what in ("instance uuid", "BIOS uuid", "MAC address of network adapter 1"):
        assert change(found, what).becomes == "a new one"
        assert "hidden (vm-9)" in change(found, what).why


def test_a_name_that_is_taken_is_a_problem() -> None:
    (told,) = decided(around={"holder": "VM vm-16"}).problems
    assert "already has a VM vm-16 called web, which is left alone" in told


# Firmware, TPM, encryption


def test_an_efi_vm_without_its_nvram_is_warned_of() -> None:
    lost = change(decided(saved(firmware="efi")), "NVRAM")
    assert (lost.kind, lost.warn) == ("left out", True)
    kept = decided(saved(firmware="efi"), nvram=True)
    assert kept.machine is not None
    assert kept.machine.nvram


def test_secure_boot_stays() -> None:
    found = decided(saved(firmware="efi", bootOptions=vim.vm.BootOptions(efiSecureBootEnabled=True)), nvram=True)
    assert "<efiSecureBootEnabled>true</efiSecureBootEnabled>" in sent(found)
    assert change(found, "firmware").becomes == "EFI with secure boot"


KEY = vim.encryption.CryptoKeyId(keyId="1d6c", providerId=vim.encryption.KeyProviderId(id="kms"))


def with_tpm() -> Any:
    tpm = hanging(
        "VirtualTPM", 11000, "Virtual TPM", endorsementKeyCertificateSigningRequest=[], endorsementKeyCertificate=[]
    )
    return saved(pvscsi(), disk(), tpm, firmware="efi", keyId=KEY)


def test_a_virtual_tpm_is_refused_with_what_it_means_for_the_guest() -> None:
    (told,) = decided(with_tpm(), nvram=True).problems
    assert "Virtual TPM and encryption" in told
    assert "`--tpm omit`" in told
    assert "BitLocker asks for its recovery key" in told


def test_it_is_omitted_if_asked_and_its_nvram_that_the_old_key_encrypts_too() -> None:
    found = decided(with_tpm(), nvram=True, tpm="omit")
    assert "VirtualTPM" not in sent(found)
    assert found.machine is not None
    assert not found.machine.nvram
    assert "BitLocker" in change(found, "Virtual TPM").why
    assert change(found, "encryption").becomes == "plain text"
    assert change(found, "NVRAM").kind == "left out"


def test_an_encrypted_disk_alone_is_refused_too() -> None:
    old = saved(pvscsi(), disk(backing=flat(keyId=KEY)))
    assert any("encryption" in one for one in decided(old).problems)
    assert change(decided(old, tpm="omit"), "Hard disk 1").warn


def test_a_boot_order_lacks_what_is_not_restored() -> None:
    of: Any = vim.vm.BootOptions
    order = [of.BootableDiskDevice(deviceKey=2001), of.BootableEthernetDevice(deviceKey=4000), of.BootableCdromDevice()]
    old = saved(pvscsi(), disk(), disk(2001, unit=1), card(), bootOptions=of(bootOrder=order))
    found = decided(old)
    assert found.machine is not None
    assert found.machine.boot_order == (("disk", 2001), ("ethernet", 4000), ("cdrom", None))
    assert "bootOrder" not in sent(found)
    partly = decided(old, only=[2000])
    assert partly.machine is not None
    assert partly.machine.boot_order == (("ethernet", 4000), ("cdrom", None))
    assert change(partly, "boot order").warn


# Virtual hardware


def test_hardware_newer_than_the_hosts_make_becomes_the_newest_that_they_do() -> None:
    found = decided(saved(version="vmx-21"), around={"versions": ["vmx-13", "vmx-19", "vmx-17"]})
    assert "<version>vmx-19</version>" in sent(found)
    assert change(found, "virtual hardware").warn
    assert change(decided(around={"versions": ["vmx-19"]}), "virtual hardware").kind == "kept"
    assert change(decided(saved(version="vmx-21")), "virtual hardware").kind == "kept"


def test_hardware_that_cannot_hold_the_disks_is_a_problem() -> None:
    nvme = device.VirtualNVMEController(
        key=31000, busNumber=0, controllerKey=100, deviceInfo=about("NVME controller 0")
    )
    found = decided(saved(nvme, disk(controller=31000)), around={"versions": ["vmx-11"]})
    assert any("NVMe controller 31000 takes virtual hardware vmx-13" in one for one in found.problems)


# Settings


def test_settings_of_the_guests_come_back() -> None:
    old = saved(
        cpuHotAddEnabled=True,
        memoryHotAddEnabled=True,
        nestedHVEnabled=True,
        flags=vim.vm.FlagInfo(diskUuidEnabled=True, vbsEnabled=True, monitorType="release", recordReplayEnabled=False),
        tools=vim.vm.ToolsConfigInfo(toolsVersion=12352, syncTimeWithHost=True, afterPowerOn=True),
        cpuAllocation=vim.ResourceAllocationInfo(
            reservation=1000, limit=-1, shares=vim.SharesInfo(shares=4000, level="custom"), overheadLimit=7
        ),
        latencySensitivity=vim.LatencySensitivity(level="high"),
    )
    told = sent(decided(old))
    for part in (
        "<numCPUs>4<",
        "<numCoresPerSocket>2<",
        "<memoryMB>8192<",
        "<cpuHotAddEnabled>true<",
        "<vbsEnabled>true<",
    ):
        assert part in told
    for part in ("<syncTimeWithHost>true<", "<reservation>1000<", "<level>high<", "<nestedHVEnabled>true<"):
        assert part in told
    for left in ("toolsVersion", "overheadLimit", "recordReplayEnabled", "monitorType"):
        assert left not in told


def test_what_belongs_to_the_old_host_stays_behind_with_a_word() -> None:
    old = saved(
        cpuAffinity=vim.vm.AffinityInfo(affinitySet=[2, 3]),
        vAppConfig=vim.vApp.VmConfigInfo(
            property=[vim.vApp.PropertyInfo(key=1, id="password", value="s3cret")], eula=[]
        ),
        npivNodeWorldWideName=[1],
        npivWorldWideNameType="vc",
        sevEnabled=False,
        sgxInfo=vim.vm.SgxInfo(epcSize=0, flcMode="unlocked"),
    )
    found = decided(old)
    told = sent(found)
    for left in ("affinitySet", "s3cret", "npiv"):
        assert left not in told
    assert change(found, "processor affinity").warn
    assert change(found, "OVF properties of the appliance").warn
    assert "s3cret" not in repr(found)
    assert not [one for one in found.changes if one.what == "AMD SEV"]


def test_advanced_settings_are_kept_without_those_of_the_old_vm_and_their_values_are_nowhere() -> None:
    values = {
        "guestinfo.password": "s3cret",
        "ethernet0.pciSlotNumber": "192",
        "disk.EnableUUID": "TRUE",
        "nvram": "web.nvram",
        "ctkEnabled": "TRUE",
        "scsi0:0.ctkEnabled": "TRUE",
        "uuid.location": "56 4d",
        "sched.swap.derivedName": "/vmfs/volumes/x/web.vswp",
        "migrate.hostLog": "web.hlog",
        "ethernet0.generatedAddress": "00:0c:29:00:00:01",
        "encryption.bundle": "vmware:key/list/",
        "sendense.restore": "{}",
        "viv.moid": "5e0d",
    }
    old = saved(extraConfig=[vim.option.OptionValue(key=key, value=value) for key, value in values.items()])
    found = decided(old)
    assert found.machine is not None
    assert found.machine.extra_config == ("disk.EnableUUID", "ethernet0.pciSlotNumber", "guestinfo.password")
    assert "s3cret" not in repr(found)
    assert "nvram" in change(found, "advanced settings of the old VM").was


def test_notes_are_not_told() -> None:
    found = decided(saved(annotation="root password: s3cret"))
    assert change(found, "notes").kind == "kept"
    assert "s3cret" not in repr(found)


def test_attributes_and_tags_come_back_where_they_exist() -> None:
    known = VmInventory(attributes={"owner": "dba", "gone": "x"}, tags=("backup/gold", "env/old"))
    found = decided(looked_at=SavedInventory(known, ["owner", "other"], ["backup/gold"]))
    assert found.machine is not None
    assert (found.machine.attributes, found.machine.tags) == ({"owner": "dba"}, ("backup/gold",))
    assert change(found, "custom attribute gone").warn
    assert change(found, "tag env/old").why == "the vCenter has no such tag"


def test_where_the_old_vm_ran_is_said_to_be_not_recorded() -> None:
    where = change(decided(saved()), "runs on")
    assert (where.kind, where.was) == ("changed", "not recorded")


def test_tracking_is_switched_on_again_if_it_was() -> None:
    found = decided(saved(changeTrackingEnabled=True))
    assert found.machine is not None
    assert found.machine.change_tracking
    assert "changeTrackingEnabled" not in sent(found)


@pytest.mark.parametrize("of", ["hardware", "device", "files", "bootOptions", "extraConfig", "guestId"])
def test_what_a_vcenter_left_unset_keeps_nothing_from_being_decided(of: str) -> None:
    config = dict(saved().json)
    if of == "device":
        config["hardware"] = {"_type": "VirtualHardware", "device": [{"_type": "VirtualVmxnet3"}]}
    else:
        config.pop(of, None)
    found = decided(type(saved())(config))
    assert found.machine is not None or found.problems


def test_sixty_disks_on_four_controllers_keep_their_places() -> None:
    buses = [pvscsi(1000 + bus, bus) for bus in range(4)]
    units = [unit for unit in range(16) if unit != 7]
    disks = [disk(2000 + 16 * bus + unit, 1000 + bus, unit, size=GiB) for bus in range(4) for unit in units]
    found = decided(saved(*buses, *disks))
    assert found.machine is not None
    places = {found.machine.place(one) for one in found.machine.disks}
    assert len(places) == 60
    assert "ParaVirtualSCSIController3:15" in places
    assert sent(found).count("<fileOperation>create</fileOperation>") == 60
