"""A file of metrics: replaced whole, readable by the account of node_exporter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.base.errors import SendenseError
from runner.base.printable import printable
from runner.hosts import files

MODE = 0o644
"""node_exporter runs as an account of its own."""


@dataclass(frozen=True)
class Metric:
    """A gauge. Samples of one metric have the same labels."""

    name: str
    help: str
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)

    def add(self, value: float, labels: Mapping[str, str]) -> None:
        # A name from elsewhere may hold what is no UTF-8 text, or rule a terminal that shows it.
        key = tuple(
            (name, printable(text).encode(errors="replace").decode()) for name, text in labels.items()
        )
        self.samples[key] = value


class Metrics:
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._all: dict[str, Metric] = {}

    def add(self, name: str, about: str, value: float | None, **labels: str) -> None:
        """None: it is unknown, and no sample says so better than any."""
        full = f"{self._prefix}_{name}"
        metric = self._all.setdefault(full, Metric(full, about))
        if value is not None and math.isfinite(value):
            metric.add(value, labels)

    def write(self, path: Path) -> None:
        """Raises SendenseError."""
        content = self.text()
        with files.translate_os_errors(files.THIS_MACHINE, str(path)):
            files.write(str(path), content, mode=MODE)

    def text(self) -> bytes:
        """In the text format of Prometheus. Raises SendenseError without prometheus_client."""
        try:
            from prometheus_client import CollectorRegistry, Gauge, generate_latest
        except ImportError as error:
            raise SendenseError(
                "metrics need prometheus_client: `pip install 'sendense[metrics]'`"
            ) from error
        registry = CollectorRegistry()
        # One without samples would be a gauge without labels, which is 0 by itself.
        for metric in (one for one in self._all.values() if one.samples):
            names = [name for name, _ in next(iter(metric.samples))]
            gauge = Gauge(metric.name, metric.help, names, registry=registry)
            for labels, value in metric.samples.items():
                (gauge.labels(**dict(labels)) if labels else gauge).set(value)
        found: bytes = generate_latest(registry)
        return found
