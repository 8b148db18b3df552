"""qemu-nbd on images of a host, and the paths over which its exports are reached."""
