"""What a restore into vCenter may be told: where the VM goes, and what becomes of what cannot stay as it
was."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runner.base.model import JobModel

Transport = Literal["lease", "vddk"]


class NewVmOptions(JobModel):
    name: str = Field(default="", max_length=79)
    """What the VM is called in the end; empty: as it was called. A VM that has the name in the folder is
    never touched: it is an error."""
    folder: str = ""
    """Inventory path of a VM folder (`DC1/vm/prod`), or its moref; empty: the one that the VM was in"""
    pool: str = ""
    """A cluster, a resource pool below one (`cluster1/gold`), or the moref of a pool; empty: the only cluster
    that there is, or the one of `host`"""
    host: str = ""
    """Name or moref of the ESXi host that the VM is made on; empty: vCenter chooses where DRS does, else the
    first one that can take it"""
    datastore: str = ""
    """Where all its files go; empty: where they were"""
    datastores: dict[int, str] = {}
    """Where single disks go, by their keys: `{2001: ssd1}`"""
    networks: dict[str, str] = {}
    """Networks that are called otherwise now, or are to be others: `{VM Network: prod}`; each a name or a
    moref"""
    provisioning: Literal["saved", "thin", "thick"] = "saved"
    """How the disks' files are made: as they were, all thin, or all thick (zeroed when they are first
    written)"""
    identity: Literal["new", "keep"] = "new"
    """`keep`: MAC addresses, instance uuid and BIOS uuid stay, as far as no other VM has them and all VMs
    could be looked at"""
    tpm: Literal["refuse", "omit"] = "refuse"
    """What becomes of a VM that has a virtual TPM or is encrypted: it is an error, or it comes back without
    either, in plain text. BitLocker then asks for its recovery key"""
    transport: Transport = "lease"
    """How the disks are written: by an import lease, or over VDDK"""
