"""The lab: what a backup needs besides this program, on one machine and on loopback only, for the demo and the tests."""
