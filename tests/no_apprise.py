"""The process that sends notices, on a machine without Apprise."""

import sys

sys.modules["apprise"] = None  # type: ignore[assignment]

from steps.notices.apprise_process import main  # noqa: E402

sys.exit(main())
