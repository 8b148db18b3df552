"""Steps that copy restore points into another repository."""
