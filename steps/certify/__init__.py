"""What the simulator assumes of a vCenter, tried on a real one with a scratch VM."""
