"""Restore points of one repository in another one: which are missing there, and how one gets there."""
