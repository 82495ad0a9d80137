"""Builds the layer that writes Parquet: pyarrow, without what reads and serves data in other ways.

Together with the shared layer it has to stay below Lambda's 250 MB, and whole it would not: of 150 MB some 85 stay.

    python build_layer.py DESTINATION [--target local|lambda]

``local`` is this interpreter; ``lambda`` is Python 3.13 on arm64, whatever machine builds it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAMBDA_PYTHON = "3.13"
LAMBDA_PLATFORM = "aarch64-manylinux_2_28"

# Never imported for writing Parquet. What the core library links to (datasets, plans, kernels) has to stay.
UNUSED = (
    *("tests", "include", "includes", "src", "interchange"),
    *("*.pxi", "*.pyx", "*.pxd", "*.h", "*.pyi"),
    *("libarrow_flight*", "libarrow_s3*", "libarrow_python_flight*", "libarrow_python_parquet_encryption*"),
    *("libarrow_python.so", "libarrow_python.so.*.*.*"),  # second and third copies of libarrow_python.so.<version>
    *("_acero*", "_azurefs*", "_csv*", "_cuda*", "_dataset*", "_feather*", "_flight*", "_gcsfs*", "_hdfs*", "_json*"),
    *("_orc*", "_pyarrow_cpp_tests*", "_s3fs*", "_substrait*"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("destination", type=Path)
    parser.add_argument("--target", choices=("local", "lambda"), default="lambda")
    arguments = parser.parse_args()
    python = arguments.destination / "python"
    cache = os.environ.get("OMS_LAYER_CACHE")
    if not cache:
        install(python, arguments.target)
        return
    inputs = [(HERE / "requirements.txt").read_bytes(), Path(__file__).read_bytes(), arguments.target.encode()]
    inputs.append(f"{sys.implementation.cache_tag} {sys.platform}".encode())
    digest = hashlib.sha256(b"\0".join(inputs)).hexdigest()[:16]
    kept = Path(cache) / f"parquet-{digest}"
    if not kept.exists():
        unfinished = kept.with_suffix(f".{os.getpid()}")
        install(unfinished, arguments.target)
        unfinished.rename(kept)
    shutil.copytree(kept, python, dirs_exist_ok=True, copy_function=os.link)


def install(destination: Path, target: str) -> None:
    """Install the pinned library for the target, and leave out what is not used."""
    command = [
        *("uv", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--link-mode", "copy"),
        *("--only-binary", ":all:", "--target", str(destination), "--requirement", str(HERE / "requirements.txt")),
    ]
    if target == "lambda":
        command += ["--python-platform", LAMBDA_PLATFORM, "--python-version", LAMBDA_PYTHON]
    else:
        command += ["--python", sys.executable]
    own_tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    subprocess.run(command, check=True, env={**os.environ, "PATH": own_tools})
    for pattern in UNUSED:
        for path in (destination / "pyarrow").glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
