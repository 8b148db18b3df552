"""Measurements, not tests: `make bench` prints them; the README quotes them with the machine they were made on."""
