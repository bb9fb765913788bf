"""Provenance of a result: code, machine, time."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from moesuite.discovery.loading import load_router
from moesuite.discovery.names import PACKAGE, source_of, task_folder
from moesuite.records.protocol import ENGINE, of_router

LIBRARIES = (
    "torch",
    "lightning",
    "timm",
    "transformers",
    "torchmetrics",
    "datasets",
    "numpy",
    "moesuite",
)


def code_version(router: str) -> str:
    """Return the SHA-256 of the sources of engine and tasks, and of an outside router's file."""
    digest = hashlib.sha256(_engine_version().encode())
    path, _ = source_of(router)
    if not path.is_relative_to(PACKAGE):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def router_protocol(router: str) -> str:
    """Return the protocol versions behind a certificate of a router, in words."""
    path, _ = source_of(router)
    outside = "" if path.is_relative_to(PACKAGE) else hashlib.sha256(path.read_bytes()).hexdigest()
    return of_router(ENGINE, load_router(router).protocol, outside)


@cache
def _engine_version() -> str:
    folders = [PACKAGE, task_folder()]
    files = {
        path
        for folder in folders
        for pattern in ("*.py", "*.yaml")
        for path in folder.rglob(pattern)
    }
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def git_state() -> tuple[str | None, bool | None]:
    """Return (commit, dirty) of the checkout that the engine runs from, or (None, None)."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE), *arguments]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True, timeout=10
        ).stdout.strip()

    try:
        if not git(
            "ls-files", "errors.py"
        ):  # a wheel that happens to be installed inside another checkout
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None


@cache
def environment(kind: str = "cpu") -> dict[str, str]:
    """Return library versions and hardware behind a run on a kind of device, such as "cuda"."""
    import torch

    versions = {name: importlib.metadata.version(name) for name in LIBRARIES if _installed(name)}
    device = torch.cuda.get_device_name() if kind == "cuda" else _cpu_name()
    return {
        "python": platform.python_version(),
        **versions,
        "torch": torch.__version__,  # with the CUDA version that it was built for
        "platform": platform.platform(),
        "device": device,
        "cpus": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
    }


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
