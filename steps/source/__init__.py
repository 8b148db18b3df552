"""nbdkit on a frozen disk: the processes that serve it over HTTPS or through VMware's library, and whether
they would reach it."""
