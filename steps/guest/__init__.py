"""What is in a guest's file systems, read through libguestfs (guestfs(3)): a small VM of ours mounts them,
never this machine.

``guestfish`` says what a machine needs for that, ``appliance`` starts the VM and asks it things with a
deadline, ``tree`` lists and copies. Everything that comes from a guest is hostile: names, symlinks, file
systems. Only here is libguestfs used.
"""
