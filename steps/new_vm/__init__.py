"""What a restored VM is to be: its saved configuration, and what the vCenter has for it."""
