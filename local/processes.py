"""Background processes that survive their starter, are known by a file, and are stopped with all their children."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from local.console import Trouble

# There is nothing to save: who does not stop at once is killed.
_STOP_SECONDS = 2.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Entry(TypedDict):
    """One process: its id, which is also its group's, its port, and a word of its command."""

    pid: int
    port: int
    marker: str


class Background:
    """The processes of one cloud, recorded in ``processes.json`` of its state folder."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._record = state / "processes.json"

    def start(self, name: str, arguments: list[str], environment: Mapping[str, str], port: int) -> None:
        """Run ``python arguments…`` in a process group of its own, its output in ``<name>.log``."""
        self._state.mkdir(parents=True, exist_ok=True)
        with (self._state / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        known = self._known()
        known[name] = {"pid": process.pid, "port": port, "marker": arguments[1]}
        self._record.write_text(json.dumps(known, indent=2))

    def await_ready(self, name: str, url: str, seconds: float = 30.0) -> None:
        """Wait until ``url`` answers at all; ``Trouble`` with the end of the log when the process dies first."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own process on this machine
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                if not self.alive(name):
                    break
            time.sleep(0.05)
        raise Trouble(f"{name} did not start; the end of {self._state / (name + '.log')}:\n{self.log_end(name)}")

    def log_end(self, name: str, lines: int = 25) -> str:
        log = self._state / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def alive(self, name: str) -> bool:
        entry = self._known().get(name)
        return entry is not None and _runs(entry)

    def running(self) -> dict[str, int]:
        """Port by name of what runs."""
        return {name: entry["port"] for name, entry in self._known().items() if _runs(entry)}

    def stop(self) -> list[str]:
        """Stop every process and its children, politely first; the names of those that ran."""
        stopped = []
        groups = []
        for name, entry in self._known().items():
            if _runs(entry):
                stopped.append(name)
                groups.append(entry["pid"])
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for group in groups:
                _signal(group, sign)
            deadline = time.monotonic() + _STOP_SECONDS
            while groups and time.monotonic() < deadline:
                groups = [group for group in groups if _group_lives(group)]
                time.sleep(0.05)
        self._record.unlink(missing_ok=True)
        return stopped

    def _known(self) -> dict[str, Entry]:
        try:
            known: dict[str, Entry] = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return {}
        return known


def _runs(entry: Entry) -> bool:
    """Whether that process is still the one we started: process ids are used again."""
    if Path("/proc/self").exists():
        try:
            return entry["marker"].encode() in Path(f"/proc/{entry['pid']}/cmdline").read_bytes()
        except OSError:
            return False
    answer = subprocess.run(["ps", "-o", "command=", "-p", str(entry["pid"])], capture_output=True, text=True)
    return entry["marker"] in answer.stdout


def _signal(group: int, sign: signal.Signals) -> None:
    try:
        os.killpg(group, sign)
    except (ProcessLookupError, PermissionError):
        return


def _group_lives(group: int) -> bool:
    with suppress(ChildProcessError):  # not ours, unless this is the process that started it
        os.waitpid(group, os.WNOHANG)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group of zombies
        return False
    return not _is_zombie(group)


def _is_zombie(group: int) -> bool:
    """Whether the group's leader is dead and only waits to be reaped by a parent that is not us."""
    try:
        status = Path(f"/proc/{group}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "Z"
