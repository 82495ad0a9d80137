"""``python -m local.simulators --port 8099``: all simulators until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import threading
import time
from pathlib import Path

from local.simulators.server import Simulators, every_core


def main() -> None:
    """Serve; ``--state-file`` tells others where, once the port is open."""
    parser = argparse.ArgumentParser(prog="python -m local.simulators", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--state-file", type=Path, help="where to write {pid, port, url} when ready")
    parser.add_argument("--log-file", type=Path, help="where to log each request and delivery")
    options = parser.parse_args()
    if options.log_file:
        logging.basicConfig(
            filename=options.log_file, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
        )
    # The start time keeps ids of this run apart from those of a run before, which consumers may remember.
    simulators = Simulators(options.port, every_core(time.time, seed=str(int(time.time()))))

    def stop(*_: object) -> None:
        # ``shutdown`` waits for the serving loop, which this very thread is running.
        threading.Thread(target=simulators.stop, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    port = int(simulators.url.rpartition(":")[2])
    if options.state_file:
        told = {"pid": os.getpid(), "port": port, "url": simulators.url}
        draft = options.state_file.with_suffix(".tmp")
        draft.write_text(json.dumps(told))
        draft.replace(options.state_file)
    simulators.serve()
    if options.state_file:
        options.state_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
