"""The drill: steps that boot a restore point, and record with it what was seen."""
