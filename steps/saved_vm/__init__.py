"""What a point saved of its VM beside its disks: the configuration that vSphere told."""
