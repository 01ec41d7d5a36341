"""What is tested in a browser is tested with `RELAY_SOAK=1 pytest -m soak tests/report`, where one is installed."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("RELAY_SOAK") == "1" else ["test_browser.py"]
