"""What a reader must know before believing a figure: leaks, groups that are not patients, parts that are missing."""

from dataclasses import dataclass

from finetune.evaluation.result import Evaluation
from finetune.guard.findings import KINDS
from finetune.run_folder import RunFolder

# Findings of one code that are spelled out on the page.
SHOWN = 10


@dataclass(frozen=True)
class Caveat:
    """A box at the top of the page.

    Attributes:
        title: a few words.
        text: what it means for the figures, and what to do.
    """

    title: str
    text: str


def caveats_of(folder: RunFolder, evaluation: Evaluation) -> list[Caveat]:
    """Everything about a run that makes its figures better than they would be on new patients, or incomplete."""
    found = []
    if folder.record.get("grouped_by") != "patient":
        found.append(
            Caveat(
                "No patient column: folds are grouped by recording",
                "Recordings of one patient may be on both sides of a fold, and a model can recognise a patient. The figures are "
                "probably too good for new patients, and the intervals too narrow. Give the manifest a patient column if you can.",
            )
        )
    encoder = folder.record.get("encoder") or {}
    if encoder.get("transductive") and encoder.get("source") != "none":
        found.append(
            Caveat(
                "Transductive: the encoder was pretrained on held-out patients",
                "It heard recordings of the patients that it is judged on here, without their labels. The figures are probably too good "
                "for new patients. Pretrain one encoder per fold with 'python -m pretrain folds' for an unbiased estimate.",
            )
        )
    for fold, names in folder.leaking_groups().items():
        found.append(
            Caveat(
                f"Leak: fold {fold} trained on its held-out groups",
                f"{len(names)} held-out patients or recordings are also in its training or validation part, {names[0]} among them. "
                "Its figures are not out of fold. Make the folds again with 'python -m finetune folds'.",
            )
        )
    found += [Caveat("Split", sentence) for sentence in (folder.record.get("split") or {}).get("caveats", [])]
    if len(evaluation.folds) == 1 and not folder.record.get("transfer"):
        found.append(
            Caveat(
                "One fold",
                "Thresholds come from its validation patients, and there is no standard deviation over folds: the interval over patients "
                "says how sure a figure is, not what another division would give.",
            )
        )
    if folder.record.get("transfer"):
        calibrated = "" if folder.calibrated == "none" else f", as does the calibration ({folder.calibrated})"
        found.append(
            Caveat(
                "Trained elsewhere",
                f"The networks are those of {folder.record['transfer']['run']}, averaged over its "
                f"{len(folder.record['transfer']['folds'])} folds; no clip of this manifest was trained on, and thresholds come from that "
                f"run's own out-of-fold predictions{calibrated}. 'Fold 0' is all clips.",
            )
        )
    return found + _guard(folder) + _coverage(folder, evaluation)


def _guard(folder: RunFolder) -> list[Caveat]:
    """What the split guard let through or warned of, one box for each of its codes."""
    found: dict[str, list[dict[str, str]]] = {}
    for finding in (folder.record.get("guard") or {}).get("findings", []):
        found.setdefault(finding["code"], []).append(finding)
    caveats = []
    for code, findings in found.items():
        leak = findings[0]["severity"] == "leak"
        title = f"Allowed leak: {len(findings)} x {code}" if leak else f"Split guard: {code}"
        shown = [_words(finding) for finding in findings[:SHOWN]]
        more = f" And {len(findings) - SHOWN} more, in run.json." if len(findings) > SHOWN else ""
        caveats.append(Caveat(title, f"{KINDS[code].meaning if code in KINDS else ''} {'; '.join(shown)}.{more}".strip()))
    return caveats


def _words(finding: dict[str, str]) -> str:
    what = " and ".join(filter(None, (finding["item"], finding["other"])))
    return f"{what}: {finding['detail']}" + (f" (allowed by {finding['allowed_by']})" if finding["allowed_by"] else "")


def _coverage(folder: RunFolder, evaluation: Evaluation) -> list[Caveat]:
    held_out = folder.folds[folder.folds["fold"] != "-1"]
    planned = dict(zip(held_out["clip_id"], held_out["fold"], strict=True))
    table = evaluation.predictions.table
    predicted = dict(zip(table["clip_id"], evaluation.predictions.fold.astype(str), strict=True))
    absent = sum(clip not in predicted for clip in planned)
    strange = sum(planned.get(clip) != fold for clip, fold in predicted.items())
    found = []
    if absent:
        found.append(
            Caveat(
                f"Incomplete: {absent:,} of {len(planned):,} clips have no prediction",
                f"oof.csv covers folds {', '.join(map(str, evaluation.predictions.folds))}; folds.csv plans {len(folder.role_columns())}. "
                "Run 'python -m finetune crossval' again with the same --out: it goes on at the first unfinished fold.",
            )
        )
    if strange:
        found.append(
            Caveat(
                f"Mismatch: {strange:,} predictions do not belong to these folds",
                "oof.csv holds clips that folds.csv does not know or gives to another fold: it may come from other folds. "
                "Run 'python -m finetune crossval' again in a fresh folder.",
            )
        )
    return found
