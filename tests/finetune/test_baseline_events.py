"""Annotated events as supervision of a baseline: learnt from training patients alone, and refused where they do not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from made_annotated import with_events
from made_baseline import arguments, noise, write_config
from refusals import sentence

from common.encoders import EfficientAT
from common.frontends import LogMel
from common.training.checkpoint import open_module
from finetune.__main__ import main
from finetune.baseline.annotated_events import frame_targets
from finetune.baseline.frame_features import FrameFeatures
from finetune.classifier import Classifier
from finetune.frame_head import FrameHead, FramesToLabels


def test_the_run_is_one_that_report_and_ensemble_take(breaths: Path, taught_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, figures = taught_run
    assert figures["macro_auroc"] > 0.9
    record = json.loads((run / "run.json").read_text())
    assert record["classifier"]["class_path"].endswith("FrameNetwork") and record["events_hash"]
    assert json.loads((run / "fold-0" / "fold.json").read_text())["num_features"] == 2 * 16 * 4
    main(arguments(breaths, write_config(tmp_path), tmp_path / "plain"))
    runs = json.dumps([str(tmp_path / "plain"), str(run)])
    joined = main(["ensemble", "--runs", runs, "--rule", "stacked", "--out", str(tmp_path / "joined")])
    assert joined["macro_auroc"] > 0.9
    reported = main(["report", "--run", str(run), "--resamples", "20", "--examples", "0"])
    assert "FrameNetwork(" in Path(reported["report"]).read_text()


def test_a_fold_file_answers_what_the_fold_predicted_and_all_share_one_encoder(
    breaths: Path, taught_run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    exported = main(["export", "--run", str(taught_run[0]), "--out", str(tmp_path / "model.pt")])
    manifest = pd.read_csv(breaths / "manifest.csv", index_col="clip_id")
    predictions = pd.read_csv(taught_run[0] / "oof.csv").set_index("clip_id")
    for fold, path in enumerate(exported["fold_models"]):
        model = torch.jit.load(path)
        for clip_id, row in predictions[predictions["fold"] == fold].head(4).iterrows():
            waveform, rate = soundfile.read(manifest.loc[clip_id, "path"], dtype="float32")
            answered = model(torch.from_numpy(waveform)[None], rate)[0][0].detach()
            np.testing.assert_allclose(answered, row[["prob_normal", "prob_wheeze", "prob_crackle"]].astype(float), atol=1e-5)
    of_all = torch.jit.load(tmp_path / "model.pt")
    assert of_all.listener.inlined_graph.findAllNodes("aten::_convolution") and len(list(of_all.networks.children())) == 3
    for network in of_all.networks.children():
        assert not network.inlined_graph.findAllNodes("aten::_convolution")
    main(["explain", "--run", str(taught_run[0]), "--out", str(tmp_path / "explained.html"), "--clip", '["r01"]'])
    assert "occlusion" in (tmp_path / "explained.html").read_text().lower()


def test_events_of_held_out_patients_teach_nothing(breaths: Path, taught_run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """With the held-out patients' events gone or turned round the fold's predictions are the same to the last digit; with others' not."""
    folds = pd.read_csv(breaths / "folds.csv")
    events = pd.read_csv(breaths / "events.csv")
    held_out = events["recording"].isin(folds["recording"][folds["fold"] == 1])
    turned = events.copy()
    turned.loc[held_out, ["wheeze", "crackle"]] = 1 - turned.loc[held_out, ["wheeze", "crackle"]]
    before = taught_run[0] / "fold-1" / "predictions.csv"
    for name, changed in (("gone", events[~held_out]), ("turned", turned)):
        changed.to_csv(tmp_path / f"{name}.csv", index=False)
        main(with_events(breaths, tmp_path / name, "--data.events", str(tmp_path / f"{name}.csv")))
        assert (tmp_path / name / "fold-1" / "predictions.csv").read_bytes() == before.read_bytes()
        told = {of: json.loads((of / "fold-1" / "fold.json").read_text())["frames"]["wheeze"] for of in (taught_run[0], tmp_path / name)}
        assert told[taught_run[0]]["auroc"] > 0.8 and 0 < told[taught_run[0]]["threshold"] < 1
        if name == "gone":
            assert told[tmp_path / name] == {"frames": 0, "threshold": None, "f1": None, "auroc": None}
        else:
            assert told[tmp_path / name]["auroc"] < 0.2, "of the very same answers"
        other = (tmp_path / name / "fold-0" / "predictions.csv").read_bytes()
        assert other != (taught_run[0] / "fold-0" / "predictions.csv").read_bytes(), "they train the other folds"


def test_events_teach_and_without_any_the_labels_of_clips_do(
    breaths: Path, taught_run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    words = arguments(breaths, breaths / "config.yaml", tmp_path / "none")
    assert main(words)["macro_auroc"] > 0.7
    taught, untaught = (pd.read_csv(run / "oof.csv")["prob_wheeze"] for run in (taught_run[0], tmp_path / "none"))
    assert not np.allclose(taught, untaught)
    assert "events_hash" not in json.loads((tmp_path / "none" / "run.json").read_text())
    assert "frames" not in json.loads((tmp_path / "none" / "fold-0" / "fold.json").read_text())


def test_frames_hold_what_lies_in_them() -> None:
    spans = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 4]])
    borders = np.array([[0.2, 0.5], [1.0, 2.3], [2.95, 4.0]])
    labels = np.array([[1.0, 0.0], [0.0, np.nan], [0.0, 1.0]])
    found = frame_targets(spans, borders, labels, held=0.5, touched=0.1)
    # 0.3 s of the third frame are of the breath that is not annotated for the second label, and 0.05 s of the one that has it.
    expected = [[1, 0], [0, np.nan], [0, np.nan], [0, 1], [np.nan, np.nan]]
    np.testing.assert_array_equal(found, expected)


def test_frames_are_the_layers_maps_and_lie_where_they_were_heard() -> None:
    torch.manual_seed(0)
    front_end, encoder = LogMel(num_mels=32, hop=32), EfficientAT(width=0.1).eval()
    features = FrameFeatures(front_end, encoder, layers=[4, 6], clip_s=3.0)
    # Windows at 0, 1.5, 3 and 3.5 s.
    waveform = noise(26000)
    with torch.inference_mode():
        found = features(waveform)
        maps = encoder.layer_maps(front_end(waveform[:, 12000:24000]), [4, 6])
    number = features.num_frames
    assert number == maps[0].shape[3] and found.shape == (2, 4 * number, sum(of.shape[1] * of.shape[2] for of in maps))
    assert torch.allclose(found[1, 2 * number + 7], torch.cat([of[1, :, :, 7].flatten() for of in maps]), atol=1e-5)
    spans = features.spans(26000)
    assert spans.shape == (4 * number, 2) and spans[2 * number + 7] == pytest.approx([3 + 7 * 0.064, 3 + 8 * 0.064])
    assert spans[-1, 1] == 6.5 and spans[number - 1, 1] == 3.0 and (np.diff(spans) >= 0).all()
    # What a clip of one second is filled with lies behind its end.
    assert (np.diff(features.spans(4000))[17:] == 0).all() and features.spans(4000)[-1, 1] == 1.0


def test_the_head_hears_both_directions_and_averages_its_networks() -> None:
    torch.manual_seed(0)
    head = FrameHead(("wheeze",), units=8, networks=2).make(5, 3).eval()
    feature_map = torch.randn(2, 5, 9)
    head.mean[:], head.deviation[:] = 1.0, 2.0
    with torch.inference_mode():
        frames = ((feature_map - 1) / 2).transpose(1, 2)
        alone = [network(frames) for network in head.networks]
        assert torch.allclose(head(feature_map), (alone[0][1] + alone[1][1]) / 2, atol=1e-6)
        for changed, place in ((0, 8), (8, 0)):
            other = frames.clone()
            other[:, changed] += 1
            assert (head.networks[0](other)[0][:, place] != alone[0][0][:, place]).all()


def test_crossval_trains_the_same_head_on_standardised_frames(made: Path, tmp_path: Path, capsys: Any) -> None:
    encoder = {"class_path": "common.encoders.EfficientAT", "init_args": {"width": 0.1}}
    frames = {"class_path": "common.encoders.LayerFrames", "init_args": {"encoder": encoder, "num_bins": 16, "layers": [4, 6]}}
    head = {"class_path": "finetune.frame_head.FrameHead", "init_args": {"events": ["wheeze"], "units": 8}}
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv"), "--data.store", str(made / "store")]
    words = ["fit", "-c", str(made / "tiny.yaml"), *data, "--model.encoder", json.dumps(frames), "--model.frame_head", json.dumps(head)]
    words += ["--model.dropout", "0", "--trainer.max_epochs", "1"]
    main([*words, "--model.mode", "linear_probe", "--out", str(tmp_path / "run")])
    model = open_module(tmp_path / "run" / "best.ckpt", Classifier)
    assert isinstance(model.head, FramesToLabels)
    waveforms = [soundfile.read(path, dtype="float32")[0] for path in pd.read_csv(made / "manifest.csv")["path"]]
    with torch.inference_mode():
        windows = torch.stack([torch.from_numpy(np.resize(waveform, 4000)) for waveform in waveforms])
        found = model.head.standardised(model.encoder.feature_map(model.front_end(windows)))
    # Of all clips, those of validation and held-out patients among them, whose beginnings alone are taken here.
    assert found.mean(dim=(0, 1)).abs().max() < 0.6 and (found.std(dim=(0, 1)) - 1).abs().max() < 0.6
    frames["init_args"]["num_bins"] = 64
    words[words.index("--model.encoder") + 1] = json.dumps(frames)
    assert "set its num_bins to 16" in sentence(capsys, [*words, "--out", str(tmp_path / "other")])


def test_what_does_not_fit_is_refused_in_one_sentence(breaths: Path, tmp_path: Path, capsys: Any) -> None:
    events = pd.read_csv(breaths / "events.csv")
    silent = events.assign(wheeze=0)
    strange = events.assign(recording="x" + events["recording"])
    stolen = events.assign(patient="p99")
    for name, table in (("silent", silent), ("strange", strange), ("stolen", stolen), ("bare", events.drop(columns="crackle"))):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    out = tmp_path / "run"
    for options, said in (
        (("--data.events", str(tmp_path / "none.csv")), "none.csv"),
        (("--data.events", str(tmp_path / "strange.csv")), "None of the 70 events"),
        (("--data.events", str(tmp_path / "stolen.csv")), "make both manifests of the same dataset"),
        (("--data.events", str(tmp_path / "bare.csv")), "no label column 'crackle'"),
        (("--data.events", str(tmp_path / "silent.csv")), "'wheeze' in a fold, 0 hold an event"),
        (("--model.classifier.init_args.touched", "0.7"), "touched 0.7"),
        (("--model.classifier.init_args.units", "3"), "units 3"),
        (("--model.features.init_args.layers", "[40]"), "layers 0 to 16"),
        (("--model.features.init_args.layers", "[2, 6]"), "layers of as many frames each"),
        (("--model.features.init_args.layers", "[]"), "layers of as many frames each"),
        (("--model.features.init_args.hop_s", "3"), "hop_s 3 s"),
        (("--model.classifier.init_args.mixup", "-1"), "mixup -1"),
        (("--model.resampling", "finetune.baseline.resampling.RandomOversampling"), "leave --model.resampling out"),
        (("--model.classifier", "finetune.baseline.classifiers.Logistic"), "the classifier is Logistic"),
        (("--model.features", "finetune.baseline.features.EncoderFeatures"), "a network over frames needs FrameFeatures"),
    ):
        assert said in sentence(capsys, with_events(breaths, out, *options)), options
        assert not out.exists(), options
    words = arguments(breaths, breaths / "config.yaml", out, "--model.classifier", "finetune.baseline.classifiers.Logistic")
    assert "Logistic is given FrameFeatures" in sentence(capsys, words)


def test_a_run_goes_on_with_its_own_events_alone(breaths: Path, tmp_path: Path, capsys: Any) -> None:
    events = tmp_path / "events.csv"
    events.write_bytes((breaths / "events.csv").read_bytes())
    words = with_events(breaths, tmp_path / "run", "--data.events", str(events))
    main(words)
    main(words)
    assert "nothing to do" in capsys.readouterr().err
    pd.read_csv(events).iloc[4:].to_csv(events, index=False)
    assert "The annotated events changed" in sentence(capsys, words)
