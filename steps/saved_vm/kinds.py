"""Kinds of devices, under the API's names and under those that people use."""

from __future__ import annotations

from steps.saved_vm.configuration import Device

SCSI = (
    "ParaVirtualSCSIController",
    "VirtualLsiLogicController",
    "VirtualLsiLogicSASController",
    "VirtualBusLogicController",
)

CARDS = (
    "VirtualVmxnet3",
    "VirtualVmxnet3Vrdma",
    "VirtualVmxnet2",
    "VirtualVmxnet",
    "VirtualE1000",
    "VirtualE1000e",
    "VirtualPCNet32",
)

TPM = "VirtualTPM"

NAMES = {
    "ParaVirtualSCSIController": "PVSCSI",
    "VirtualLsiLogicController": "LSI Logic",
    "VirtualLsiLogicSASController": "LSI Logic SAS",
    "VirtualBusLogicController": "BusLogic",
    "VirtualAHCIController": "SATA",
    "VirtualNVMEController": "NVMe",
    "VirtualUSBController": "USB 2",
    "VirtualUSBXHCIController": "USB 3",
    "VirtualVmxnet3": "vmxnet3",
    "VirtualVmxnet3Vrdma": "vmxnet3 with RDMA",
    "VirtualVmxnet2": "vmxnet2",
    "VirtualVmxnet": "vmxnet",
    "VirtualE1000": "e1000",
    "VirtualE1000e": "e1000e",
    "VirtualPCNet32": "vlance",
    "VirtualCdrom": "CD/DVD drive",
    "VirtualFloppy": "floppy drive",
    "VirtualSerialPort": "serial port",
    "VirtualVideoCard": "video card",
    "VirtualWDT": "watchdog",
    "VirtualTPM": "virtual TPM",
    "VirtualUSB": "USB device",
    "VirtualPCIPassthrough": "PCI device of the host",
    "VirtualSriovEthernetCard": "SR-IOV network adapter",
}


def said(device: Device) -> str:
    """In words: its kind, as people call it."""
    return NAMES.get(device.type) or device.type.removeprefix("Virtual")
