"""How well device and patient can be read from embeddings: what an encoder should not need to know.

Both figures are 0 at chance and 1 when everything is told right. Neither is wrong by itself: patients do sound different. But a
device that is read easily is a shortcut for any classifier whose labels go with the device.
"""

import numpy as np
import pandas as pd

from common.manifest import groups

# Of the cross-validation; fewer where a device has fewer patients.
MOST_PARTS = 5


def leakage(embeddings: np.ndarray, table: pd.DataFrame) -> dict[str, float]:
    """``leak_device`` and ``leak_patient`` of the clips of a manifest; what cannot be told from these clips is left out.

    Args:
        embeddings: float [n, D].
        table: manifest of the n clips.
    """
    found = {
        "leak_device": device_leakage(embeddings, table["device"].to_numpy(), groups(table).to_numpy()),
        "leak_patient": patient_leakage(embeddings, table["patient"].to_numpy(), table["recording"].to_numpy()),
    }
    return {name: value for name, value in found.items() if value is not None}


def device_leakage(embeddings: np.ndarray, device: np.ndarray, group: np.ndarray) -> float | None:
    """Balanced accuracy of a logistic regression that names the device of patients it was not fitted on, 0 at chance and 1 at best.

    Chance, one share of the number of devices, is taken out: (accuracy - chance) / (1 - chance). Below 0 is worse than guessing.

    Args:
        embeddings: float [n, D].
        device: device of each clip, "" where it is not known, str [n].
        group: patient, or what stands for one, str [n]: a device is told on patients other than those it was learned from, since
            else knowing the patient would be enough.

    Returns:
        None where fewer than two devices have two patients each.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    from pretrain.monitor.probe import logistic_regression

    patients = pd.Series(group).groupby(device).nunique()
    known = patients[(patients > 1) & (patients.index != "")]
    if len(known) < 2:
        return None
    used = np.isin(device, known.index)
    x, y, of = embeddings[used], device[used], group[used]
    splits = list(StratifiedGroupKFold(min(MOST_PARTS, int(known.min()))).split(x, y, of))
    if any(len(np.unique(y[train])) < 2 for train, _ in splits):
        return None
    predicted = cross_val_predict(logistic_regression(), x, y, cv=splits)
    return float(balanced_accuracy_score(y, predicted, adjusted=True))


def patient_leakage(embeddings: np.ndarray, patient: np.ndarray, recording: np.ndarray) -> float | None:
    """How often a clip's nearest neighbour among other recordings is of the same patient, 0 at chance and 1 always.

    Nearest by cosine similarity. Clips of the same recording are left out: they share more than the patient. Chance is the share of
    that patient's clips among all that the neighbour is chosen from, mean over clips, and is taken out as for the device.

    Args:
        embeddings: float [n, D].
        patient: patient of each clip, "" where it is not named (such clips are left out), str [n].
        recording: recording of each clip, str [n].

    Returns:
        None where no patient has two recordings, or there is one patient only.
    """
    from sklearn.metrics.pairwise import cosine_similarity

    named = patient != ""
    patient, recording = patient[named], recording[named]
    eligible = recording[:, None] != recording[None, :]
    alike = eligible & (patient[:, None] == patient[None, :])
    asked = alike.any(axis=1)
    if not asked.any():
        return None
    chance = float((alike.sum(axis=1) / np.maximum(eligible.sum(axis=1), 1))[asked].mean())
    if chance == 1:
        return None
    nearest = np.where(eligible, cosine_similarity(embeddings[named]), -np.inf).argmax(axis=1)
    accuracy = float((patient[nearest] == patient)[asked].mean())
    return (accuracy - chance) / (1 - chance)
