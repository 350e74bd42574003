"""What a result was made with: versions, commit, time. Written beside every result that leaves a run."""

import platform
import subprocess
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
    "scikit-learn",
    "numpy",
    "pandas",
    "soundfile",
)


def provenance() -> dict[str, Any]:
    """Versions of this project and of what it computes with, the commit and the time, as JSON-like values."""
    return {
        "versions": versions(),
        "git_commit": git_commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Version of Python and of each installed package that can change a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Commit of the checkout that this code runs from, with "-dirty" where tracked files differ; None outside of one."""
    folder = Path(__file__).resolve().parent
    try:
        # Only a repository that tracks this very file is ours: an installed copy may lie inside somebody else's checkout.
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(folder, "rev-parse", "HEAD")
        return f"{commit}-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *args], check=True, capture_output=True, text=True, timeout=10).stdout.strip()
