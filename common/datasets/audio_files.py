"""Find recordings in a folder, by name or by whatever a table calls them."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from common.audio.read import AUDIO_SUFFIXES
from common.errors import UserError


def existing_folder(path: Path, what: str) -> Path:
    """``path`` as an absolute folder.

    Raises:
        UserError: there is no such folder; ``what`` says which one was wanted.
    """
    if not path.is_dir():
        raise UserError(f"No folder at {path}: expected {what} there; check the path.")
    return path.resolve()


def is_audio(path: PurePosixPath | Path) -> bool:
    """Whether a name ends as audio does. Names with a leading dot are what file managers leave behind (``._name.wav``)."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")


def audio_by_name(folder: Path) -> dict[str, Path]:
    """Audio files directly in ``folder``: name without suffix -> path, sorted by name.

    Raises:
        UserError: two files differ in their suffix only, so that an annotation could mean either.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_audio(path):
            if path.stem in found:
                raise UserError(f"{folder} has both {found[path.stem].name} and {path.name}: keep one of them.")
            found[path.stem] = path
    return found


class AudioFiles:
    """The audio files of a folder and its sub-folders, to be looked up by what a table calls them.

    A table may give a path (relative to the folder, or from another machine), a file name, or an id without suffix. The
    strictest reading that fits wins:

    1. the path relative to the folder;
    2. the same without the audio suffix, so that ``0001`` and, after a conversion, ``0001.flac`` are found;
    3. the same whatever the case;
    4. of a path, its file name and the name of the folder around it;
    5. of a bare name, the file name in any sub-folder;
    6. of a bare number, a file named by that number whatever the leading zeros, which spreadsheets remove.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def paths(self) -> list[Path]:
        """Every audio file, sorted."""
        return sorted(path for path in self.folder.rglob("*") if is_audio(path) and path.is_file())

    def matches(self, name: str) -> list[Path]:
        """The files that ``name`` may mean by the strictest reading that fits any; empty where none does."""
        wanted = _as_path(name)
        if not wanted.name:
            return []
        # Whatever its suffix, a file that is exactly where the table says is the one meant (the audit judges it).
        if _is_file(self.folder / wanted):
            return [self.folder / wanted]
        for key, index in self._indexes:
            found = index.get(key(wanted) or "")
            if found:
                return found
        return []

    def find(self, name: str) -> Path | None:
        """The file that ``name`` means, or None.

        Raises:
            UserError: the name fits several files equally well.
        """
        found = self.matches(name)
        if len(found) > 1:
            raise UserError(
                f"{name!r} may be {found[0].relative_to(self.folder)} or {found[1].relative_to(self.folder)} in {self.folder}: "
                "give the path relative to that folder in the table."
            )
        return found[0] if found else None

    def expected(self, name: str) -> Path:
        """Where a file called ``name`` that was not found should have been."""
        wanted = _as_path(name)
        if not wanted.name:
            return self.folder / "unnamed"
        return self.folder / (f"{wanted}.wav" if without_suffix(wanted) == wanted else wanted)

    def recording(self, path: Path) -> str:
        """Name of the recording at ``path``: the path in the folder, without suffix, which is the same on every machine."""
        for inside in (path, path.resolve()):
            if inside.is_relative_to(self.folder):
                path = inside.relative_to(self.folder)
                break
        return str(without_suffix(PurePosixPath(path.as_posix())))

    @cached_property
    def _indexes(self) -> list[tuple[Callable[[PurePosixPath], str | None], dict[str, list[Path]]]]:
        indexes = []
        for file_key, name_key in _READINGS:
            index: dict[str, list[Path]] = defaultdict(list)
            for path in self.paths:
                key = file_key(PurePosixPath(self.folder.name, path.relative_to(self.folder).as_posix()))
                if key:
                    index[key].append(path)
            indexes.append((name_key, dict(index)))
        return indexes


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # A long text that stands in a table is no file name.
        return False


def _as_path(name: str) -> PurePosixPath:
    return PurePosixPath(name.strip().replace("\\", "/"))


def without_suffix(path: PurePosixPath) -> PurePosixPath:
    """Remove an audio suffix, but not what merely looks like a suffix: the ``.4_1`` of an id ``65039232_6.4_1``."""
    return path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path


def _inside(path: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(*path.parts[1:])


def _with_parent(path: PurePosixPath) -> str | None:
    return "/".join(without_suffix(path).parts[-2:]).casefold() if len(path.parts) > 1 else None


def _bare(path: PurePosixPath) -> str | None:
    return without_suffix(path).name.casefold() if len(path.parts) == 1 else None


def _number(stem: str | None) -> str | None:
    return (stem.lstrip("0") or "0") if stem and stem.isascii() and stem.isdecimal() else None


# How a file (its path from the folder's own name on) and a table's name for it become the same key, the strictest reading first.
_READINGS: tuple[tuple[Callable[[PurePosixPath], str | None], Callable[[PurePosixPath], str | None]], ...] = (
    (lambda file: str(without_suffix(_inside(file))), lambda name: str(without_suffix(name))),
    (lambda file: str(without_suffix(_inside(file))).casefold(), lambda name: str(without_suffix(name)).casefold()),
    (_with_parent, _with_parent),
    (lambda file: without_suffix(file).name.casefold(), _bare),
    (lambda file: _number(without_suffix(file).name), lambda name: _number(_bare(name))),
)


def folders_with_audio(root: Path) -> Iterator[Path]:
    """``root`` and the folders in it that hold audio files directly, in order."""
    for folder in [root, *sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))]:
        if any(is_audio(path) for path in folder.iterdir()):
            yield folder
