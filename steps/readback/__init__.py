"""An image that lies finished on its host, read back from disk and compared with the digests that were made
while it was read at the source."""
