"""``python -m finetune verify``: does a bundle answer here as it did where it was made?"""

import importlib.util
import os
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.progress import say
from finetune.bundle.contents import SIGNATURE, read_bundle
from finetune.bundle.signature import check_signature, read_key


def verify(bundle: Path, key: Path | None = None) -> dict[str, Any]:
    """Check a bundle on this machine: its signature where a key is given, every file's hash, then every golden clip.

    A file is opened only after all hashes fit. The golden clips are asked of model.pt with torch, and of model.onnx and quality.onnx
    where onnxruntime is installed; model.pt2 is only compared with its hash, since opening one may run pickled code.

    Args:
        bundle: folder that 'python -m finetune export' wrote.
        key: file with the key that it was signed with.

    Returns:
        ``files`` (checked), ``signature`` ("valid", "not checked" or "none"), ``torch`` and ``onnx``: version, clips and largest difference
        of a probability; ``onnx`` is null where it was not asked, and ``onnx_reason`` says why.

    Raises:
        UserError: the bundle is not what was exported, or answers otherwise.
    """
    opened = read_bundle(bundle)
    signature = "not checked" if (bundle / SIGNATURE).is_file() else "none"
    if key is not None:
        check_signature(bundle, read_key(key))
        signature = "valid"
    files = opened.check_files()
    try:
        # Late: torch takes seconds to import, which a wrong file should not cost.
        from finetune.bundle import verify_torch

        figures: dict[str, Any] = {"bundle": str(bundle), "files": files, "signature": signature, "torch": verify_torch.check(bundle)}
        reason = opened.description["onnx"].get("reason")
        if reason is None and importlib.util.find_spec("onnxruntime") is None:
            reason = "onnxruntime is not installed"
        if reason is None:
            os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
            from finetune.bundle import verify_onnx

            figures["onnx"] = verify_onnx.check(bundle)
        else:
            figures |= {"onnx": None, "onnx_reason": reason}
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{bundle} does not verify: {str(error).strip().splitlines()[-1]}") from error
    say(f"{bundle} answers here as where it was made: {files} files, signature {signature}.")
    return figures
