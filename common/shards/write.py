"""Write the shards of a manifest: deal the clips out, decode, keep what an interrupted command had finished."""

import itertools
import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from common.audio.read import read_header
from common.errors import UserError
from common.files import atomic_path, refuse_a_full_disk, sha256_file, write_json
from common.manifest import data_hash
from common.shards.format import ABOUT, FORMAT, INDEX, TABLE, UNFINISHED, shard_name
from common.shards.tar import read_tar, tar_bytes, write_tar
from common.store.borders import sample_borders
from common.store.decode import SETTINGS, decode, with_audit_hint
from common.store.threads import map_in_threads, one_torch_thread


class Cut(NamedTuple):
    """Clips of one recording in one shard: the recording is decoded once for all of them.

    Attributes:
        shard: number of the shard.
        rows: the clips, rows of the manifest.
    """

    shard: int
    rows: np.ndarray


def write_shards(
    out: Path, table: pd.DataFrame, sample_rate: int, shard_mb: float, seed: int, workers: int | None = None
) -> tuple[dict[str, Any], int]:
    """Write every clip of a manifest into shards under ``out``.

    Args:
        out: folder, made if missing; finished shards of the same clips and settings in it are kept.
        table: manifest.
        sample_rate: of the samples, Hz.
        shard_mb: size of a shard, MB, about.
        seed: of the order of the clips.
        workers: threads that decode; 0 works in the calling thread, None takes one per CPU.

    Returns:
        The index that was written (see docs/files.md), and how many shards had to be written now.

    Raises:
        UserError: a recording is missing or unusable, the disk is too small, or the folder holds something else.
    """
    for option, value in (("--sample-rate", sample_rate), ("--shard-mb", shard_mb)):
        if value <= 0:
            raise UserError(f"{option} is {value}, expected a number above 0.")
    if workers is not None and workers < 0:
        raise UserError(f"--workers is {workers}, expected 0 or more.")
    # Whatever the order of its rows, a manifest gives the same shards.
    table = table.sort_values("clip_id", ignore_index=True)
    num_samples = _expected_samples(table, sample_rate)
    num_shards = min(len(table), -(-tar_bytes(num_samples) // int(shard_mb * 1e6)))
    claim = {
        "format": FORMAT,
        "sample_rate": sample_rate,
        "settings": SETTINGS,
        "seed": seed,
        "num_shards": num_shards,
        "data_hash": data_hash(table),
    }
    finished = _claim(out, claim)
    if finished is not None:
        return finished, 0
    dealt = np.array_split(np.random.default_rng(seed).permutation(len(table)), num_shards)
    missing = [number for number in range(num_shards) if not (out / shard_name(number)).is_file()]
    refuse_a_full_disk(out, sum(tar_bytes(num_samples[dealt[number]]) for number in missing), "The shards")
    parts = _write_missing(out, table, sample_rate, dealt, missing, workers)
    return _finish(out, claim, parts), len(missing)


def _expected_samples(table: pd.DataFrame, sample_rate: int) -> np.ndarray:
    """About how many samples each clip has, from the manifest where it says so, else from the file's header."""
    end_s = table["end_s"].fillna(table["duration_s"]).to_numpy(dtype=np.float64, copy=True)
    unknown = np.flatnonzero(np.isnan(end_s))
    durations = {path: _duration_s(path) for path in set(table["path"].iloc[unknown])}
    end_s[unknown] = [durations[path] for path in table["path"].iloc[unknown]]
    return np.maximum(1, (end_s - table["start_s"].to_numpy(dtype=np.float64)) * sample_rate).astype(np.int64)


def _duration_s(path: str) -> float:
    try:
        return read_header(path).duration_s or 0.0
    except UserError as error:
        raise with_audit_hint(error) from error


def _claim(out: Path, claim: dict[str, Any]) -> dict[str, Any] | None:
    """Take the folder for shards made by ``claim``; returns the index where they are finished."""
    for name in (INDEX, UNFINISHED):
        if (out / name).is_file():
            found = json.loads((out / name).read_text(encoding="utf-8"))
            for key, value in claim.items():
                if found.get(key) != value:
                    raise UserError(
                        f"{out} holds shards with {key} {found.get(key)!r}, not {value!r}: choose another --out, or remove the folder."
                    )
            return found if name == INDEX else None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty and holds no shards: choose another --out.")
    write_json(out / UNFINISHED, claim)
    return None


def _write_missing(
    out: Path, table: pd.DataFrame, sample_rate: int, dealt: list[np.ndarray], missing: list[int], workers: int | None
) -> list[pd.DataFrame]:
    """Write the shards that are missing, in order; returns the rows of the clip table of every shard, as it lies on the disk."""
    cuts = [Cut(number, rows) for number in missing for rows in _by_recording(table, dealt[number])]
    decode_cut = partial(_decode, table=table, sample_rate=sample_rate)
    facts = table[list(ABOUT)].astype(object).where(table[list(ABOUT)].notna(), None)
    parts = []
    with one_torch_thread(), closing(map_in_threads(decode_cut, cuts, workers, "Decoding into shards")) as decoded:
        of_shard = itertools.groupby(zip(cuts, decoded, strict=True), key=lambda pair: pair[0].shard)
        for number, rows in enumerate(dealt):
            path = out / shard_name(number)
            if number in missing:
                clips = {row: clip for _, cut in next(of_shard)[1] for row, clip in cut}
                # In the order in which they were dealt, so that clips of one recording lie apart.
                write_tar(path, (_described(facts, row, place, *clips[row], sample_rate) for place, row in enumerate(rows.tolist())))
            parts.append(_read_back(path, number, table["clip_id"].iloc[rows].tolist()))
    return parts


def _by_recording(table: pd.DataFrame, rows: np.ndarray) -> list[np.ndarray]:
    path = table["path"].iloc[rows]
    return [rows[places] for places in path.groupby(path, sort=False).indices.values()]


def _decode(cut: Cut, table: pd.DataFrame, sample_rate: int) -> list[tuple[int, tuple[np.ndarray, float]]]:
    clips = table.iloc[cut.rows]
    samples, scale = decode(clips["path"].iloc[0], sample_rate)
    start, end = sample_borders(clips, np.full(len(clips), len(samples)), sample_rate)
    # Copied, or one cycle would keep its whole recording in memory until the shard is written.
    return [(int(row), (samples[a:b].copy(), scale)) for row, a, b in zip(cut.rows, start, end, strict=True)]


def _described(
    facts: pd.DataFrame, row: int, place: int, samples: np.ndarray, scale: float, sample_rate: int
) -> tuple[str, dict[str, Any], np.ndarray]:
    about = {**dict(zip(ABOUT, facts.iloc[row], strict=True)), "sample_rate": sample_rate, "length": len(samples), "scale": scale}
    return f"{place:07d}", about, samples


def _read_back(path: Path, number: int, clip_ids: list[str]) -> pd.DataFrame:
    entries = read_tar(path)
    if [entry.about["clip_id"] for entry in entries] != clip_ids:
        raise UserError(f"The shard {path} does not hold the clips that belong there: delete it and run the same command again.")
    rows = [{"shard": number, "offset": entry.offset, "crc32": entry.crc32, **entry.about} for entry in entries]
    types = {"shard": np.int32, "crc32": np.uint32, "scale": np.float32, "start_s": float, "end_s": float}
    return pd.DataFrame(rows).drop(columns="sample_rate").astype(types)


def _finish(out: Path, claim: dict[str, Any], parts: list[pd.DataFrame]) -> dict[str, Any]:
    clips = pd.concat(parts, ignore_index=True)
    with atomic_path(out / TABLE) as temporary:
        clips.to_parquet(temporary, index=False)
    paths = [out / shard_name(number) for number in range(len(parts))]
    index = {
        **claim,
        "clips": len(clips),
        "recordings": clips["recording"].nunique(),
        "patients": len(set(clips["patient"]) - {""}),
        "hours": round(int(clips["length"].sum()) / claim["sample_rate"] / 3600, 4),
        "table": {"name": TABLE, "sha256": sha256_file(out / TABLE)},
        "shards": [
            {"name": path.name, "clips": len(part), "bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for path, part in zip(paths, parts, strict=True)
        ],
    }
    write_json(out / INDEX, index)
    (out / UNFINISHED).unlink(missing_ok=True)
    # What a killed command left behind.
    for path in out.glob(f".{shard_name(0)[:6]}*"):
        path.unlink()
    return index
