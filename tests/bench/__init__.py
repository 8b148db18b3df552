"""Measurements, not tests: `make bench` prints them; `sendense help speed` says what is measured."""
