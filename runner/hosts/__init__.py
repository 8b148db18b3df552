"""Where commands run and files lie: this machine and others behind sshd, with their locks, tunnels,
supervised processes and the scripts that run there."""
