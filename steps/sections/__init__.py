"""The sections of a job file that the backup brings, with what `doctor` looks at behind their entries, and
what lost runs left there."""
