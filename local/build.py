"""``sam build`` and ``sam deploy`` against the local cloud, repeated only for what changed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local.console import Trouble

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "local" / ".state" / "build"
STACK = "oms-local"
REGION = "us-east-1"


def aws_environment(endpoint: str) -> dict[str, str]:
    """This process's environment, pointed at the local cloud and without a trace of real AWS credentials."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_"))}
    state = ROOT / "local" / ".state"
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": "test",  # MiniStack's root; the functions run as their own roles
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.2",
        "__SAM_CLI_APP_DIR": str(state / "sam"),
        "LAYER_TARGET": "local",
        "OMS_LAYER_CACHE": str(state / "libraries"),
        "PYTHON": sys.executable,
    }


def build(environment: Mapping[str, str]) -> bool:
    """Build the layers and the template into ``BUILD``; False when neither changed since the last time."""
    with _one_at_a_time():
        for cache in (ROOT / "functions").rglob("__pycache__"):
            shutil.rmtree(cache, ignore_errors=True)  # tests leave them; they would change the packages
        stamp = BUILD / "inputs"
        inputs = _digest_of_inputs()
        if stamp.exists() and stamp.read_text() == inputs:
            return False
        _quiet_about_updates(Path(environment["__SAM_CLI_APP_DIR"]))
        _sam(["build", "--build-dir", str(BUILD), "--template-file", str(ROOT / "template.yaml")], environment)
        stamp.write_text(inputs)
        return True


def deploy(environment: Mapping[str, str], parameters: Mapping[str, str]) -> None:
    """Deploy what was built, as ``make deploy`` does for AWS."""
    _quiet_about_updates(Path(environment["__SAM_CLI_APP_DIR"]))
    _sam(
        [
            *("deploy", "--template-file", str(BUILD / "template.yaml"), "--stack-name", STACK, "--region", REGION),
            *("--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"),
            *("--no-fail-on-empty-changeset", "--no-progressbar", "--parameter-overrides"),
            *(f"ParameterKey={name},ParameterValue={value}" for name, value in parameters.items()),
        ],
        environment,
    )


def _sam(arguments: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "samcli", *arguments],
        env=dict(environment),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        lines = done.stdout.splitlines()
        # A deploy that fails rolls back, and the rollback hides the cause: its row, and the rows it wraps into, first.
        causes = [row for at, line in enumerate(lines) if "_FAILED" in line for row in lines[at : at + 12]]
        raise Trouble(f"sam {arguments[0]} failed:\n" + "\n".join([*causes[:40], "…", *lines[-15:]]))


def _digest_of_inputs() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in [ROOT / "template.yaml", *sorted((ROOT / "layers").rglob("*"))]:
        if path.is_file() and path.suffix != ".pyc":
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _quiet_about_updates(home: Path) -> None:
    """SAM asks its registry for a newer version once a week unless it believes that it just did."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "metadata.json").write_text(f'{{"telemetryEnabled": false, "lastVersionCheck": {time.time():.0f}}}')


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """The build folder is shared by `make up` and the tests' own clouds."""
    BUILD.parent.mkdir(parents=True, exist_ok=True)
    with (BUILD.parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
