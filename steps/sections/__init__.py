"""The sections of a job file that the backup brings, and what lost runs left behind their entries."""
