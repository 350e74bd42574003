"""How fast an exported model answers: TorchScript, ONNX Runtime, the eager classifier and librosa's way, from a file to probabilities.

The model is that of configs/finetune.yaml, trained for a moment on made sounds: what it says does not matter here, how long it takes
does not depend on what it learnt. One network, so that no way gains or loses by averaging.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import call
from common import cli
from common.progress import say
from common.provenance import git_commit, machine, versions

ROOT = Path(__file__).resolve().parents[1]
FILE_RATE = 44100
# Of the headline figures: one file.
HEADLINE_S = 10.0
# Seconds of audio beyond which a case is left out: its waveforms alone would not fit into the memory of most machines.
LARGEST_CASE_S = 4000.0
# Of a probability, between librosa's resampler and mel filters and ours.
SAME_ANSWER = 0.02


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    options = _parser().parse_args(args)
    return cli.conclude(lambda: inference(options))


def inference(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all cases; returns the figures that are printed last."""
    # ONNX Runtime calls home some seconds after its import.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    figures: dict[str, Any] = {"machine": machine(), "commit": git_commit(), "versions": versions(), "config": options.config.name}
    with tempfile.TemporaryDirectory(prefix="inference-") as name:
        folder = Path(name)
        run, bundle = _exported(folder, options)
        recordings = Recordings(folder / "recordings")
        figures |= _headline(run, bundle, recordings, options)
        figures["cases"] = _cases(run, bundle, recordings, options)
        figures |= _cold_starts(bundle, recordings, options)
        figures["memory_mb"] = _memory(bundle, recordings, options)
    return figures


class Recordings:
    """Made recordings, written when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, seconds: float, number: int = 1, sample_rate: int = FILE_RATE) -> list[Path]:
        """``number`` mono WAV files of ``seconds``."""
        import soundfile

        self.folder.mkdir(exist_ok=True)
        paths = [self.folder / f"{seconds:g}-{sample_rate}-{index}.wav" for index in range(number)]
        for index, path in enumerate(paths):
            if not path.exists():
                noise = 0.05 * np.random.default_rng(index).standard_normal(round(seconds * sample_rate))
                soundfile.write(path, noise, sample_rate, subtype="PCM_16")
        return paths

    def long(self, minutes: float) -> Path:
        """A mono WAV file of ``minutes``, the same ten seconds again and again."""
        import soundfile

        path = self.folder / f"{minutes:g}-minutes.wav"
        (part,) = self.files(10.0)
        samples, rate = soundfile.read(part, dtype="int16")
        with soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_16") as file:
            for _ in range(max(1, round(6 * minutes))):
                file.write(samples)
        return path


def _exported(folder: Path, options: argparse.Namespace) -> tuple[Path, Path]:
    """The run and its bundle: one network, trained for one epoch on a few clips."""
    run, bundle = folder / "run", folder / "bundle"
    call("common", "synthetic", "--out", folder / "made", "--patients", 8, "--clips_per_patient", 2, "--sample_rate", 4000)
    call("common", "manifest", "takehome", "--root", folder / "made", "--out", folder / "manifest.csv")
    call("finetune", "folds", "--manifest", folder / "manifest.csv", "--out", folder / "folds.csv", "--scheme", "holdout")
    call(
        "finetune",
        "crossval",
        *("-c", options.config, "--data.manifest", folder / "manifest.csv", "--data.folds", folder / "folds.csv", "--out", run),
        *("--trainer.max_epochs", 1, "--trainer.precision", "32-true", "--tracking.wandb", "disabled", "--skip_near_duplicates"),
    )
    call("finetune", "export", "--run", run, "--out", bundle)
    return run, bundle


def _ways(run: Path, bundle: Path, threads: int) -> dict[str, Any]:
    import torch

    from benchmarks.latency.ways import Eager, Librosa, Onnx, TorchScript
    from common.training.checkpoint import open_module
    from finetune.classifier import Classifier
    from finetune.run_folder import read_run_folder

    torch.set_num_threads(threads)
    classifier = open_module(read_run_folder(run).checkpoint(0), Classifier)
    rate = classifier.front_end.sample_rate
    return {
        "torchscript": TorchScript(bundle / "model.pt"),
        "onnx": Onnx(bundle / "model.onnx", rate, round(classifier.clip_s * rate), threads),
        "eager": Eager(classifier),
        "librosa": Librosa(classifier, threads),
    }


def _headline(run: Path, bundle: Path, recordings: Recordings, options: argparse.Namespace) -> dict[str, Any]:
    """One file of 10 s at 44.1 kHz, on all threads; how much longer than the bare network the file takes; and where the time goes."""
    from benchmarks.latency.parts import parts_ms
    from benchmarks.latency.timing import in_turns, ratio, summary
    from benchmarks.latency.ways import BareNetwork, Librosa

    ways = _ways(run, bundle, max(options.threads))
    paths = recordings.files(HEADLINE_S)
    classifier = ways["eager"].classifier
    answers = {name: way(paths) for name, way in ways.items()}
    apart = {name: float(np.abs(answer - answers["torchscript"]).max()) for name, answer in answers.items()}
    assert max(apart.values()) < SAME_ANSWER, apart
    plain = ways.pop("librosa")
    ways |= {"network": BareNetwork(classifier, paths), "librosa_one_blas_thread": Librosa(classifier, 1), "librosa": plain}
    taken = in_turns(ways, paths, options.seconds)
    over = {
        f"{prefix}over_{name}": round(ratio(taken[name], taken[way]), 2)
        for name in ("librosa", "librosa_one_blas_thread")
        for prefix, way in (("", "torchscript"), ("onnx_", "onnx"))
    }
    figures = {
        **over,
        "over_network": round(ratio(taken["torchscript"], taken["network"]), 3),
        "onnx_over_network": round(ratio(taken["onnx"], taken["network"]), 3),
        "headline": {
            "file_s": HEADLINE_S,
            "file_rate": FILE_RATE,
            "threads": max(options.threads),
            "largest_difference": apart,
            **summary(taken, HEADLINE_S),
        },
    }
    say(f"one file of {HEADLINE_S:g} s: " + ", ".join(f"{name} {1000 * np.median(each):.1f} ms" for name, each in taken.items()))
    parts = parts_ms(ways["torchscript"], ways["onnx"], ways["eager"], plain, paths, options.seconds / 2)
    say("of it: " + ", ".join(f"{name} {median} ms" for name, median in parts.items()))
    return {**figures, "parts_ms": parts}


def _cases(run: Path, bundle: Path, recordings: Recordings, options: argparse.Namespace) -> list[dict[str, Any]]:
    from benchmarks.latency.timing import in_turns, summary

    cases = []
    for threads in options.threads:
        ways = _ways(run, bundle, threads)
        for seconds in options.lengths:
            for batch in options.batches:
                if seconds * batch > LARGEST_CASE_S:
                    continue
                paths = recordings.files(seconds, batch)
                found = summary(in_turns(ways, paths, options.seconds), seconds * batch)
                cases.append({"threads": threads, "file_s": seconds, "batch": batch, **found})
                say(
                    f"{threads} threads, {batch} x {seconds:g} s: "
                    + ", ".join(f"{name} {of['p50_ms']:.1f} ms" for name, of in found.items())
                )
    return cases


def _cold_starts(bundle: Path, recordings: Recordings, options: argparse.Namespace) -> dict[str, Any]:
    """From the start of a process to its answer for one 10 s recording at the model's rate."""
    from benchmarks.latency.own_process import ONNX, TORCHSCRIPT, cold_start

    rate = json.loads((bundle / "model.json").read_text())["sample_rate"]
    (recording,) = recordings.files(HEADLINE_S, 1, rate)
    threads = max(options.threads)
    onnx = cold_start(ONNX, bundle / "model.onnx", recording, threads, options.starts)
    torchscript = cold_start(TORCHSCRIPT, bundle / "model.pt", recording, threads, options.starts)
    say(f"cold start: ONNX {onnx['seconds']:.2f} s, TorchScript {torchscript['seconds']:.2f} s")
    return {
        "cold_start_s": onnx["seconds"],
        "torch_cold_start_s": torchscript["seconds"],
        "processes": {"onnx": onnx, "torch": torchscript},
    }


def _memory(bundle: Path, recordings: Recordings, options: argparse.Namespace) -> list[dict[str, float]]:
    """Peak memory for long recordings at 44.1 kHz: read in blocks by ``finetune events``, and given whole to model.pt in one call."""
    from benchmarks.latency.own_process import EVENTS, TORCHSCRIPT, peak_mb

    found, threads = [], max(options.threads)
    for minutes in options.minutes:
        recording = recordings.long(minutes)
        in_blocks = peak_mb(EVENTS, bundle / "model.pt", recording, threads, recordings.folder / f"events-{minutes:g}")
        whole = peak_mb(TORCHSCRIPT, bundle / "model.pt", recording, threads)
        say(f"peak memory for {minutes:g} minutes: {in_blocks:.0f} MB in blocks, {whole:.0f} MB in one call")
        found.append({"minutes": minutes, "in_blocks": in_blocks, "one_call": whole})
        recording.unlink()
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--config", type=Path, default=ROOT / "configs/finetune.yaml", help="of the classifier (default: %(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of each runtime (default: 1 2)")
    parser.add_argument("--lengths", type=float, nargs="+", default=[5.0, 60.0], help="of the recordings, s (default: 5 60)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64], help="recordings at once (default: 1 64)")
    parser.add_argument("--seconds", type=float, default=30.0, help="after which a case begins no further round (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=5, help="processes by which the cold start is measured (default: %(default)s)")
    parser.add_argument(
        "--minutes",
        type=float,
        nargs="*",
        default=[1.0, 10.0, 60.0],
        help="of recordings whose peak memory is measured (default: 1 10 60)",
    )
    return parser


if __name__ == "__main__":
    main()
