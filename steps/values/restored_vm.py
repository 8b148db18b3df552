"""A VM that came back: every block was read back from vSphere and compared before it got its name."""

from __future__ import annotations

from runner.base.model import Model


class RestoredVm(Model):
    vcenter: str
    """The job's name of the vCenter"""
    moref: str
    """``vm-16``"""
    instance_uuid: str
    """Unique in its vCenter"""
    name: str
    """Its name, as people write it"""
    point: str
    """Name of the restore point"""
    source: str
    """The point: VM/POINT"""
    size: int
    """Bytes of its disks"""
    powered_on: bool
    """Whether it was powered on at the end"""
    warnings: tuple[str, ...] = ()
    """What is not as it was, and who may notice, in sentences"""
