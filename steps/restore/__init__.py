"""The steps of a restore, a file each: a restore point becomes files that were compared with it."""
