"""The local cloud's commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import cloud
from local.console import Trouble
from local.processes import free_port


def test_run_leaves_a_cloud_alone_that_is_up_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second ``make run`` is refused with a message, and does not stop the first one."""

    class Running(cloud.Cloud):
        stopped = False

        def up(self, parameters: object = None) -> cloud.Endpoints:
            raise Trouble("Port 4566 is taken by this checkout's own cloud, which is up already.")

        def down(self) -> list[str]:
            self.stopped = True
            return []

    monkeypatch.setattr("signal.signal", lambda *_: None)
    running = Running(free_port(), free_port(), tmp_path)
    with pytest.raises(Trouble, match="is taken"):
        cloud.run(running)
    assert not running.stopped
