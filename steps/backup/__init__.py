"""The steps of a backup, a file each, from `discover` to `cleanup`, and what only they share."""
