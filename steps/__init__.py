"""The backup: a file for each kind of step, in the folder of the job that it serves, and what they need."""
