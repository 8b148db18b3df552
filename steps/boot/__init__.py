"""A machine that is booted in QEMU and looked at: nothing of it stays, and nothing of it gets out."""
