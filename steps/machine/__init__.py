"""A saved VM as a machine of QEMU: the devices it had, or those that come closest, and what that changes."""
