"""What EFI needs to boot a disk in QEMU: OVMF, its variables, and the loaders that are on the disk."""
