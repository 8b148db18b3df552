"""A machine that was started is watched until it can be said what came of it."""
