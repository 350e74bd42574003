"""Supervised contrastive learning and VICReg against their papers' formulas, and objectives as a run meets them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.encoder_file import load_encoder
from common.errors import UserError
from common.manifest import data_hash, read_manifest, write_manifest
from pretrain.loss import nt_xent
from pretrain.objectives import NTXent, Pairs, SupCon, VICReg
from pretrain.objectives.sup_con import sup_con
from pretrain.objectives.vicreg import vicreg


def embeddings(size: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = torch.randn(2, size, width, generator=generator, dtype=torch.float64) * 3
    return z1, z2


def slow_sup_con(z1: Tensor, z2: Tensor, temperature: float, labels: list[int], codes: list[int] | None = None) -> float:
    """Khosla et al. 2020, equation 2, over 2, where a label of -1 is unknown: its view has its partner only as a positive."""
    size = len(z1)
    views = [view / view.norm() for view in (*z1, *z2)]
    total = 0.0
    for i in range(2 * size):
        positives, allowed = [], []
        for a in range(2 * size):
            if a == i:
                continue
            alike = labels[a % size] == labels[i % size] != -1
            if alike or a % size == i % size:
                positives.append(a)
                allowed.append(a)
            elif codes is None or codes[a % size] != codes[i % size]:
                allowed.append(a)
        denominator = sum(math.exp(float(views[i] @ views[a]) / temperature) for a in allowed)
        inner = sum(math.log(math.exp(float(views[i] @ views[p]) / temperature) / denominator) for p in positives)
        total += -1 / len(positives) * inner
    return total / (2 * size)


LABELS = {"all": [0, 1, 0, 2, 1, 0], "some": [0, -1, 0, 2, -1, 2], "one": [4, -1, -1, -1, -1, -1], "alike": [3] * 6}


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("codes", [None, [0, 0, 0, 1, 1, 2]])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("block", [None, 5])
def test_sup_con_equals_the_paper(labels: str, codes: list[int] | None, temperature: float, block: int | None) -> None:
    z1, z2 = embeddings(6, 5)
    coded = None if codes is None else torch.tensor([codes])
    loss = sup_con(z1, z2, temperature, torch.tensor([LABELS[labels]]), coded, block=block)
    assert loss.item() == pytest.approx(slow_sup_con(z1, z2, temperature, LABELS[labels], codes), rel=1e-9)


def test_sup_con_without_a_label_is_nt_xent() -> None:
    z1, z2 = embeddings(6, 5)
    codes = torch.tensor([[0, 0, 1, 2, 3, 1]])
    unknown = torch.full((1, 6), -1)
    assert torch.allclose(sup_con(z1, z2, 0.1, unknown, codes), nt_xent(z1, z2, 0.1, codes), rtol=1e-12)
    assert not torch.allclose(sup_con(z1, z2, 0.1, unknown + 1, codes), nt_xent(z1, z2, 0.1, codes))


def test_sup_con_takes_labels_of_each_view() -> None:
    z1, z2 = embeddings(2, 3)
    # The second view of the first clip is a recording that is labelled as the second clip: three views are alike, and one is alone.
    loss = sup_con(z1, z2, 1.0, torch.tensor([[0, 1], [1, 1]]))
    views = [view / view.norm() for view in (*z1, *z2)]
    positives = {0: [2], 1: [2, 3], 2: [0, 1, 3], 3: [1, 2]}
    wanted = 0.0
    for i, of_view in positives.items():
        denominator = sum(math.exp(float(views[i] @ views[a])) for a in range(4) if a != i)
        wanted -= sum(math.log(math.exp(float(views[i] @ views[p])) / denominator) for p in of_view) / len(of_view) / 4
    assert loss.item() == pytest.approx(wanted, rel=1e-9)


def test_sup_con_gradients() -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(4, 3))
    labels, codes = torch.tensor([[0, 0, -1, 1]]), torch.tensor([[0, 0, 1, 1]])
    assert torch.autograd.gradcheck(lambda a, b: sup_con(a, b, 0.3, labels, codes, block=3), (z1, z2))


def slow_vicreg(z1: Tensor, z2: Tensor, weights: tuple[float, float, float]) -> float:
    """Bardes et al. 2022, equations 1 to 6, element by element, with s over D and half the variance term as in the authors' code."""
    size, width = z1.shape

    def covariance(z: Tensor, j: int, k: int) -> float:
        means = [float(z[:, each].sum()) / size for each in (j, k)]
        return sum((float(row[j]) - means[0]) * (float(row[k]) - means[1]) for row in z) / (size - 1)

    invariance = sum(float(((a - b) ** 2).sum()) for a, b in zip(z1, z2, strict=True)) / size / width
    variance = covariances = 0.0
    for z in (z1, z2):
        variance += sum(max(0.0, 1 - math.sqrt(covariance(z, j, j) + 1e-4)) for j in range(width)) / width
        covariances += sum(covariance(z, j, k) ** 2 for j in range(width) for k in range(width) if j != k) / width
    return weights[0] * invariance + weights[1] * variance / 2 + weights[2] * covariances


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("scale", [0.1, 0.5, 2.0])
def test_vicreg_equals_the_paper(weights: tuple[float, float, float], scale: float) -> None:
    z1, z2 = (z * scale / 3 for z in embeddings(6, 4))
    assert vicreg(z1, z2, *weights).item() == pytest.approx(slow_vicreg(z1, z2, weights), rel=1e-9, abs=1e-12)


def test_vicreg_gradients_and_a_batch_of_one() -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(5, 3))
    assert torch.autograd.gradcheck(lambda a, b: vicreg(a * 0.2, b * 0.2), (z1, z2))
    assert vicreg(z1[:1], z2[:1]).isfinite()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert vicreg(z1.bfloat16(), z2.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("objective", [NTXent(0.2), SupCon(0.2), VICReg()], ids=lambda each: type(each).__name__)
def test_the_mean_over_processes_is_the_loss_of_the_joined_batch(objective: Any) -> None:
    labels, codes = torch.tensor([[0, -1, 0, 2, -1, 2]]), torch.tensor([[0, 0, 1, 2, 3, 3]])
    whole, shared = (tuple(z.requires_grad_() for z in embeddings(6, 5)) for _ in range(2))
    loss = objective(Pairs(*whole, slice(0, 6), codes, labels))
    mean = torch.stack([objective(Pairs(*shared, own, codes, labels)) for own in (slice(0, 3), slice(3, 6))]).mean()
    assert torch.allclose(mean, loss, rtol=1e-12)
    loss.backward()
    mean.backward()
    for z, wanted in zip(shared, whole, strict=True):
        assert torch.allclose(z.grad, wanted.grad, rtol=0, atol=1e-11) and wanted.grad.abs().sum() > 0


@pytest.fixture
def partly_labelled(made: Path, tmp_path: Path) -> Path:
    """The made patients, every third clip without one of its labels."""
    table = read_manifest(made / "manifest.csv", ("normal", "wheeze", "crackle"))
    table.loc[table.index % 3 == 0, "wheeze"] = np.nan
    write_manifest(tmp_path / "manifest.csv", table)
    return tmp_path / "manifest.csv"


def test_a_supervised_run_says_which_labels_it_used(made: Path, fit: Any, partly_labelled: Path, tmp_path: Path, capsys: Any) -> None:
    supervised = ["--model.objective", "pretrain.objectives.SupCon", "--data.labels", '["wheeze", "crackle"]']
    held_out = ["--data.exclude_folds", str(made / "folds.csv"), "--data.exclude_fold", "1", "--data.validation_share", "0"]
    where = ["--data.manifest", str(partly_labelled), "--data.store", str(made / "store")]
    figures = fit(tmp_path / "run", *where, *supervised, *held_out)
    said = " ".join(capsys.readouterr().err.split())
    assert "Labels are used (wheeze, crackle): 8 of 12 clips to train on have all of them." in said
    file = load_encoder(figures["encoder"])
    assert file.provenance["labels"] == ["wheeze", "crackle"]
    assert file.provenance["config"]["model"]["objective"]["class_path"].endswith("SupCon")
    table = read_manifest(partly_labelled, ("wheeze", "crackle"))
    seen = table[table["patient"].isin(file.patients)]
    assert file.provenance["data_hash"] == data_hash(seen, ["wheeze", "crackle"]) and len(file.patients) == 4
    # The labels of those who are held out change nothing: they are never used.
    table.loc[~table["patient"].isin(file.patients), ["wheeze", "crackle"]] = 1.0
    write_manifest(tmp_path / "changed.csv", table)
    where = ["--data.manifest", str(tmp_path / "changed.csv"), "--data.store", str(made / "store")]
    assert fit(tmp_path / "again", *where, *supervised, *held_out)["loss"] == figures["loss"]
    # Those of the others do.
    table.loc[table["patient"].isin(file.patients), "wheeze"] = np.nan
    table.loc[seen.index[:2], "wheeze"] = 1.0
    write_manifest(tmp_path / "changed.csv", table)
    assert fit(tmp_path / "other", *where, *supervised, *held_out)["loss"] != figures["loss"]


def test_vicreg_trains_and_names_its_weights_in_the_config(fit: Any, tmp_path: Path) -> None:
    weights = ["--model.objective", "pretrain.objectives.VICReg", "--model.objective.covariance", "0.5"]
    figures = fit(tmp_path / "run", *weights, "--model.projection_dim", "32")
    assert 0 < figures["loss"] < 100 and 0 <= figures["val_accuracy"] <= 1
    objective = load_encoder(figures["encoder"]).provenance["config"]["model"]["objective"]
    assert objective["init_args"] == {"invariance": 25.0, "variance": 25.0, "covariance": 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.objective", "pretrain.objectives.SupCon"], "The objective SupCon needs labels: set data.labels"),
        (["--data.labels", '["wheeze"]'], "the objective NTXent uses no labels"),
        (["--model.objective", "pretrain.objectives.SupCon", "--data.labels", '["stridor"]'], "has no label column 'stridor'"),
        (["--model.objective.temperature", "0"], "NTXent: temperature is 0.0, expected a number above 0"),
        (["--model.objective.block", "0"], "NTXent: block is 0"),
        (["--model.objective", "pretrain.objectives.VICReg", "--model.objective.variance", "0"], "VICReg: variance is 0.0"),
        (["--model.chunk_size", "0"], "model.chunk_size is 0"),
        (["--trainer.accumulate_grad_batches", "2"], "as data.batch_size and a part that fits the memory as model.chunk_size"),
        (["--model.views", "two_recordings"], "has no patient with two recordings at one site"),
    ],
)
def test_mistakes_are_named(fit: Any, tmp_path: Path, capsys: Any, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as exit:
        fit(tmp_path / "run", *arguments)
    assert exit.value.code == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_labels_that_nobody_annotates_are_refused(made: Path, fit: Any, tmp_path: Path, capsys: Any) -> None:
    table = read_manifest(made / "manifest.csv").assign(wheeze="")
    write_manifest(tmp_path / "manifest.csv", table)
    arguments = ["--data.manifest", str(tmp_path / "manifest.csv"), "--data.store", str(made / "store"), "--data.labels", '["wheeze"]']
    with pytest.raises(SystemExit):
        fit(tmp_path / "run", *arguments, "--model.objective", "pretrain.objectives.SupCon")
    assert "annotates no clip that is trained on with all of data.labels, ['wheeze']" in capsys.readouterr().err


def test_settings_are_refused_without_a_command_line_too() -> None:
    with pytest.raises(UserError, match="covariance is -1"):
        VICReg(covariance=-1)
