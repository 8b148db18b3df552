"""What is in a repository as work: the stored disks of a point, rebasing, retention plans and
pruning, what depends on a point."""
