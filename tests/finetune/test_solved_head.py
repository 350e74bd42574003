"""A head that logistic regression solves: what it answers, against scikit-learn by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.store.waveforms import WaveformStore
from common.training.checkpoint import open_module
from common.windows import window_starts
from finetune.__main__ import main
from finetune.baseline.classifiers import Logistic
from finetune.baseline.model import BaselineModel
from finetune.classifier import Classifier
from finetune.solved_head import SolvedHead
from finetune.tasks.base import Task
from finetune.tasks.multiclass import MultiClass
from finetune.tasks.multilabel import MultiLabel

C = 0.1
SOLVED = ["--trainer.callbacks+=finetune.solved_head.SolvedHead", "--trainer.callbacks.c", str(C)]
PROBE = [*SOLVED, "--model.mode", "linear_probe", "--model.lr", "1e-12", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]


def command(made: Path, out: Path, *more: str) -> list[str]:
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv"), "--data.store", str(made / "store")]
    return ["fit", "-c", str(made / "tiny.yaml"), *data, "--out", str(out), *more]


def test_a_solved_probe_answers_as_scikit_learn_does(made: Path, tmp_path: Path) -> None:
    main(command(made, tmp_path / "run", *PROBE))
    model = open_module(tmp_path / "run" / "best.ckpt", Classifier)
    table = pd.read_csv(made / "manifest.csv", dtype={"clip_id": str})
    store = WaveformStore.open(made / "store", table, 4000)
    clips = store.clips(table)
    embeddings, starts = [], [window_starts(int(length), 4000, 2000) for length in clips.length]
    with torch.no_grad():
        for row, of_clip in enumerate(starts):
            windows = torch.cat([store.read(clips[torch.tensor([row])], torch.tensor([start]), 4000) for start in of_clip])
            embeddings.append(model.encoder(model.front_end(windows)).numpy())
    role = pd.read_csv(made / "folds.csv")["role_0"]
    for label in ("normal", "wheeze", "crackle"):
        training = ((role == "train") & table[label].notna()).to_numpy()
        features = np.stack([windows.mean(axis=0) for windows in embeddings])
        solver = make_pipeline(StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=5000))
        solver.fit(features[training], table[label][training])
        expected = [solver.predict_proba(windows)[:, 1].mean() for windows in embeddings]
        predictions = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype={"clip_id": str}).set_index("clip_id")
        held_out = dict(zip(table["clip_id"], expected, strict=True))
        found = predictions[f"prob_{label}"]
        np.testing.assert_allclose(found, [held_out[clip] for clip in found.index], atol=2e-4)
        assert found.std() > 0.01


def test_training_goes_on_from_the_solved_head_and_keeps_the_statistics_behind_it(made: Path, tmp_path: Path) -> None:
    main(command(made, tmp_path / "probe", *PROBE))
    main(command(made, tmp_path / "full", *PROBE, "--model.mode", "full", "--model.weight_decay", "0"))
    probe, full = (open_module(tmp_path / name / "best.ckpt", Classifier).state_dict() for name in ("probe", "full"))
    assert all(torch.allclose(probe[name], full[name], atol=1e-6) for name in probe)


def test_a_run_that_goes_on_keeps_its_head() -> None:
    classifier = SimpleNamespace()
    # Whatever it touched of these would fail.
    SolvedHead().on_fit_start(SimpleNamespace(ckpt_path="last.ckpt", datamodule=None), classifier)  # type: ignore[arg-type]


def test_a_head_with_hidden_layers_is_refused(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(command(made, tmp_path / "run", *PROBE, "--model.head_units", "[4]"))
    assert "solves one linear layer on the encoder's embeddings" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


CLASSES = MultiClass({"a": ["a"], "b": ["b"], "c": ["c"]}, column="kind")


@pytest.mark.parametrize(
    ("task", "present"),
    [(MultiLabel(), ()), (CLASSES, (0, 1, 2)), (CLASSES, (0, 2)), (CLASSES, (1,))],
    ids=["labels", "classes", "two_of_three", "one_of_three"],
)
@pytest.mark.parametrize("standardise", [True, False])
def test_the_linear_layer_of_a_baseline_gives_its_probabilities(task: Task, present: tuple[int, ...], standardise: bool) -> None:
    random = np.random.default_rng(0)
    features = random.normal(3.0, 2.0, (60, 5))
    if present:
        targets = np.eye(3)[random.choice(present, 60)]
    else:
        targets = (features[:, :3] + random.normal(size=(60, 3)) > 3).astype(float)
        # One label that nobody lacks, one that some clips are not annotated for.
        targets[:, 0], targets[:9, 1] = 1.0, np.nan
    model = BaselineModel(task, Logistic(0.5, standardise=standardise))
    model.fit(features, targets)
    weights, biases = model.linear(5)
    logits = torch.from_numpy(features @ weights.T + biases)
    np.testing.assert_allclose(task.probabilities(logits).numpy(), model.probabilities(features), atol=1e-6)
