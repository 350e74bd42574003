"""Write the reduced twins of a bundle, each after its loss is known: ``model.int8.onnx`` and ``model.float16.onnx``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from common.errors import UserError
from common.progress import track
from finetune.bundle.contents import ONNX
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.evaluation.result import Evaluation
from finetune.export.folds import ExportedFolds
from finetune.export.reduced.clips import Inputs, RunClips
from finetune.export.reduced.loss import auroc_loss
from finetune.export.twins import save_onnx
from finetune.export.write import Exported
from finetune.run_folder import RunFolder

Kind = Literal["int8", "float16"]
# By which the ranges of activations are chosen: more widen them by outliers.
CALIBRATION_CLIPS = 48


@dataclass(frozen=True)
class Wanted:
    """What the user asked for.

    Attributes:
        kinds: of twins.
        clips: at most so many held-out ones are judged.
        max_loss: of macro AUROC; a twin that loses more is left out.
    """

    kinds: Sequence[Kind] = ()
    clips: int = 1000
    max_loss: float = 0.01


def write_reduced(
    folder: Path, exported: Exported, run: RunFolder, evaluation: Evaluation, onnx: dict[str, Any], wanted: Wanted
) -> dict[str, Any]:
    """Write the twins that lose little, and say what each loses.

    The loss is that of single folds' networks on clips that they held out, reduced in the same way and calibrated on their own training
    clips alone: nothing is judged on what it was trained or calibrated on. Those that are written hold the networks of all folds.

    Args:
        folder: of the bundle, with its ``model.onnx``.
        exported: the networks.
        run: that they are of.
        evaluation: of its out-of-fold predictions.
        onnx: what model.json says of ``model.onnx``.
        wanted: which twins.

    Returns:
        ``twins`` of model.json: kind -> how to call it, its golden clips and its ``loss``; or the ``reason`` for which it is not there.
    """
    if not wanted.kinds:
        return {}
    try:
        if "reason" in onnx:
            raise UserError(f"there is no {ONNX} to reduce: {onnx['reason']}")
        manifest = run.manifest()
        if manifest is None:
            raise UserError(f"the run's manifest {run.record.get('manifest')} is not there, so there are no clips to judge it by")
        clips = RunClips(run, manifest, onnx["sample_rate"], exported.metadata)
        judged = clips.held_out(evaluation.predictions, wanted.clips)
        full, answers = _answers(judged, exported, clips, wanted.kinds, folder / ONNX, list(evaluation.folds))
        training = clips.training(judged.folds, CALIBRATION_CLIPS)
    except UserError as error:
        return {kind: {"reason": str(error).rstrip(".")} for kind in wanted.kinds}
    written: dict[str, Any] = {}
    for kind in wanted.kinds:
        loss = {**auroc_loss(judged, full, answers[kind], evaluation.scored), "limit": wanted.max_loss}
        written[kind] = {**_written(folder, kind, onnx, loss, clips, training), "loss": loss}
    return written


def _answers(
    judged: OutOfFold, exported: Exported, clips: RunClips, kinds: Sequence[Kind], whole: Path, folds: list[int]
) -> tuple[np.ndarray, dict[Kind, np.ndarray]]:
    """Probabilities [n, L] of the clips by the float32 file of the fold that holds each out, and by its reduced twins.

    Args:
        judged: the clips.
        exported: the networks.
        clips: of the run.
        kinds: of twins.
        whole: ``model.onnx``.
        folds: whose networks it averages.
    """
    full = np.zeros(judged.probabilities.shape)
    answers = {kind: np.zeros_like(full) for kind in kinds}
    with TemporaryDirectory() as temporary:
        for fold in track(judged.folds, "Measuring what reduced twins lose"):
            source = Path(temporary) / f"{fold}.onnx"
            _write_fold(source, exported, fold, whole, folds)
            sessions = [(full, _session(source))]
            for kind in kinds:
                target = source.with_suffix(f".{kind}.onnx")
                _reduce(kind, source, target, clips, clips.training([fold], CALIBRATION_CLIPS))
                sessions.append((answers[kind], _session(target)))
            rows = np.flatnonzero(judged.fold == fold)
            for row, inputs in zip(rows, clips.inputs(list(judged.table["clip_id"].iloc[rows])), strict=True):
                for found, session in sessions:
                    found[row] = _ask(session, inputs)
    return full, answers


def _write_fold(target: Path, exported: Exported, fold: int, whole: Path, folds: list[int]) -> None:
    """Write the float32 file of one fold."""
    if isinstance(exported, ExportedFolds):
        from finetune.export.reduced.cut import cut_network

        cut_network(whole, target, folds.index(fold), len(folds))
    else:
        save_onnx(target, exported.eager([fold]), exported.metadata)


def _written(folder: Path, kind: Kind, onnx: dict[str, Any], loss: dict[str, Any], clips: RunClips, training: list[str]) -> dict[str, Any]:
    from finetune.export.reduced.golden import write_golden

    lost = loss["macro"]["loss"]
    if lost is None:
        return {"reason": "its loss of AUROC could not be measured: the clips that were judged are of one class in some label"}
    if lost > loss["limit"]:
        return {"reason": f"it loses {lost:.4f} of macro AUROC, more than {loss['limit']:g}"}
    target = folder / f"model.{kind}.onnx"
    _reduce(kind, folder / ONNX, target, clips, training)
    return {"file": target.name, **{key: onnx[key] for key in ("sample_rate", "inputs", "outputs")}, **write_golden(folder, kind, onnx)}


def _reduce(kind: Kind, source: Path, target: Path, clips: RunClips, training: list[str]) -> None:
    # Late: only who asks for a twin needs the extra 'onnx'.
    if kind == "int8":
        from finetune.export.reduced.int8 import quantise

        quantise(source, target, clips.inputs(training))
    else:
        from finetune.export.reduced.float16 import halve

        halve(source, target)


def _session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _ask(session: Any, inputs: Inputs) -> np.ndarray:
    answer: np.ndarray = session.run(["probabilities"], inputs)[0][0]
    return answer
