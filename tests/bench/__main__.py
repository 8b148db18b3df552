"""All measurements, one after the other; about ten minutes on a quiet machine."""

from __future__ import annotations

import os
import platform

from tests.bench import (
    admission,
    big_job,
    copies,
    copying,
    drilling,
    estate,
    incremental,
    job,
    locking,
    narrow,
    night,
    readback,
    repository,
    serving,
    starting,
    streaming,
)

if __name__ == "__main__":
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{os.cpu_count()} cores, {platform.platform()}; load before: {load}", flush=True)
    admission.main()
    starting.main()
    big_job.main()
    job.main()
    night.main()
    serving.main()
    copying.main()
    readback.main()
    narrow.main()
    streaming.main()
    incremental.main()
    repository.main()
    estate.main()
    drilling.main()
    copies.main()
    locking.main()
