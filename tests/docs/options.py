"""Every option of every command, by which the documentation is judged."""

import functools
import importlib
import inspect

from common import cli
from finetune.search.options import search_parser
from serve.page.__main__ import parser
from serve.settings import Settings
from tests.docs.pages import PACKAGES, ROOT


def as_option(word: str) -> str:
    # A "+" behind the name adds to the option's list.
    return f"--{word.partition('=')[0].removesuffix('+').removeprefix('--').replace('-', '_')}"


@functools.cache
def known_options() -> set[str]:
    """Every option of every command, as ``--name`` or ``--group.name``."""
    options = {"--help", "--print_config", "--folds", "--encoder", "--transductive", "--allow_leaks", "--skip_near_duplicates"}
    options |= {"--seeds", "--search", *(as_option(name) for action in search_parser()._actions for name in action.option_strings)}
    options |= {f"--{name}" for name in Settings.model_fields}
    options |= {as_option(name) for action in parser()._actions for name in action.option_strings}
    for package in PACKAGES:
        pending = list(importlib.import_module(f"{package}.__main__").COMMANDS.values())
        while pending:
            entry = pending.pop()
            if not isinstance(entry, cli.Command):
                pending += entry.values()
            elif not entry.parses_itself:
                options |= {f"--{name}" for name in inspect.signature(entry.load()).parameters}
    mfcc_1d = ["-c", str(ROOT / "configs" / "recipes" / "icbhi_diagnosis_1d.yaml")]
    for module, config, needed in (
        ("pretrain.fit", "pretrain", ["--data.manifest", "x"]),
        ("pretrain.stream", "pretrain", ["--data.shards", "x"]),
        ("finetune.fit", "finetune", ["--data.manifest", "x", "--data.folds", "y"]),
        ("finetune.fit", "finetune_metadata", ["--data.manifest", "x", "--data.folds", "y"]),
        ("finetune.fit", "finetune_probe", ["--data.manifest", "x", "--data.folds", "y"]),
        ("finetune.fit", "recipes/icbhi_diagnosis", [*mfcc_1d, "--data.manifest", "x", "--data.folds", "y"]),
        ("finetune.fit", "recipes/aicup_voice", ["--data.manifest", "x", "--data.folds", "y"]),
        ("finetune.baseline.command", "baseline", ["--data.manifest", "x", "--data.folds", "y"]),
        ("finetune.baseline.command", "baseline_audioset", ["--data.manifest", "x", "--data.folds", "y"]),
        ("finetune.baseline.command", "baseline_events", ["--data.manifest", "x", "--data.folds", "y", "--data.events", "z"]),
    ):
        given = ["-c", str(ROOT / "configs" / f"{config}.yaml"), *needed]
        door = importlib.import_module(module)
        pending = [("-", getattr(door, "STAGE", door).parse(given))]
        while pending:
            name, value = pending.pop()
            options.add(name.replace("-.", "--"))
            if isinstance(value, dict):
                pending += [(f"{name}.{key}", item) for key, item in value.items()]
    return options
