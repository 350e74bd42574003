"""Builds of the waveform store that are killed, or run at once."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from filelock import FileLock
from made_store import RATE, noise, open_store, read_whole, recordings, run_store

from common.manifest import read_manifest
from common.store import build as build_module
from common.store.decode import decode
from common.store.index import AUDIO_NAME, Index, Recording, absolute_paths, store_folder

PROJECT = Path(__file__).resolve().parents[2]


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path) -> None:
    manifest = recordings(tmp_path, 40)
    slowly = "\n".join(
        [
            "import sys, time",
            "from common.__main__ import main",
            "from common.store import build",
            "decode, build.COMMIT_EVERY_S = build.decode, 0",
            "build.decode = lambda *arguments: (time.sleep(0.1), decode(*arguments))[1]",
            "main(sys.argv[1:])",
        ]
    )
    arguments = ["store", "--manifest", str(manifest), "--out", str(tmp_path / "store"), "--sample-rate", str(RATE)]
    process = subprocess.Popen([sys.executable, "-c", slowly, *arguments], cwd=PROJECT, stdout=subprocess.PIPE)
    target = store_folder(tmp_path / "store", RATE)
    while len(Index.load(target)) < 5:
        assert process.poll() is None, "the build ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # The odd byte is what a kill in the middle of a write can leave.
    with (target / AUDIO_NAME).open("ab") as audio:
        audio.write(b"\x00\x01\x02")
    figures = run_store(manifest)
    assert 0 < figures["decoded"] <= 35
    store, clips = open_store(manifest)
    for row in range(40):
        np.testing.assert_array_equal(read_whole(store, clips, row), noise(0.2, row) / np.float32(32768))


def test_an_index_that_is_replaced_meanwhile_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / AUDIO_NAME).write_bytes(bytes(100))
    sizes = [1, 40]
    indices = [Index({f"/{row}": Recording("x" * size, "y", 0, 1, 1.0) for row in range(size)}) for size in sizes]
    indices[0].save(tmp_path)
    ended = Event()

    def replace() -> None:
        while not ended.is_set():
            for index in indices:
                index.save(tmp_path)

    with ThreadPoolExecutor(1) as pool:
        replacing = pool.submit(replace)
        try:
            found = {len(Index.load(tmp_path)) for _ in range(100)}
        finally:
            ended.set()
        replacing.result()
    assert found <= set(sizes)


def test_two_builders_at_once_do_the_work_once(tmp_path: Path) -> None:
    paths = absolute_paths(read_manifest(recordings(tmp_path, 60)))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(build_module.build, tmp_path / "store", paths, 1000, 2) for _ in range(2)]
    assert sorted(one.result()[1] for one in both) == [0, 60]
    assert both[0].result()[0] == both[1].result()[0]
    store, clips = open_store(tmp_path / "manifest.csv", rate=1000)
    for row in (0, 59):
        samples, scale = decode(tmp_path / f"{row}.wav", 1000)
        np.testing.assert_array_equal(read_whole(store, clips, row), samples * np.float32(scale))


def test_a_builder_waits_for_the_one_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = recordings(tmp_path, 1)
    target = store_folder(tmp_path / "store", RATE)
    target.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(target / build_module.LOCK_NAME):
            figures = pool.submit(run_store, manifest)
            time.sleep(0.3)
            assert not figures.done()
        assert figures.result()["decoded"] == 1
    assert "Another process is building" in capsys.readouterr().err
