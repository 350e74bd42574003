"""``python -m common shard``: what is in the shards, who can read them, and what survives an interruption."""

import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_shards import clips, run_shard
from made_store import RATE, manifest_of, noise, open_store, read_whole, recordings

from common.files import sha256_file
from common.manifest import Clip, data_hash, read_manifest, write_manifest
from common.shards import write as write_module
from common.shards.shard_set import ShardSet


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def mixed(folder: Path) -> Path:
    """Recordings of several rates, depths and channels, whole and in pieces."""
    soundfile.write(folder / "a.wav", noise(0.5, 1), RATE)
    soundfile.write(folder / "b.wav", np.stack([noise(0.4, 2, 44100), noise(0.4, 3, 44100)], axis=1), 44100)
    soundfile.write(folder / "c.flac", noise(0.3, 4, 8000) // 7, 8000)
    return manifest_of(
        folder,
        [
            Clip("a.1", str(folder / "a.wav"), "a", 0.0, 0.2, patient="p/1", device="Meditron", site="Al"),
            Clip("a.2", str(folder / "a.wav"), "a", 0.2, None, patient="p/1", quality="poor"),
            Clip("ü b", str(folder / "b.wav"), "b", 0.1, 9.0),
            Clip("c", str(folder / "c.flac"), "c", labels={"wheeze": 1}),
        ],
    )


def test_samples_are_those_of_the_waveform_store(tmp_path: Path) -> None:
    manifest = mixed(tmp_path)
    figures = run_shard(manifest, tmp_path / "shards")
    assert (figures["clips"], figures["shards"], figures["written"], figures["reused"]) == (4, 1, 1, 0)
    store, stored = open_store(manifest)
    table, shards = read_manifest(manifest), ShardSet.open(str(tmp_path / "shards"))
    assert sorted(shards.table["clip_id"]) == sorted(table["clip_id"]) and data_hash(shards.table) == data_hash(table)
    for row, samples in enumerate(shards.reader.read(np.arange(4))):
        place = table.index[table["clip_id"] == shards.table["clip_id"][row]][0]
        np.testing.assert_array_equal(samples * shards.reader.scale[row], read_whole(store, stored, place))
        for name in ("recording", "patient", "device", "site", "quality"):
            assert shards.table[name][row] == table[name][place]
    assert not {"path", "wheeze"} & set(shards.table), "neither paths nor labels travel"


def test_a_shard_is_a_tar_of_pairs_that_any_tool_reads(tmp_path: Path) -> None:
    run_shard(mixed(tmp_path), tmp_path / "shards")
    with tarfile.open(tmp_path / "shards" / "clips-000000.tar") as tar:
        names = tar.getnames()
        assert names == [f"{key:07d}.{suffix}" for key in range(4) for suffix in ("json", "npy")]
        about = [json.loads(tar.extractfile(name).read()) for name in names[::2]]  # type: ignore[union-attr]
        tar.extractall(tmp_path / "unpacked", filter="data")
    by_name = {each["clip_id"]: each for each in about}
    assert by_name["a.2"]["end_s"] is None and by_name["a.2"]["quality"] == "poor" and by_name["a.1"]["patient"] == "p/1"
    for name, each in zip(names[1::2], about, strict=True):
        samples = np.load(tmp_path / "unpacked" / name)
        assert samples.dtype == np.int16 and len(samples) == each["length"] and each["sample_rate"] == RATE


def test_the_webdataset_library_reads_them(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    run_shard(clips(tmp_path, 20), tmp_path / "shards", "--shard-mb", "0.01")
    names = sorted(map(str, (tmp_path / "shards").glob("*.tar")))
    assert len(names) > 1
    found = list(webdataset.WebDataset(names, shardshuffle=False).decode())
    shards = ShardSet.open(str(tmp_path / "shards"))
    assert [each["json"]["clip_id"] for each in found] == shards.table["clip_id"].tolist()
    for each, samples in zip(found, shards.reader.read(np.arange(20)), strict=True):
        np.testing.assert_array_equal(each["npy"], samples)


def test_shards_are_of_about_the_size_asked_for_and_mix_patients(tmp_path: Path) -> None:
    manifest = clips(tmp_path, 200, patients=10, seconds=0.2)
    figures = run_shard(manifest, tmp_path / "shards", "--shard-mb", "0.1")
    index = json.loads((tmp_path / "shards" / "index.json").read_text())
    assert figures["shards"] == len(index["shards"]) > 5
    for shard in index["shards"]:
        path = tmp_path / "shards" / shard["name"]
        assert path.stat().st_size == shard["bytes"] and sha256_file(path) == shard["sha256"]
        assert 0.06e6 < shard["bytes"] < 0.14e6
    table = pd.read_parquet(tmp_path / "shards" / "clips.parquet")
    assert table.groupby("shard")["patient"].nunique().min() >= 4
    assert sum(index["shards"][k]["clips"] for k in range(len(index["shards"]))) == index["clips"] == 200


def test_the_order_of_rows_and_the_number_of_threads_change_nothing_but_the_seed_does(tmp_path: Path) -> None:
    manifest = clips(tmp_path, 30)
    run_shard(manifest, tmp_path / "one", "--shard-mb", "0.01")
    write_manifest(tmp_path / "shuffled.csv", read_manifest(manifest).sample(frac=1, random_state=0))
    run_shard(tmp_path / "shuffled.csv", tmp_path / "two", "--shard-mb", "0.01", "--workers", "3")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    run_shard(manifest, tmp_path / "three", "--shard-mb", "0.01", "--seed", "1")
    assert contents(tmp_path / "three")["clips-000000.tar"] != contents(tmp_path / "one")["clips-000000.tar"]


def test_an_interrupted_command_goes_on_and_ends_with_the_same_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = clips(tmp_path, 40)
    options = ("--shard-mb", "0.01")
    run_shard(manifest, tmp_path / "undisturbed", *options)
    decoded = 0

    def interrupted(path: str, sample_rate: int) -> Any:
        nonlocal decoded
        decoded += 1
        if decoded == 25:
            raise KeyboardInterrupt
        return decode(path, sample_rate)

    decode = write_module.decode
    monkeypatch.setattr(write_module, "decode", interrupted)
    with pytest.raises(SystemExit) as end:
        run_shard(manifest, tmp_path / "cut", *options)
    assert end.value.code == 130 and "run the same command again" in capsys.readouterr().err
    left = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("*.tar")}
    assert left and not (tmp_path / "cut" / "index.json").exists()
    # A kill leaves what had not been renamed.
    (tmp_path / "cut" / ".clips-000004.tar.x.tar").write_bytes(b"half a shard")
    monkeypatch.setattr(write_module, "decode", decode)
    figures = run_shard(manifest, tmp_path / "cut", *options)
    assert figures["reused"] == len(left) and figures["written"] > 0
    assert contents(tmp_path / "cut") == contents(tmp_path / "undisturbed")
    assert {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in left} == left, "finished shards are not written again"
    again = run_shard(manifest, tmp_path / "cut", *options)
    assert (again["written"], again["clips"]) == (0, 40)


def refusal(capsys: pytest.CaptureFixture[str], *args: Any, **options: Any) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        run_shard(*args, **options)
    assert end.value.code == 1
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence.startswith("error: ") and sentence.endswith(".") and sentence.count(". ") == 0
    return sentence


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = recordings(tmp_path, 4)
    run_shard(manifest, tmp_path / "shards")
    assert "holds shards with seed 0, not 1" in refusal(capsys, manifest, tmp_path / "shards", "--seed", "1")
    assert "holds shards with sample_rate 4000, not 8000" in refusal(capsys, manifest, tmp_path / "shards", rate=8000)
    write_manifest(tmp_path / "fewer.csv", read_manifest(manifest).iloc[1:])
    assert "holds shards with data_hash" in refusal(capsys, tmp_path / "fewer.csv", tmp_path / "shards")
    assert "is not empty and holds no shards" in refusal(capsys, manifest, tmp_path)
    assert "--shard-mb is 0.0" in refusal(capsys, manifest, tmp_path / "new", "--shard-mb", "0")
    assert "--sample-rate is 0" in refusal(capsys, manifest, tmp_path / "new", rate=0)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5000))
        assert "The shards in" in refusal(capsys, manifest, tmp_path / "full")
    (tmp_path / "2.wav").write_bytes(b"no audio")
    assert "2.wav" in refusal(capsys, manifest, tmp_path / "spoilt")


def test_a_damaged_shard_is_named_when_the_command_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = recordings(tmp_path, 4)
    run_shard(manifest, tmp_path / "shards")
    index = json.loads((tmp_path / "shards" / "index.json").read_text())
    (tmp_path / "shards" / "index.json").unlink()
    claim = {name: index[name] for name in ("format", "sample_rate", "settings", "seed", "num_shards", "data_hash")}
    (tmp_path / "shards" / "unfinished.json").write_text(json.dumps(claim))
    shard = tmp_path / "shards" / "clips-000000.tar"
    whole = shard.read_bytes()
    for spoilt in (whole[:3000], b"", whole[:600] + b"\0" * 600 + whole[1200:]):
        shard.write_bytes(spoilt)
        assert "clips-000000.tar" in refusal(capsys, manifest, tmp_path / "shards")
