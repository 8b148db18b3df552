"""The steps that look after points at rest: retention, and verification against digests and against the
source."""
