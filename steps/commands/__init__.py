"""The commands on repositories, guests and the lab, found by the entry points `sendense.commands`."""
