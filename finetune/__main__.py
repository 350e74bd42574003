"""``python -m finetune``: labelled recordings become classifiers, fold by fold, and leave as one file."""

from collections.abc import Sequence
from typing import Any

from common import cli
from common.cli import Command

COMMANDS: cli.Commands = {
    "folds": Command("finetune.folds.command:folds", "divide the patients into folds, once"),
    "guard": Command("finetune.guard.command:guard", "look for leaks over the borders of folds"),
    "fit": Command("finetune.fit:fit", "train one fold and predict the clips that it holds out", parses_itself=True),
    "crossval": Command("finetune.crossval.command:crossval", "train every fold; resumes at the first unfinished one", parses_itself=True),
    "baseline": Command("finetune.baseline.command:baseline", "classical classifiers on pooled features, fold by fold", parses_itself=True),
    "seeds": Command(
        "finetune.seeds:seeds", "cross-validate with several seeds: deviations over seeds and over folds apart", parses_itself=True
    ),
    "search": Command("finetune.search.command:search", "search settings for each fold among its other patients", parses_itself=True),
    "ensemble": Command("finetune.ensemble.command:ensemble", "combine the predictions of runs on the same folds into a run"),
    "transfer": Command("finetune.transfer.command:transfer", "judge a run's models on another manifest: train here, test there"),
    "report": Command("finetune.report.command:report", "judge the out-of-fold predictions: metrics, thresholds, one page"),
    "compare": Command("finetune.compare.command:compare", "compare runs on the same clips: differences with intervals over patients"),
    "ablate-metadata": Command(
        "finetune.metadata.ablation:ablate_metadata", "cross-validate audio, metadata and both: what metadata add", parses_itself=True
    ),
    "explain": Command("finetune.explain.command:explain", "draw where in the spectrogram of clips a classifier looks"),
    "export": Command(
        "finetune.export.command:export", "write a run as a bundle, or as one TorchScript file, that opens without this project"
    ),
    "verify": Command("finetune.bundle.command:verify", "check that a bundle answers here as where it was made", first="bundle"),
    "predict": Command("finetune.predict.command:predict", "predict recordings with an exported file"),
    "events": Command("finetune.events.command:events", "find events in long recordings: onset, offset and label"),
    "score-events": Command("finetune.events.score_command:score_events", "score found events against annotated ones"),
}


def main(args: Sequence[str] | None = None) -> Any:
    return cli.run("python -m finetune", COMMANDS, args)


if __name__ == "__main__":
    main()
