"""The steps of a backup, a file each, in the order of its job: from `discover` to `cleanup`."""
