"""The ground: errors, models, units, digests, templates. It knows nothing of jobs, hosts or runs."""
