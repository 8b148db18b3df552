"""The step contract: what a kind of work is, what it may use, and which kinds are installed."""
