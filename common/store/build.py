"""Bring a store up to date: hash what may have changed, decode what is new, append it, commit.

The samples lie in one flat file that only grows, under a file lock: no sample is ever moved or overwritten, so other processes
keep reading what they have mapped. Replacing the index is the commit, every few seconds: a build that is killed leaves a few
seconds of samples that no index names, and the next one goes on behind them. Other processes that want the same store (the ranks
of a training run) wait for the lock and find the work done.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from common.audio.read import read_header
from common.audio.resample import resampled_length
from common.errors import UserError
from common.files import refuse_a_full_disk, sha256_file
from common.progress import say
from common.store.decode import decode, with_audit_hint
from common.store.index import AUDIO_NAME, BYTES_PER_SAMPLE, Index, Recording, is_young, signature, store_folder
from common.store.threads import map_in_threads, one_torch_thread

LOCK_NAME = "build.lock"
COMMIT_EVERY_S = 5.0


class Source(NamedTuple):
    """A recording's file as the build found it.

    Attributes:
        path: absolute path.
        signature: see `common.store.index.signature`.
        young: whether another change could hide behind that signature.
        content: SHA-256 of the bytes.
        sample_rate: its own, Hz.
        num_samples: samples that its header promises at the store's rate; 0 where it leaves them open.
    """

    path: str
    signature: str
    young: bool
    content: str
    sample_rate: int
    num_samples: int


def build(folder: str | Path, paths: Iterable[str], sample_rate: int, workers: int | None = None) -> tuple[Index, int]:
    """Make the store of ``sample_rate`` (Hz) under ``folder`` hold every recording of ``paths``.

    Args:
        folder: the store's folder, made if missing; it can hold several sample rates.
        paths: absolute paths of recordings; repeats are ignored.
        sample_rate: of the stored samples, Hz.
        workers: threads that hash and decode; 0 works in the calling thread, None takes one per CPU.

    Returns:
        index: every recording that the store holds.
        decoded: how many recordings had to be decoded.

    Raises:
        UserError: a file is missing or unusable, the disk is too small, or the folder cannot be written.
    """
    if sample_rate <= 0:
        raise UserError(f"A waveform store needs a positive sample rate (Hz), not {sample_rate}.")
    if workers is not None and workers < 0:
        raise UserError(f"A waveform store is built by 0 or more workers, not {workers}.")
    paths = list(dict.fromkeys(paths))
    target = store_folder(folder, sample_rate)
    index = Index.load(target)
    if not index.unknown(paths):
        return index, 0
    try:
        target.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            index = Index.load(target)
            return index, _bring_up_to_date(index, target, index.unknown(paths), sample_rate, workers)
    except OSError as error:
        raise UserError(
            f"Cannot write the waveform store in {target} ({error.strerror}): free the disk or choose another folder."
        ) from error


def _bring_up_to_date(index: Index, target: Path, paths: list[str], sample_rate: int, workers: int | None) -> int:
    sources = list(map_in_threads(partial(_identify, sample_rate=sample_rate), paths, workers, "Checking recordings"))
    placed = {recording.content: recording for recording in index.values()}
    new = list({source.content: source for source in sources if source.content not in placed}.values())
    _say_what_lacks_high_frequencies(new, sample_rate)
    refuse_a_full_disk(target, sum(source.num_samples for source in new) * BYTES_PER_SAMPLE, "The waveform store")
    with (
        one_torch_thread(),
        (target / AUDIO_NAME).open("ab") as audio,
        closing(map_in_threads(partial(_decode, sample_rate=sample_rate), new, workers, "Decoding recordings")) as decoded,
    ):
        start = -(-audio.tell() // BYTES_PER_SAMPLE)
        audio.truncate(start * BYTES_PER_SAMPLE)
        last_commit_s = time.monotonic()
        try:
            for source, (samples, scale) in zip(new, decoded, strict=True):
                audio.write(samples.astype("<i2", copy=False).tobytes())
                placed[source.content] = Recording(source.signature, source.content, start, len(samples), scale)
                start += len(samples)
                if time.monotonic() - last_commit_s > COMMIT_EVERY_S:
                    _commit(index, target, audio, sources, placed)
                    last_commit_s = time.monotonic()
        finally:
            _commit(index, target, audio, sources, placed)
    return len(new)


def _say_what_lacks_high_frequencies(sources: list[Source], sample_rate: int) -> None:
    lower = [source.sample_rate for source in sources if source.sample_rate < sample_rate]
    if lower:
        say(
            f"{len(lower)} of {len(sources)} recordings have a lower rate (from {min(lower)} Hz) than the {sample_rate} Hz asked for: "
            "they hold nothing above half their own, which can tell the device instead of the patient."
        )


def _commit(index: Index, target: Path, audio: IO[bytes], sources: list[Source], placed: dict[str, Recording]) -> None:
    # The samples must be on the disk before an index names them, or a power cut leaves an index of zeros.
    audio.flush()
    os.fsync(audio.fileno())
    for source in sources:
        if source.content in placed:
            index[source.path] = placed[source.content]._replace(signature="" if source.young else source.signature)
    index.save(target)


def _identify(path: str, sample_rate: int) -> Source:
    found, young = signature(path), is_young(path)
    try:
        header = read_header(path)
    except UserError as error:
        raise with_audit_hint(error) from error
    num_samples = 0 if header.frames is None else resampled_length(header.frames, header.sample_rate, sample_rate)
    return _unchanged(Source(path, found, young, sha256_file(path), header.sample_rate, num_samples))


def _decode(source: Source, sample_rate: int) -> tuple[np.ndarray, float]:
    samples = decode(source.path, sample_rate)
    _unchanged(source)
    return samples


def _unchanged(source: Source) -> Source:
    if signature(source.path) != source.signature:
        raise UserError(f"{source.path} changed while it was being read: run the same command again once it is complete.")
    return source


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    lock = FileLock(target / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"Another process is building the waveform store in {target}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
