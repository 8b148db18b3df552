"""What remains of what was done: the log of a repository, and the witness of its points, a digest each that
is kept elsewhere."""
