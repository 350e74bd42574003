"""What is to be heard: recordings by name, each with the one model that judges it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.audio.read import AUDIO_SUFFIXES
from common.errors import UserError
from finetune.predict.model_file import ModelFile


@dataclass(frozen=True)
class Source:
    """A recording to hear.

    Attributes:
        name: of the recording; no other has it.
        path: of its file.
        model: that judges it.
        fold: whose network the model is; None for a model file.
    """

    name: str
    path: Path
    model: ModelFile
    fold: int | None = None


def from_files(model: ModelFile, inputs: Iterable[Path]) -> list[Source]:
    """The recordings among files and folders, all judged by ``model``.

    A file is named without its ending, one in a folder of ``inputs`` with the folders between them: ``ward/101``.

    Raises:
        UserError: an input is missing, there is no recording, or two have one name.
    """
    sources: dict[str, Source] = {}
    for name, path in (found for item in inputs for found in _recordings(item)):
        if name in sources and sources[name].path != path:
            raise UserError(f"{sources[name].path} and {path} would both be the recording {name!r}: give them in two calls.")
        sources[name] = Source(name, path, model)
    if not sources:
        raise UserError(f"No recording among {', '.join(map(str, inputs))}: expected WAV, FLAC or OGG files, or folders that hold some.")
    return list(sources.values())


def _recordings(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file()):
            yield file.relative_to(path).with_suffix("").as_posix(), file
    elif path.is_file():
        yield path.stem, path
    else:
        raise UserError(f"No file or folder at {path}: check the path.")
