"""The probes against Wu et al.'s vote, on embeddings that know or do not know the labels, and on whole clips."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pretrain.data import ProbeClips
from pretrain.monitor.embeddings import embed_clips
from pretrain.monitor.probe import knn, linear, probe_scores


def slow_knn(train: np.ndarray, targets: np.ndarray, test: np.ndarray, k: int, temperature: float) -> list[float]:
    answers = []
    for x in test:
        cosine = [float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)) for y in train]
        nearest = sorted(range(len(train)), key=lambda row: -cosine[row])[:k]
        votes = [math.exp(cosine[row] / temperature) for row in nearest]
        answers.append(sum(vote * targets[row] for vote, row in zip(votes, nearest, strict=True)) / sum(votes))
    return answers


@pytest.mark.parametrize("k", [1, 5, 100])
def test_knn_is_the_weighted_vote(k: int) -> None:
    random = np.random.default_rng(0)
    train, test = random.standard_normal((30, 6)), random.standard_normal((9, 6)) * 4
    targets = random.integers(0, 2, 30).astype(float)
    assert knn(train, targets, test, k, 0.07) == pytest.approx(slow_knn(train, targets, test, k, 0.07))


def test_linear_probe_does_not_mind_the_scale_of_a_dimension() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 2, 80).astype(float)
    embeddings = random.standard_normal((80, 5))
    embeddings[:, 2] = (embeddings[:, 2] + 6 * targets) * 1e-4
    scores = linear(embeddings[:40], targets[:40], embeddings[40:])
    assert scores[targets[40:] == 1].min() > scores[targets[40:] == 0].max()


def clips(size: int = 60) -> tuple[pd.DataFrame, torch.Tensor]:
    random = np.random.default_rng(1)
    table = pd.DataFrame({"wheeze": random.integers(0, 2, size).astype(float), "crackle": random.integers(0, 2, size).astype(float)})
    table["stridor"] = 0.0
    embeddings = torch.from_numpy(random.standard_normal((size, 4))).float()
    embeddings[:, 0] += 8 * torch.tensor(table["wheeze"].tolist())
    table.loc[::7, "crackle"] = np.nan
    return table, embeddings


def test_scores_tell_what_embeddings_know() -> None:
    table, embeddings = clips()
    trained = torch.arange(len(table)) % 2 == 0
    probe = ProbeClips(table, torch.arange(len(table)), trained, ("wheeze", "crackle", "stridor"))
    scores = probe_scores(embeddings.numpy(), probe)
    assert set(scores) == {"knn_auroc/wheeze", "linear_auroc/wheeze", "knn_auroc/crackle", "linear_auroc/crackle"}
    assert scores["knn_auroc/wheeze"] > 0.95 and scores["linear_auroc/wheeze"] > 0.95
    assert 0.2 < scores["knn_auroc/crackle"] < 0.8


def test_probes_run_every_few_epochs_and_at_the_end_on_patients_kept_out(made: Path, fit: Any, tmp_path: Path) -> None:
    options = ["--data.probe_manifest", str(made / "manifest.csv"), "--data.probe_share", "0.5", "--data.probe_every_epochs", "2"]
    figures = fit(tmp_path / "run", *options, "--data.probe_labels", "[normal, crackle]", "--trainer.max_epochs", "3")
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    probed = metrics[metrics["metric"].str.contains("auroc")]
    assert set(probed["epoch"]) == {1, 2}
    assert set(probed["metric"]) <= {f"val/{kind}_auroc/{label}" for kind in ("knn", "linear") for label in ("normal", "crackle")}
    assert probed["value"].between(0, 1).all()
    last = probed[probed["epoch"] == 2].set_index("metric")["value"]
    assert len(last) >= 2
    assert all(figures[name.replace("/", "_")] == value for name, value in last.items())
    assert figures["patients"] == 4


def test_embeddings_are_those_of_the_windows_that_cover_a_clip(made: Path) -> None:
    import pytorch_lightning as pl

    from common.encoders.cnn import Cnn2d
    from common.frontends.log_mel import LogMel
    from pretrain.data import PretrainData
    from pretrain.simclr import SimCLR

    model = SimCLR(LogMel(num_mels=16), Cnn2d(channels=[4, 8]), clip_s=0.5)
    data = PretrainData(str(made / "manifest.csv"), batch_size=2)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    model.trainer = data.trainer = trainer
    data.setup("fit")
    rows = torch.tensor([3, 0, 5])
    model.train()
    embeddings = embed_clips(model, data, rows)
    assert model.training
    model.eval()
    # Clips of 0.9 s (3600 samples) under windows of 2000: one from the start, one to the end.
    for row, embedding in zip(rows, embeddings, strict=True):
        windows = data.windows(row.repeat(2), torch.tensor([0, 1600]))
        assert torch.allclose(embedding, model(windows).mean(dim=0), atol=1e-6)
