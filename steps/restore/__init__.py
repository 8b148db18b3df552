"""The steps of a restore, a file each, and what only they share: a restore point becomes files that were
compared with it."""
