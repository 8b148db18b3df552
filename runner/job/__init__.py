"""YAML → Job: every mistake at once with its place; references, the graph of steps, their nodes, the
schema."""
