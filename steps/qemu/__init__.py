"""Command lines of qemu-img and qemu-nbd, and their answers as models. The format is always named, never
probed: a guest writes the bytes that a probe would look at."""
