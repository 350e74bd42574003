"""A bundle's scripts: each needs one library, and finds a changed file and another answer."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from made_bundle_scripts import BLOCKED, rehash, run_script

from finetune.bundle.contents import TESTED_WITH


@pytest.mark.parametrize("script", BLOCKED)
def test_its_scripts_need_one_library_and_find_a_changed_file(bundle: Path, script: str) -> None:
    done = run_script(bundle / script)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["largest_difference"] <= 1e-4 and found["clips"] == (8 if script == "verify_torch.py" else 6)
    with (bundle / "MODEL_CARD.md").open("a") as card:
        card.write("It is a diagnosis.")
    done = run_script(bundle / script)
    assert done.returncode == 1 and "MODEL_CARD.md is not the file" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("script", BLOCKED)
def test_its_scripts_find_another_answer(bundle: Path, script: str) -> None:
    expected = bundle / "golden" / "expected.json"
    changed = json.loads(expected.read_text())
    changed["clips"][1]["probabilities"][0] += 3e-4
    expected.write_text(json.dumps(changed))
    rehash(bundle)
    done = run_script(bundle / script)
    assert done.returncode == 1 and "answers window with a difference of 3.0e-04" in done.stderr and "Traceback" not in done.stderr


def test_another_torch_verifies_it(exported: tuple[Path, dict[str, Any]]) -> None:
    other = os.environ.get("AUSCULT_OTHER_TORCH")
    if not other:
        pytest.skip("needs AUSCULT_OTHER_TORCH, the path of an interpreter with another version of torch")
    done = run_script(exported[0] / "verify_torch.py", other, blocked=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["torch"]
    assert found != torch.__version__ and any(found.startswith(f"{kept}.") for kept in TESTED_WITH["torch"])
