"""What the twins of ``model.pt`` can hold: metadata, ensembles, calibration; and the reason in their place where they cannot."""

from pathlib import Path

import onnxruntime
import pytest
import torch

from common.encoders import Cnn2d
from common.frontends import LogMel
from finetune.classifier import Classifier
from finetune.evaluation.calibration.calibrators import Calibrator
from finetune.export.exported_ensemble import ExportedEnsemble
from finetune.export.exported_model import ExportedModel
from finetune.export.file import script
from finetune.export.networks import Network, trace
from finetune.export.twins import write_twins
from finetune.metadata import Metadata
from finetune.tasks.multilabel import MultiLabel

LABELS = list(MultiLabel().labels)


def classifier(sample_rate: int, clip_s: float, seed: int, metadata: Metadata | None = None) -> Classifier:
    torch.manual_seed(seed)
    front_end, encoder = LogMel(sample_rate=sample_rate, num_mels=16), Cnn2d((4, 8))
    encoder.train()(front_end(0.1 * torch.randn(8, round(clip_s * sample_rate))))
    return Classifier(MultiLabel(), front_end, encoder, clip_s=clip_s, metadata=metadata).eval()


def wrapped(networks: list[torch.nn.Module], of: Classifier, aggregate: str) -> ExportedModel:
    rate = of.front_end.sample_rate
    window, columns = round(of.clip_s * rate), None if of.metadata is None else list(of.metadata.columns)
    parts = (LABELS, [0.5] * 3, rate, window, window // 2, "repeat", aggregate)
    return ExportedModel(networks, *parts, metadata_columns=columns).eval()


def ensemble(members: list[ExportedModel], columns: list[str] | None = None) -> ExportedEnsemble:
    weights, offset = torch.tensor([[0.3, 0.5, 1.0], [0.7, 0.9, 0.2]]), torch.tensor([0.1, -0.2, 0.0])
    calibrators: list[torch.nn.Module] = [
        Calibrator([0.8, 1.0, 1.3], [0.1, 0.0, -0.4], [[], [0.2, 0.4, 0.7], [0.5]], [[], [0.1, 0.2, 0.9], [0.3]]),
        Calibrator([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [[0.4, 0.6], [], []], [[0.2, 0.7], [], []]),
    ]
    return ExportedEnsemble(members, True, weights, offset, False, [0.5] * 3, calibrators, columns).eval()


@pytest.mark.filterwarnings("ignore:.*not writable")
def test_metadata_ensembles_and_calibration_are_inside(tmp_path: Path) -> None:
    stream = Metadata(["age_years"], ["sex"], vocabularies={"sex": ["F", "M"]}).eval()
    stream.median[0], stream.mean[0], stream.deviation[0] = 40.0, 45.0, 12.0
    eager, compiled = [], []
    for clip_s, aggregate in ((0.5, "mean"), (0.8, "max")):
        folds = [classifier(4000, clip_s, seed, stream) for seed in (1, 2)]
        eager.append(wrapped([Network(fold).eval() for fold in folds], folds[0], aggregate))
        compiled.append(wrapped([trace(fold, eager[-1].window) for fold in folds], folds[0], aggregate))
    file, model = script(ensemble(compiled, list(stream.columns))), ensemble(eager, list(stream.columns))
    about = write_twins(tmp_path, file, model, stream)
    assert about["onnx"]["parity"] <= 1e-5 and about["pt2"]["parity"] <= 1e-5
    assert about["onnx"]["inputs"][2] == {"name": "metadata", "type": "float32", "shape": ["B", 2]}
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    waveform, lengths = 0.1 * torch.randn(3, 5000, generator=torch.Generator().manual_seed(3)), torch.tensor([5000, 3000, 900])
    found = []
    for rows in (torch.tensor([[30.0, 0.0], [70.0, 1.0], [torch.nan, torch.nan]]), torch.full((3, 2), torch.nan)):
        inputs = {"waveform": waveform, "lengths": lengths, "metadata": rows}
        answered = session.run(["probabilities"], {name: value.numpy() for name, value in inputs.items()})[0]
        found.append(torch.from_numpy(answered))
        with torch.inference_mode():
            torch.testing.assert_close(found[-1], file(waveform, 4000, lengths, rows)[0], atol=1e-5, rtol=0)
    # What is given reaches the answer, and what is missing leaves it.
    assert (found[0] - found[1])[:2].abs().max() > 1e-3
    torch.testing.assert_close(found[0][2], found[1][2], atol=1e-6, rtol=0)


def test_an_ensemble_of_two_rates_gives_the_reason(tmp_path: Path) -> None:
    members = [classifier(rate, 0.5, seed=0) for rate in (4000, 8000)]
    model = ensemble([wrapped([Network(member).eval()] * 2, member, "mean") for member in members])
    about = write_twins(tmp_path, script(torch.nn.Identity()), model, None)
    assert about["onnx"] == about["pt2"] and "work at 4000 and 8000 Hz" in about["onnx"]["reason"]
    assert not list(tmp_path.iterdir())


def test_a_twin_that_answers_otherwise_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = classifier(4000, 0.5, seed=1), classifier(4000, 0.5, seed=2)
    file = script(wrapped([trace(other, 2000)], other, "mean"))
    monkeypatch.setattr("finetune.export.twins.ONNX_PACKAGES", ("no_such_package",))
    about = write_twins(tmp_path, file, wrapped([Network(one).eval()], one, "mean"), None)
    assert "model.pt2 differs from the model by" in about["pt2"]["reason"] and not list(tmp_path.iterdir())
