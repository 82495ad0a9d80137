"""The whole system on a laptop: local cloud, simulators, story, replay."""

import sys
from pathlib import Path

# Functions find the package `oms` in their layer, tests by pytest's settings; the tools here find it beside themselves.
sys.path.append(str(Path(__file__).resolve().parent.parent / "layers" / "common"))
