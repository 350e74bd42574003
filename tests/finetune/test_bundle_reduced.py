"""The bundle's twins in fewer bits: what they lose, measured on clips that their networks held out, and that they verify."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from made_bundle_scripts import rehash
from refusals import refusal
from sklearn.metrics import roc_auc_score

from common.errors import UserError
from finetune.__main__ import main
from finetune.evaluation.out_of_fold import check_out_of_fold
from finetune.export.node_names import encoder_of
from finetune.export.reduced.clips import RunClips
from finetune.export.reduced.cut import cut_network
from finetune.export.reduced.loss import auroc_loss
from finetune.export.reduced.write import Wanted, write_reduced
from finetune.run_folder import read_run_folder
from tests.docs.pages import ROOT, names, tables

LABELS = ["normal", "wheeze", "crackle"]
FEWER = ["--twins", "int8", "float16", "--per_fold", "false"]


@pytest.fixture(scope="module")
def twins(exported: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    return json.loads((exported[0] / "model.json").read_text())["twins"]


def test_the_loss_is_that_of_the_folds_that_held_each_clip_out(
    exported_run: Path, exported: tuple[Path, dict[str, Any]], twins: dict[str, Any]
) -> None:
    oof = pd.read_csv(exported_run / "oof.csv")
    card = (exported[0] / "MODEL_CARD.md").read_text()
    assert "on 47 clips of 12 patients that they held out" in card
    for kind, about in twins.items():
        loss = about["loss"]
        assert (loss["clips"], loss["groups"], loss["over"], loss["limit"]) == (47, 12, "patients", 1)
        assert exported[1]["twins"][kind] == loss["macro"]
        for label in LABELS:
            of, known = loss["labels"][label], oof[(oof["quality"] != "poor") & oof[f"target_{label}"].notna()]
            # oof.csv is of the store's 16 bits.
            expected = roc_auc_score(known[f"target_{label}"], known[f"prob_{label}"])
            assert of["auroc"] == pytest.approx(expected, abs=0.01)
            assert of["loss"] == pytest.approx(of["auroc"] - of["reduced_auroc"]) and of["interval"][0] <= of["interval"][1]
        of_both = [loss["labels"][label]["reduced_auroc"] for label in ("wheeze", "crackle")]
        assert loss["macro"]["reduced_auroc"] == pytest.approx(np.mean(of_both))
        assert f"| {kind} | macro | {loss['macro']['auroc']:.4f} | {loss['macro']['reduced_auroc']:.4f} |" in card


def test_a_network_is_cut_out_of_the_model_as_it_is_alone(exported: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    waveform, lengths = 0.1 * torch.randn(3, 9000, generator=torch.Generator().manual_seed(0)), torch.tensor([9000, 4100, 700])
    inputs = {"waveform": waveform.numpy(), "lengths": lengths.numpy()}
    for number in range(2):
        cut_network(exported[0] / "model.onnx", tmp_path / "cut.onnx", number, 2)
        session = onnxruntime.InferenceSession(str(tmp_path / "cut.onnx"), providers=["CPUExecutionProvider"])
        probabilities, flags = session.run(["probabilities", "flags"], inputs)
        alone = torch.jit.load(str(exported[0] / "folds" / f"fold-{number}.pt"))
        with torch.inference_mode():
            expected, expected_flags = alone(waveform, 4000, lengths)
        np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-5, rtol=0)
        assert (flags == expected_flags.numpy()).all()
        encoders = {encoder_of(node.name) for node in onnx.load(tmp_path / "cut.onnx").graph.node} - {None}
        assert encoders == {f"networks.{number}.listener.encoder"}
    with pytest.raises(UserError, match="an average over 3 networks"):
        cut_network(exported[0] / "model.onnx", tmp_path / "cut.onnx", 0, 3)
    # Of one network there is nothing to cut away.
    cut_network(tmp_path / "cut.onnx", tmp_path / "whole.onnx", 0, 1)
    assert (tmp_path / "whole.onnx").read_bytes() == (tmp_path / "cut.onnx").read_bytes()


def test_no_network_is_judged_or_calibrated_on_what_it_must_not_have_heard(finished_run: tuple[Path, dict[str, Any]]) -> None:
    run = read_run_folder(finished_run[0])
    clips, predictions = RunClips(run, run.manifest(), 4000, None), run.out_of_fold()
    judged = clips.held_out(predictions, 20)
    held_out = run.held_out_by()
    assert len(judged.table) == 20 and all(held_out[clip] == fold for clip, fold in zip(judged.table["clip_id"], judged.fold, strict=True))
    for fold in judged.folds:
        calibrated = set(clips.training([fold], 100))
        assert calibrated and not calibrated & {clip for clip, of in held_out.items() if of == fold}
        assert calibrated == set(run.folds["clip_id"][run.folds[f"role_{fold}"] == "train"])
    with pytest.raises(UserError, match="does not hold it out"):
        clips.held_out(replace(predictions, fold=(predictions.fold + 1) % 3), 20)


def test_only_encoders_have_fewer_bits(exported: tuple[Path, dict[str, Any]], twins: dict[str, Any]) -> None:
    types = {}
    for name in ("model.onnx", *(about["file"] for about in twins.values())):
        graph = onnx.load(exported[0] / name).graph
        weights = {weight.name: weight.data_type for weight in graph.initializer}
        types[name] = {
            (of, weights[node.input[1]])
            for node in graph.node
            for of in ("front_end", "encoder", "head")
            if node.op_type in ("Conv", "Gemm") and f".{of}" in node.name and node.input[1] in weights
        }
    float32, float16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    assert types["model.onnx"] == {("front_end", float32), ("encoder", float32), ("head", float32)}
    assert types["model.float16.onnx"] == {("front_end", float32), ("encoder", float16), ("head", float32)}
    # The first convolution of each encoder stays; the others take their weights through DequantizeLinear.
    graph = onnx.load(exported[0] / "model.int8.onnx").graph
    convolutions = [node for node in graph.node if node.op_type == "Conv" and ".encoder" in node.name]
    through = [node for node in convolutions if "DequantizeLinear" in node.input[1]]
    assert types["model.int8.onnx"] == types["model.onnx"] and (len(convolutions), len(through)) == (4, 2)


def test_they_answer_like_the_model_and_verify_by_their_own_golden_clips(
    exported: tuple[Path, dict[str, Any]], bundle: Path, twins: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 < twins["float16"]["difference"] < 0.01 and 0 < twins["int8"]["difference"] < 0.1
    found = main(["verify", str(exported[0])])["onnx"]
    assert found["twins"].keys() == {"model.int8.onnx", "model.float16.onnx"} and max(found["twins"].values()) <= 1e-6
    expected = bundle / twins["int8"]["golden"]["expected"]
    changed = json.loads(expected.read_text())
    assert changed["tolerance"] == twins["int8"]["golden"]["tolerance"]
    changed["clips"][0]["probabilities"][1] += 1.5 * changed["tolerance"]
    expected.write_text(json.dumps(changed))
    rehash(bundle)
    assert "model.int8.onnx answers short with a difference of 3.0e-02" in refusal(capsys, ["verify", str(bundle)])


def test_docs_name_their_keys(twins: dict[str, Any]) -> None:
    of_twin, of_loss, _ = tables(ROOT / "docs" / "bundle.md", "Twins in fewer bits")
    assert names(of_twin) == twins["int8"].keys() | {"reason"}
    loss = twins["int8"]["loss"]
    assert names(of_loss) == loss.keys() | loss["macro"].keys()


@pytest.fixture
def export(finished_run: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command without what is slow and another test's: the float32 graphs."""
    about = {"sample_rate": 4000, "inputs": [], "outputs": [], "parity": 0.0}
    monkeypatch.setattr("finetune.export.bundle.write_twins", lambda *_: {"onnx": about, "pt2": {"reason": "left out"}})
    return ["export", "--run", str(finished_run[0]), *FEWER]


def test_one_that_loses_more_than_the_limit_is_left_out(export: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(judged: Any, *_: Any) -> Any:
        full = np.nan_to_num(judged.targets)
        return full, {"int8": np.full_like(full, 0.5), "float16": np.full_like(full, 0.5)}

    monkeypatch.setattr("finetune.export.reduced.write._answers", answers)
    main([*export, "--out", str(tmp_path / "bundle"), "--twin_max_loss", "0.49"])
    about = json.loads((tmp_path / "bundle" / "model.json").read_text())["twins"]["int8"]
    assert about["reason"] == "it loses 0.5000 of macro AUROC, more than 0.49" and about["loss"]["macro"]["reduced_auroc"] == 0.5
    assert not (tmp_path / "bundle" / "model.int8.onnx").exists()
    assert "There is no int8 file**: it loses 0.5000" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()


def test_without_the_recordings_there_is_a_reason(export: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.run_folder.RunFolder.manifest", lambda *_: None)
    main([*export, "--out", str(tmp_path / "bundle")])
    about = json.loads((tmp_path / "bundle" / "model.json").read_text())["twins"]
    assert "there are no clips to judge it by" in about["float16"]["reason"] and "loss" not in about["float16"]


def test_nothing_is_measured_where_no_twin_is_asked_for(tmp_path: Path) -> None:
    nothing: Any = None
    assert write_reduced(tmp_path, nothing, nothing, nothing, {"sample_rate": 4000}, Wanted()) == {}


def test_a_file_alone_has_none(export: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--twins is of a bundle" in refusal(capsys, [*export, "--out", str(tmp_path / "model.pt")])
    assert "--twin_clips is 0" in refusal(capsys, [*export, "--out", str(tmp_path / "bundle"), "--twin_clips", "0"])


def test_the_loss_by_hand() -> None:
    """Four clips of two patients: the reduced file swaps one pair of the four that AUROC counts."""
    columns = {"clip_id": list("abcd"), "recording": list("abcd"), "patient": list("ppqq"), "quality": "", "fold": 0}
    targets, full, reduced = [1, 0, 1, 0], [0.9, 0.1, 0.8, 0.2], [0.9, 0.1, 0.3, 0.4]
    predictions = check_out_of_fold(pd.DataFrame({**columns, "target_a": targets, "prob_a": full}), ["a"])
    found = auroc_loss(predictions, np.array(full)[:, None], np.array(reduced)[:, None], ["a"])
    assert (found["macro"]["auroc"], found["macro"]["reduced_auroc"], found["macro"]["loss"]) == (1.0, 0.75, 0.25)
    # Patient p alone loses nothing, patient q alone all of it, both 0.25.
    assert found["macro"]["interval"] == [0.0, 1.0] and found["labels"]["a"] == found["macro"] and found["groups"] == 2
    same = auroc_loss(predictions, np.array(full)[:, None], np.array(full)[:, None], ["a"])
    assert same["macro"]["loss"] == 0 and same["macro"]["interval"] == [0.0, 0.0]
