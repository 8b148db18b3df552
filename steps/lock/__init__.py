"""Root's timer on a repository host, which makes restore points immutable: its shell, its units, and what it
tells of itself."""
