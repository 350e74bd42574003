"""The scripts inside a bundle, run where only one library can be imported, and changes that hide from its hashes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from blocked_imports import without

# What a script must not need: that of torch, and that of onnxruntime.
NEITHER = ("common", "finetune", "torchaudio", "nnAudio", "timm", "pytorch_lightning", "sklearn", "pandas", "scipy", "soundfile", "onnx")
BLOCKED = {"verify_torch.py": (*NEITHER, "onnxruntime", "numpy"), "verify_onnx.py": (*NEITHER, "torch")}


def run_script(path: Path, interpreter: str = sys.executable, blocked: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of the bundle's scripts in a process of its own, in which what it must not need cannot be imported."""
    run = f"import runpy, sys; sys.argv = [{str(path)!r}]; runpy.run_path({str(path)!r}, run_name='__main__')"
    code = ["-c", without(BLOCKED[path.name], run)] if blocked else [str(path)]
    command = [interpreter, "-W", "ignore", *code]
    return subprocess.run(command, cwd=path.parent.parent, capture_output=True, text=True, timeout=240, check=False)


def rehash(bundle: Path) -> None:
    """What somebody does who changes a file and knows how hashes work."""
    described = json.loads((bundle / "model.json").read_text())
    described["files"] = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in described["files"]}
    (bundle / "model.json").write_text(json.dumps(described))
