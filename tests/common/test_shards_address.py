"""Shards behind a web server or in object storage: the same batches as from a folder, through faults too."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import assert_equal_batches, clips, loader, run_shard

from common.errors import UserError
from common.shards import http_file
from common.shards.http_file import HttpFile


class Plain(http.server.SimpleHTTPRequestHandler):
    """Python's own, which knows no ranges."""

    def log_message(self, *args: Any) -> None:
        pass


class Faulty(Plain):
    """Knows ranges; refuses every third request for the moment and drops the connection after 5000 bytes."""

    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        if type(self).requests % 3 == 0:
            self.send_error(503)
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if first >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : first + 5000])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    run_shard(clips(folder, 30), folder / "shards", "--shard-mb", "0.02")
    return folder / "shards"


@pytest.fixture(params=[Plain, Faulty])
def server(made: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(http_file, "FIRST_WAIT_S", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(request.param, directory=str(made))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_web_server_gives_the_same_batches_as_a_folder(made: Path, server: str, workers: int) -> None:
    assert_equal_batches(list(loader(server, workers)), list(loader(made, workers)))
    resumed, expected = loader(server + "/", workers), list(loader(made, workers))
    resumed.load_state_dict({"epoch": 0, "batches": 3})
    assert_equal_batches(list(resumed), expected[3:])


def test_any_part_of_a_file_can_be_read(made: Path, server: str) -> None:
    content = (made / "clips-000000.tar").read_bytes()
    place = st.integers(0, len(content) + 10)

    @settings(max_examples=15, deadline=None)
    @given(parts=st.lists(st.tuples(place, st.integers(0, 9000)), max_size=4))
    def reads(parts: list[tuple[int, int]]) -> None:
        with HttpFile(f"{server}/clips-000000.tar") as file:
            for position, size in parts:
                file.seek(position)
                assert file.read(size) == content[position : position + size]

    reads()
    with HttpFile(f"{server}/clips-000000.tar") as file:
        assert file.read() == content


@pytest.mark.parametrize("server", [Plain], indirect=True)
def test_what_a_server_does_not_have_is_said_at_once(server: str) -> None:
    with pytest.raises(UserError, match=r"No shards at .*/none: expected index\.json there"):
        loader(f"{server}/none")


def test_a_server_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_file, "FIRST_WAIT_S", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    with http.server.HTTPServer(("127.0.0.1", 0), Plain) as taken:
        port = taken.server_port
    with pytest.raises(UserError, match=r"index\.json cannot be read .*refused.*6 times"):
        loader(f"http://127.0.0.1:{port}")


def test_object_storage_is_read_through_fsspec(made: Path) -> None:
    storage = fsspec.filesystem("memory")
    for path in made.iterdir():
        storage.pipe_file(f"/bucket/shards/{path.name}", path.read_bytes())
    expected = list(loader(made, 2))
    assert_equal_batches(list(loader("memory://bucket/shards", 2)), expected)
    storage.rm_file("/bucket/shards/clips-000000.tar")
    with pytest.raises(UserError, match=r"memory://bucket/shards/clips-000000\.tar cannot be read"):
        list(loader("memory://bucket/shards"))
    with pytest.raises(UserError, match="No shards at memory://bucket/none"):
        loader("memory://bucket/none")


def test_an_address_of_an_unknown_kind_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"nowhere://bucket/index\.json cannot be opened .*install the package that reads it"):
        loader("nowhere://bucket")
