"""How near pretraining comes to the bare encoder's speed, and how far ahead of a plain DataLoader loop it is.

In one run and in turns, on the same batches: (a) the encoder alone on spectrograms in place, (b) the real command
``python -m pretrain fit``, (c) what one would otherwise write. A clip is one recording's crop with both its views.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.commands import call
from common import cli
from common.progress import say
from common.provenance import git_commit, machine, versions

ROOT = Path(__file__).resolve().parents[1]
# Suffix of the JSON keys -> encoder.
ENCODERS = {"": "resnet18", "_small": "mobilenetv3_small_100"}
PATIENTS, CLIPS_PER_PATIENT = 64, 8


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    options = _parser().parse_args(args)
    return cli.conclude(lambda: throughput(options))


def throughput(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every encoder; returns the figures that are printed last."""
    figures: dict[str, Any] = {"machine": machine(), "commit": git_commit(), "versions": versions(), "settings": _settings(options)}
    with tempfile.TemporaryDirectory(prefix="throughput-") as name:
        folder = Path(name)
        manifest = options.manifest or _made_manifest(folder, options)
        for suffix, encoder in ENCODERS.items():
            results = _measure(encoder, manifest, folder, options)
            _show(encoder, results)
            figures["step_over_encoder" + suffix] = round(results["step_over_encoder"]["median"], 3)
            figures["step_over_dataloader" + suffix] = round(results["step_over_dataloader"]["median"], 3)
            figures["detail" + suffix] = {"encoder": encoder, **results}
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrain_throughput", description=__doc__)
    parser.add_argument("--manifest", type=Path, help="own recordings (default: made ones)")
    parser.add_argument("--file-rate", type=int, default=44100, help="sample rate of made recordings, Hz (default: %(default)s)")
    parser.add_argument("--file-seconds", type=float, default=10.0, help="length of made recordings, s (default: %(default)s)")
    parser.add_argument("--sample-rate", type=int, default=4000, help="rate to train at, Hz (default: %(default)s)")
    parser.add_argument("--clip-s", type=float, default=8.0, help="length of a crop, s (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="clips per batch (default: %(default)s)")
    parser.add_argument("--precision", default="bf16-mixed", help="of all three ways (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=min(16, os.cpu_count() or 1), help="of the DataLoader (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=6, help="steps per round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: %(default)s)")
    return parser


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name != "manifest"} | {"made_recordings": options.manifest is None}


def _made_manifest(folder: Path, options: argparse.Namespace) -> Path:
    size = ("--patients", PATIENTS, "--clips_per_patient", CLIPS_PER_PATIENT, "--seconds", options.file_seconds)
    call("common", "synthetic", "--out", folder / "made", "--sample_rate", options.file_rate, *size)
    call("common", "manifest", "takehome", "--root", folder / "made", "--out", folder / "manifest.csv")
    return folder / "manifest.csv"


def _measure(encoder: str, manifest: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run the real command with the shipped config; a callback takes turns with the other ways."""
    results = folder / f"{encoder}.json"
    turns = {"results": str(results), "steps": options.steps, "rounds": options.rounds, "workers": options.workers}
    call(
        "pretrain",
        "fit",
        *("-c", _config(folder, options.sample_rate), "--out", folder / encoder),
        *("--data.manifest", manifest, "--data.store", folder / "store", "--data.batch_size", options.batch_size),
        *("--data.validation_share", 0, "--model.encoder.init_args.name", encoder, "--model.clip_s", options.clip_s),
        *("--trainer.precision", options.precision, "--trainer.max_epochs", 10000, "--tracking.wandb", "disabled"),
        "--trainer.callbacks=" + json.dumps([{"class_path": "benchmarks.throughput.rounds.TakeTurns", "init_args": turns}]),
    )
    return json.loads(results.read_text(encoding="utf-8"))


def _config(folder: Path, sample_rate: int) -> Path:
    """The shipped config at another rate, frames and hops as long in seconds."""
    config = (ROOT / "configs/pretrain.yaml").read_text(encoding="utf-8")
    for line, shipped in (("sample_rate: &sample_rate", 4000), ("n_fft:", 256), ("hop:", 64)):
        config = config.replace(f"{line} {shipped}\n", f"{line} {shipped * sample_rate // 4000}\n")
    path = folder / "pretrain.yaml"
    path.write_text(config, encoding="utf-8")
    return path


def _show(encoder: str, results: dict[str, Any]) -> None:
    rates, parts = results["clips_per_s"], results["parts_ms"]
    say(
        f"\n{encoder}, clips/s: (a) the encoder alone {rates['encoder']:.1f}, (b) the whole step {rates['step']:.1f}, "
        f"(c) the DataLoader's way {rates['dataloader']:.1f}, and with our allocator's settings {rates['dataloader_keeping_memory']:.1f}"
    )
    for name, words in (
        ("step_over_encoder", "b/a"),
        ("step_over_dataloader", "b/c"),
        ("dataloader_over_encoder", "c/a"),
        ("step_over_dataloader_keeping_memory", "b/c with our allocator's settings in (c)"),
    ):
        ratio = results[name]
        say(f"  {words} {ratio['median']:.3f} (over rounds {ratio['lowest']:.3f} to {ratio['highest']:.3f})")
    say(f"  a step takes {results['step_ms']:.0f} ms; its parts alone, ms:")
    for name, milliseconds in parts.items():
        say(f"    {name:<26} {milliseconds:8.1f}")
    shares = f"the encoder reaches {results['encoder_share_of_peak']:.0%}, the step {results['step_share_of_peak']:.0%} of it"
    say(f"  measured peak {results['measured_peak_tflops']:.2f} TFLOP/s; {shares}; peak memory {results['peak_memory_gb']:.1f} GB")


if __name__ == "__main__":
    main()
