"""Which VM is backed up, by which job, how old its newest good restore point is, and what is to be told of
that: computed from what is in the vCenters and repositories now, never from past successes."""
