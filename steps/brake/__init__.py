"""Whether a VM changes as if it were being encrypted, by what its restore points say: retention then deletes
nothing of it."""
