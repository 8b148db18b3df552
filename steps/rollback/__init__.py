"""The steps that put the disks of a VM that is there back to a restore point."""
