"""How a result came to be: versions, commit, kind of machine and time. No host names and no paths, so that it can be shared."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "auscult",
    "torch",
    "torchaudio",
    "pytorch-lightning",
    "nnAudio",
    "timm",
    "torchmetrics",
    "scikit-learn",
    "numpy",
    "scipy",
    "pandas",
    "soundfile",
)


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Python's version and those of ``packages``, where installed, read without importing them."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def code_hash(*packages: Path) -> str:
    """SHA-256 over the names and contents of all Python files in folders of code: what ran, also where there is no commit to name."""
    found = hashlib.sha256()
    for package in packages:
        for file in sorted(package.rglob("*.py")):
            found.update(f"{package.name}/{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return found.hexdigest()


def git_commit(folder: str | Path | None = None) -> str | None:
    """The commit that is checked out, 40 hex digits, with "-dirty" after it where tracked files were changed.

    Args:
        folder: anywhere in the checkout; that of this code by default.

    Returns:
        None outside a checkout or without git.
    """
    if folder is None:
        folder = Path(__file__).resolve().parent
        # Installed into somebody's own checkout, this code is not what that checkout's commit names.
        if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
            return None
    folder = Path(folder)
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changes else commit


def machine() -> dict[str, Any]:
    """Kind of machine: ``system``, ``cpu`` (model), ``cpu_count`` (cores that this process may use) and ``gpus`` (models)."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return {"system": f"{platform.system()} {platform.machine()}", "cpu": _cpu_name(), "cpu_count": _cpu_count(), "gpus": gpus}


def provenance(folder: str | Path | None = None) -> dict[str, Any]:
    """``versions``, ``git_commit`` (see there for ``folder``), ``machine`` and ``time`` (UTC, ISO 8601), JSON-like."""
    return {
        "versions": versions(),
        "git_commit": git_commit(folder),
        "machine": machine(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks: asking for the state must not get in the way of somebody's commit.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    # Set inside a hook, these would answer for another checkout.
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
