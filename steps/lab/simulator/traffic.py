"""What came and went, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Traffic:
    calls: Counter[str] = field(default_factory=Counter)
    """SOAP calls by method (CreateSnapshot_Task), HTTP requests as "GET /folder"."""
    served: Counter[str] = field(default_factory=Counter)
    """Bytes sent over HTTPS, by the path of the file here (`Simulator.disk_file`)."""
    received: Counter[str] = field(default_factory=Counter)
    """Bytes that came in under leases, by the key in their device urls."""
