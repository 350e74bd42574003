"""The twins of ``model.pt`` at the model's own rate, ``model.onnx`` and ``model.pt2``: checked against it, or left out with a reason."""

import importlib.util
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError
from finetune.bundle.contents import ONNX, PT2, QUALITY
from finetune.export import recorded
from finetune.export.exportable import ExportableModel
from finetune.export.exported_ensemble import ExportedEnsemble
from finetune.export.exported_model import ExportedModel
from finetune.export.networks import check_parity
from finetune.export.quality_file import write_quality
from finetune.metadata import Metadata

Answer = Callable[..., tuple[Tensor, Tensor]]
INPUTS = ("waveform", "lengths", "metadata")
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def write_twins(
    folder: Path, file: torch.jit.ScriptModule, eager: ExportedModel | ExportedEnsemble, stream: Metadata | None
) -> dict[str, Any]:
    """Write ``model.onnx`` with ``quality.onnx`` beside it, and ``model.pt2``, into ``folder``.

    Args:
        folder: of the bundle.
        file: ``model.pt``, by which they are judged.
        eager: what it was compiled from.
        stream: the metadata that the model takes; None where it takes none.

    Returns:
        ``onnx`` and ``pt2`` of model.json: how to call each, or the ``reason`` for which it is not there.
    """
    model = ExportableModel(eager).eval()
    rates = sorted({member.sample_rate for member in model.members})
    if len(rates) > 1:
        listed = " and ".join(map(str, rates))
        reason = f"the members of the ensemble work at {listed} Hz, and a file that does not resample takes one rate: use model.pt"
        return {"onnx": {"reason": reason}, "pt2": {"reason": reason}}
    try:
        program = _record(model, stream)
    # The exporter raises what it stumbles over, of any class.
    except Exception as error:
        reason = f"torch.export cannot record the model: {_sentence(error)}"
        return {"onnx": {"reason": reason}, "pt2": {"reason": reason}}
    described = _described(eager.sample_rate, len(eager.labels), stream)

    def written(name: str, write: Callable[[Path], dict[str, Any]], opened: Callable[[Path], Answer]) -> dict[str, Any]:
        path = folder / name
        try:
            more = write(path)
            parity = _largest_difference(opened(path), file, eager, stream)
            check_parity(parity, name)
        except Exception as error:
            path.unlink(missing_ok=True)
            return {"reason": _sentence(error) if isinstance(error, UserError) else f"{name} could not be written: {_sentence(error)}"}
        return {"file": name, **described, **more, "parity": parity}

    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        onnx = {"reason": f"{', '.join(missing)} was not installed: install the extra 'onnx' and export again"}
    else:
        onnx = written(ONNX, lambda path: _save_onnx(path, program, eager), _open_onnx)
        if "file" in onnx:
            onnx |= _quality(folder)
    return {"onnx": onnx, "pt2": written(PT2, lambda path: _save_pt2(path, program), _open_pt2)}


def save_onnx(path: Path, eager: ExportedModel | ExportedEnsemble, stream: Metadata | None) -> dict[str, Any]:
    """Write a model as ``model.onnx`` is written, unchecked; see `write_twins`."""
    return _save_onnx(path, _record(ExportableModel(eager).eval(), stream), eager)


def _quality(folder: Path) -> dict[str, Any]:
    """Write ``quality.onnx``; who has none judges by ``model.onnx``, so one that cannot be written leaves the bundle as it is."""
    try:
        return {"quality": write_quality(folder)}
    except Exception as error:
        (folder / QUALITY).unlink(missing_ok=True)
        return {"quality_reason": _sentence(error)}


def _record(model: ExportableModel, stream: Metadata | None) -> torch.export.ExportedProgram:
    """The model's graph for any number of rows of any length."""
    window = model.model.window
    batch, samples = torch.export.Dim("B"), torch.export.Dim("T", min=2)
    sizes: list[dict[int, Any]] = [{0: batch, 1: samples}, {0: batch}]
    generator = torch.Generator().manual_seed(0)
    waveform = 0.1 * torch.randn(3, window + window // 4, generator=generator)
    example = [waveform, torch.tensor([waveform.shape[1], window // 2, 2])]
    if stream is not None:
        sizes.append({0: batch})
        example.append(stream.example(3, generator))
    return recorded.record(model, dict(zip(INPUTS, example, strict=False)), dict(zip(INPUTS, sizes, strict=False)))


def _save_onnx(path: Path, program: torch.export.ExportedProgram, eager: ExportedModel | ExportedEnsemble) -> dict[str, Any]:
    properties = {"sample_rate": str(eager.sample_rate), "labels": json.dumps(list(eager.labels))}
    return {"opset": recorded.save_onnx(path, program, ["probabilities", "flags"], properties)}


def _open_onnx(path: Path) -> Answer:
    # Else it calls a host of its makers some seconds after it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def answer(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        named = {name: value.numpy() for name, value in zip(INPUTS, inputs, strict=False)}
        probabilities, flags = session.run(["probabilities", "flags"], named)
        return torch.from_numpy(probabilities), torch.from_numpy(flags)

    return answer


def _save_pt2(path: Path, program: torch.export.ExportedProgram) -> dict[str, Any]:
    torch.export.save(program, path)
    return {}


def _open_pt2(path: Path) -> Answer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(path).module()


def _largest_difference(
    twin: Answer, file: torch.jit.ScriptModule, eager: ExportedModel | ExportedEnsemble, stream: Metadata | None
) -> float:
    """Largest difference of a probability between a twin and ``model.pt``.

    Raises:
        UserError: the quality flags differ.
    """
    difference = 0.0
    with torch.inference_mode():
        for inputs in _examples(eager.sample_rate, eager.window, stream):
            expected, expected_flags = file(inputs[0], eager.sample_rate, *inputs[1:])
            answered, flags = twin(*inputs)
            if not torch.equal(flags, expected_flags):
                raise UserError("The twin's quality flags differ from those of model.pt: it is not written.")
            difference = max(difference, float((answered - expected).abs().max()))
    return difference


def _examples(sample_rate: int, window: int, stream: Metadata | None) -> Iterator[list[Tensor]]:
    """Batches of one row and of several, shorter and longer than a window, with silence, clipping and what is not finite."""
    generator = torch.Generator().manual_seed(1)
    shortest = round(0.1 * sample_rate)
    for lengths in ([shortest], [window], [7 * window // 2, window // 2, shortest, 1], [2 * window, 5 * window // 3, window + 1]):
        waveform = 0.1 * torch.randn(len(lengths), max(lengths), generator=generator)
        if len(lengths) == 3:
            waveform[0] = 0.0
            waveform[1, window // 3] = torch.nan
            # Whether tops are cut flat is told by a branch of its own.
            waveform[2] = (2 * torch.sin(2 * torch.pi * 191 / sample_rate * torch.arange(waveform.shape[1]))).clamp(-1, 1)
        known = [] if stream is None else [stream.example(len(lengths), generator)]
        yield [waveform, torch.tensor(lengths), *known]


def _described(sample_rate: int, labels: int, stream: Metadata | None) -> dict[str, Any]:
    """What a twin takes and gives, for model.json."""
    inputs = [
        {"name": "waveform", "type": "float32", "shape": ["B", "T"]},
        {"name": "lengths", "type": "int64", "shape": ["B"]},
        *([] if stream is None else [{"name": "metadata", "type": "float32", "shape": ["B", len(stream.columns)]}]),
    ]
    outputs = [
        {"name": "probabilities", "type": "float32", "shape": ["B", labels]},
        {"name": "flags", "type": "int64", "shape": ["B"]},
    ]
    return {"sample_rate": sample_rate, "inputs": inputs, "outputs": outputs}


def _sentence(error: Exception) -> str:
    """The first line of what an exporter says, which may go on for pages."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
