"""What an encoder's embeddings know of the labels, by a kNN and a linear classifier on patients that it never saw."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional

from common.windows import clip_windows, pool_windows

if TYPE_CHECKING:
    from pretrain.data import PretrainData
    from pretrain.simclr import SimCLR

Scores = dict[str, float]


class ProbeEpochs(pl.Callback):
    """Probes the encoder every ``data.probe_every_epochs`` epochs and after the last: val/knn_auroc/LABEL, val/linear_auroc/LABEL.

    Does nothing where the data module has no probe clips.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        if getattr(data, "probe", None) is None:
            return
        epochs = trainer.current_epoch + 1
        if epochs % data.probe_every_epochs and epochs != trainer.max_epochs:
            return
        # One process is enough, and the probes are the same in all.
        scores = probe_scores(pl_module, data) if trainer.is_global_zero else {}
        for name, value in scores.items():
            pl_module.log(f"val/{name}", value, rank_zero_only=True)


def probe_scores(model: "SimCLR", data: "PretrainData") -> Scores:
    """AUROC of both probes for each label, on the tested half of the probe's patients.

    Returns:
        ``knn_auroc/LABEL`` and ``linear_auroc/LABEL``; a label without both classes in either half is left out.
    """
    probe = data.probe
    assert probe is not None
    embeddings = embed_clips(model, data, probe.rows).numpy()
    trained = probe.trained.numpy()
    scores: Scores = {}
    for label in probe.labels:
        targets = probe.table[label].to_numpy(dtype=float)
        known = ~np.isnan(targets)
        train, test = known & trained, known & ~trained
        if len(np.unique(targets[train])) < 2 or len(np.unique(targets[test])) < 2:
            continue
        from sklearn.metrics import roc_auc_score

        for name, classify in (("knn", knn), ("linear", linear)):
            predicted = classify(embeddings[train], targets[train], embeddings[test])
            scores[f"{name}_auroc/{label}"] = float(roc_auc_score(targets[test], predicted))
    return scores


def knn(train: np.ndarray, targets: np.ndarray, test: np.ndarray, k: int = 20, temperature: float = 0.07) -> np.ndarray:
    """Weighted vote of the ``k`` nearest training embeddings by cosine similarity s, each with weight exp(s / temperature).

    Args:
        train: embeddings, float [n, D].
        targets: 1 or 0, [n].
        test: embeddings, float [m, D].
        k: neighbours; all n where there are fewer. The paper takes 200 of a million pictures.
        temperature: the paper's.

    Returns:
        Share of the vote for 1, [m], 0 to 1.

    Reference:
        Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination", section 3.4.
    """
    unit_train, unit_test = (functional.normalize(torch.from_numpy(x).double(), dim=1) for x in (train, test))
    nearest = (unit_test @ unit_train.T).topk(min(k, len(train)), dim=1)
    # Softmax is exp(s / temperature) over its sum, without overflow.
    weights = functional.softmax(nearest.values / temperature, dim=1)
    return (weights * torch.from_numpy(targets)[nearest.indices]).sum(dim=1).numpy()


def linear(train: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Logit of a logistic regression on standardised embeddings: train [n, D], targets [n], test [m, D] to [m]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Half of a labelled set is small against D: the classes are weighted alike, and the default penalty keeps it from memorising.
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced"))
    return classifier.fit(train, targets).decision_function(test)


@torch.no_grad()
def embed_clips(model: "SimCLR", data: "PretrainData", rows: Tensor) -> Tensor:
    """Embed whole clips without augmentation: the mean over windows that cover each clip, float32 [n, D], on the CPU."""
    data.to_device(model.device)
    window = data.crop_samples
    clip, offsets = clip_windows(data.clips[rows.to(model.device)].length.tolist(), window, window)
    embeddings = []
    training = model.training
    model.eval()
    for batch in torch.arange(len(clip)).split(data.batch_size):
        where = rows[clip[batch]].to(model.device)
        with model.trainer.precision_plugin.forward_context():
            embedded = model(data.windows(where, offsets[batch].to(model.device)))
        embeddings.append(embedded.float().cpu())
    model.train(training)
    return pool_windows(torch.cat(embeddings), clip, len(rows), "mean")
