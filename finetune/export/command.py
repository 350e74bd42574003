"""``python -m finetune export``: a run's folds become a bundle, or one TorchScript file and one per fold."""

from pathlib import Path
from typing import Any, Literal

from common.errors import UserError
from common.progress import say
from finetune.bundle.contents import FOLDS, MODEL
from finetune.bundle.signature import read_key
from finetune.evaluation.calibration.choice import Choice
from finetune.evaluation.thresholds.per_label import Rule, check_share


def export(
    run: Path,
    out: Path = Path("bundle"),
    per_fold: bool = True,
    thresholds: Rule | None = None,
    sensitivity: float | None = None,
    calibration: Choice = "none",
    abstain: float = 0.9,
    sign_key: Path | None = None,
    twins: list[Literal["int8", "float16"]] | None = None,
    twin_clips: int = 1000,
    twin_max_loss: float = 0.01,
) -> dict[str, Any]:
    """Write a run as a bundle: a folder with the model, its ONNX twin, what must be known of it, and clips to check it with.

    The model averages the probabilities of all folds' networks; the single folds' files have the same signature. Thresholds are chosen
    on all out-of-fold predictions. Each file is checked against the eager model before it is written and refused when a probability
    differs by more than 1e-5. With an --out that ends in .pt only the TorchScript file is written, and beside it NAME.fold-K.pt.

    Args:
        run: folder that 'python -m finetune crossval' or 'ensemble' wrote, or 'baseline' of a network over frames.
        out: folder to write; a bundle that is there is replaced whole. Or a file that ends in .pt.
        per_fold: write the single folds' files too.
        thresholds: what each label's threshold maximises out of fold: "youden" (sensitivity + specificity - 1), "f1", or "equal" (the
            same for all); by default the task's, as in 'report'.
        sensitivity: choose each label's threshold as the highest that finds this share of its positive clips, in place of 'thresholds'.
        calibration: calibrate inside the file, so that it answers calibrated probabilities, to which its thresholds then refer:
            "none", "temperature", "platt" or "isotonic" (fitted on all out-of-fold predictions), or "fold_platt" (each network on
            its own validation clips).
        abstain: the abstain band's lower end keeps this sensitivity, its upper end this specificity; of three or more classes the limit
            of the highest probability keeps this share of decisions right. As in 'report'.
        sign_key: of a bundle: file with a secret key of at least 32 bytes, with which it is signed.
        twins: of a bundle: also write model.onnx in fewer bits: "int8" (model.int8.onnx, faster on CPUs where the encoder is what takes
            time) or "float16" (model.float16.onnx, half the weights' bytes), or both. Each loses AUROC, which is measured out of fold.
        twin_clips: at most so many held-out clips are judged to measure it.
        twin_max_loss: a twin that loses more of macro AUROC is left out, with the reason in model.json.

    Returns:
        Paths ``model`` and ``fold_models``, ``parity`` (largest difference seen), ``labels`` and ``thresholds``; of a bundle also
        ``bundle``, ``onnx`` and ``pt2``: the parity of these files, or null where they could not be written, and ``twins``: kind -> macro
        AUROC before and after, and the loss.

    Raises:
        UserError: the run is missing or unfinished, or a file would not answer as the model does.
    """
    check_share("sensitivity", sensitivity)
    check_share("abstain", abstain)
    out, one_file = Path(out), Path(out).suffix == ".pt"
    for option, given, does in (("sign_key", sign_key, "signs a bundle"), ("twins", twins, "is of a bundle")):
        if one_file and given:
            raise UserError(f"--{option} {does}, and --out {out} is one file: give a folder.")
    if twin_clips < 1:
        raise UserError(f"--twin_clips is {twin_clips}: expected at least 1 clip.")
    key = None if sign_key is None else read_key(sign_key)
    # Late: torch takes seconds to import, which --help should not.
    from finetune.evaluation.summary import evaluate_predictions
    from finetune.export.abstaining import abstaining
    from finetune.export.bundle import check_place, write_bundle
    from finetune.export.ensemble import ExportedMembers
    from finetune.export.folds import ExportedFolds
    from finetune.export.reduced.write import Wanted
    from finetune.export.write import write_files
    from finetune.run_folder import read_run_folder

    folder = read_run_folder(run)
    evaluation = evaluate_predictions(
        folder.out_of_fold(),
        folder.task,
        thresholds,
        sensitivity=sensitivity,
        calibration=calibration,
        validation=folder.validation(),
    )
    folds = list(evaluation.folds)
    single = folds if per_fold else []
    kind = ExportedMembers if "ensemble" in folder.record else ExportedFolds
    figures: dict[str, Any] = {}
    if one_file:
        fold_models = {out.with_suffix(f".fold-{fold}.pt"): [fold] for fold in single}
        model, (_, _, parity) = (
            out,
            write_files(kind(folder, evaluation, folds), {out: folds, **fold_models}, abstaining(evaluation, abstain)),
        )
    else:
        wanted = Wanted(tuple(twins or ()), twin_clips, twin_max_loss)
        # Before minutes of work.
        check_place(out)
        description, parity = write_bundle(out, kind(folder, evaluation, folds), folder, evaluation, single, abstain, key, wanted)
        model, fold_models = out / MODEL, {out / FOLDS / f"fold-{fold}.pt": [fold] for fold in single}
        figures = {"bundle": str(out), **{name: description[name].get("parity") for name in ("onnx", "pt2")}}
        figures["twins"] = {name: about.get("loss", {}).get("macro") for name, about in description["twins"].items()}
    say(f"Wrote {out} ({model.stat().st_size / 1e6:.1f} MB, {len(folds)} folds averaged); largest difference to the model {parity:.1e}.")
    return {
        **figures,
        "model": str(model),
        "fold_models": list(map(str, fold_models)),
        "parity": parity,
        "labels": list(folder.task.labels),
        "thresholds": evaluation.thresholds.as_json()["thresholds"],
    }
