"""What an encoder's embeddings know of the labels, by a kNN and a linear classifier on patients that it never saw."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from pretrain.data import ProbeClips


def probe_scores(embeddings: np.ndarray, probe: "ProbeClips") -> dict[str, float]:
    """AUROC of both probes for each label, on the tested half of the probe's patients.

    Args:
        embeddings: of the probe's clips, float [n, D].
        probe: the clips.

    Returns:
        ``knn_auroc/LABEL`` and ``linear_auroc/LABEL``; a label without both classes in either half is left out.
    """
    trained = probe.trained.numpy()
    scores: dict[str, float] = {}
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
    return logistic_regression().fit(train, targets).decision_function(test)


def logistic_regression() -> Any:
    """A linear classifier of embeddings, of scikit-learn, not fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Half of a labelled set is small against D: the classes are weighted alike, and the default penalty keeps it from memorising.
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced"))
