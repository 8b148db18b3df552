"""Measurements, not tests: `make bench` prints them; `sendense help speed` says what is measured."""

from __future__ import annotations

import os

# What is installed has its byte code: a command that compiles itself at each start is not what is measured.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
