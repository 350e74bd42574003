"""The whole way in one command: recordings, audit, pretraining, folds, report, one TorchScript file, one prediction.

Calls the same commands as a person would, in one process so that the libraries are imported once. Everything goes into one folder;
an interrupted demo goes on where it stopped.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.commands import call
from common import cli

ROOT = Path(__file__).resolve().parents[1]
NUM_FOLDS = 3
# Many patients with few clips each: a network learns what patients share only from many of them.
PATIENTS, CLIPS_PER_PATIENT = 60, 4
# Less than the configs say: a demo shows the way, in minutes.
CLIP_S, BATCH_SIZE, PRETRAIN_EPOCHS, FINETUNE_EPOCHS = 4.0, 16, 10, 30


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="own take-home folder (train/ and train.csv); made recordings by default")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for all that is made")
    options = parser.parse_args(args)
    return cli.conclude(lambda: demo(options.data, options.out))


def demo(data: Path | None, out: Path) -> dict[str, Any]:
    """Run the demo.

    Args:
        data: a take-home folder; None makes one.
        out: folder for all that is made.

    Returns:
        The figures that are printed last: ``minutes``, ``folds``, ``macro_auroc``, ``report`` and ``model``.
    """
    started = time.monotonic()
    if data is None:
        data = out / "recordings"
        if not (data / "train.csv").is_file():
            call("common", "synthetic", "--out", data, "--patients", PATIENTS, "--clips-per-patient", CLIPS_PER_PATIENT)
    manifest, audited = out / "manifest.csv", out / "audit"
    call("common", "manifest", "takehome", "--root", data, "--out", manifest)
    audit = call("common", "audit", "--manifest", manifest, "--out", audited)
    clean = audited / "manifest.csv"

    folds = out / "folds.csv"
    call("finetune", "folds", "--manifest", clean, "--out", folds, "--num-folds", NUM_FOLDS)
    data_options = ("--data.manifest", clean, "--data.store", out / "store")
    encoders, run = out / "encoders", out / "crossval"
    small = ("--model.clip_s", CLIP_S, "--data.batch_size", BATCH_SIZE)
    pretraining = ("--folds", folds, "--out", encoders, "--trainer.max_epochs", PRETRAIN_EPOCHS)
    call("pretrain", "folds", "-c", ROOT / "configs/pretrain_small.yaml", *data_options, *small, *pretraining)
    training = ("--data.folds", folds, "--encoder", encoders, "--out", run, "--trainer.max_epochs", FINETUNE_EPOCHS)
    call("finetune", "crossval", "-c", ROOT / "configs/finetune_small.yaml", *data_options, *small, *training)
    report = call("finetune", "report", "--run", run)
    model = out / "model.pt"
    call("finetune", "export", "--run", run, "--out", model)
    recording = _first_recording(clean)
    call("finetune", "predict", "--model", model, "--input", recording, "--out", out / "prediction.csv")

    _explain(out, audit, report, model)
    minutes = round((time.monotonic() - started) / 60, 2)
    figures = {"folds": NUM_FOLDS, "macro_auroc": report["macro_auroc"], "report": report["report"], "model": str(model)}
    return {"minutes": minutes, **figures}


def _first_recording(manifest: Path) -> Path:
    from common.manifest import read_manifest

    return Path(read_manifest(manifest)["path"].iloc[0])


def _explain(out: Path, audit: dict[str, Any], report: dict[str, Any], model: Path) -> None:
    import pandas as pd

    table = pd.read_csv(out / "crossval" / "report" / "per_fold.csv").astype({"patients": "Int64", "annotated_clips": "Int64"})
    counted = ("fold", "patients", "annotated_clips", "macro_auroc")
    shown = [name for name in map(str, table) if name in counted or name.startswith("auroc_")]
    prediction = pd.read_csv(out / "prediction.csv").iloc[0]
    answers = ", ".join(f"{name.removeprefix('prob_')} {prediction[name]:.2f}" for name in prediction.index if name.startswith("prob_"))
    cells = table[shown].astype(object).where(table[shown].notna(), "-")
    print(cells.to_string(index=False, float_format="{:.3f}".format))
    print(f"""
audit       {audit["page"]} ({audit["removed"]} of {audit["clips"]} clips removed)
report      {report["report"]}
run         {out / "crossval"} (config, folds, metrics, out-of-fold predictions, one folder per fold)
model       {model}
prediction  {prediction["file"]}: {answers}

Load the model with torch alone:

    import torch
    model = torch.jit.load({str(model)!r})
    probabilities, flags = model(torch.randn(1, 20000), 4000)  # waveform [B, T], its rate in Hz
""")


if __name__ == "__main__":
    main()
