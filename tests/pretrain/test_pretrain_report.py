"""``python -m pretrain report`` as a user meets it: one page that stands alone, whatever the run lacks."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.manifest import groups, read_manifest, write_manifest
from common.store.waveforms import WaveformStore
from pretrain.__main__ import main
from pretrain.monitor.embeddings import embed
from pretrain.patients import chosen
from pretrain.report.clips import label_names
from pretrain.report.embedding_map import lay_out
from pretrain.report.run import read_run


@pytest.fixture(scope="module")
def run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that probed half of the patients, whose devices are known."""
    folder = tmp_path_factory.mktemp("report")
    table = read_manifest(made / "manifest.csv")
    # Two of the probed patients have each device.
    probed = sorted(set(table["patient"][chosen(groups(table), 0.5, "probe")]))
    table["device"] = np.where(table["patient"].isin(probed[:2]), "<Littmann>", "Meditron")
    write_manifest(folder / "manifest.csv", table)
    data = ["--data.manifest", str(folder / "manifest.csv"), "--data.probe_manifest", str(folder / "manifest.csv")]
    options = ["--data.store", str(made / "store"), "--data.probe_share", "0.5", "--data.probe_every_epochs", "1"]
    main(["fit", "-c", str(made / "tiny.yaml"), *data, *options, "--out", str(folder / "run")])
    return folder / "run"


def facts(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))


def test_the_page_stands_alone_and_tells_the_run(run: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = main(["report", "--run", str(run)])
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == figures
    assert figures["report"] == str(run / "report.html") and figures["epochs"] == 2 and figures["map_clips"] == 12
    finished = json.loads((run / "finished.json").read_text())
    assert figures["loss"] == finished["loss"]
    # The encoder of the last epoch on the clips that were probed then.
    for name in ("leak_device", "leak_patient"):
        assert figures[name] == pytest.approx(finished[f"val_{name}"], abs=1e-6)
    page = (run / "report.html").read_text()
    assert re.findall(r"<img src=\"(data:image/[a-z+]+);", page) == ["data:image/svg+xml", "data:image/svg+xml", "data:image/png"]
    assert not re.search(r"(?:src|href)=\"(?!data:)", page) and str(made) not in page and str(run.parent) not in page
    told = facts(page)
    assert told["Clips heard"] == "12" and told["Patients heard"] == "4" and told["Probed, not heard"].startswith("12 clips of 4 patients")
    assert finished["hours"] == pytest.approx(12 * 0.9 / 3600, abs=1e-4) and told["Hours heard"] == "0.00"
    assert len(told["Data hash"]) == 64 and "torch" in told["Versions"] and told["Front end"].startswith("LogMel(")
    assert main(["report", "--run", str(run), "--out", str(run.parent / "again.html")])["map_clips"] == 12
    assert (run.parent / "again.html").read_text() == page


def test_other_clips_can_be_shown(run: Path, made: Path) -> None:
    other = ["--manifest", str(made / "manifest.csv"), "--out", str(run.parent / "other.html")]
    figures = main(["report", "--run", str(run), *other, "--most-clips", "15", "--most-colours", "2"])
    assert figures["map_clips"] == 15 and figures["leak_device"] is None
    assert "15 clips of manifest.csv" in (run.parent / "other.html").read_text()


def test_a_run_without_its_recordings_or_its_end_has_no_map(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "config.yaml").write_text((copy / "config.yaml").read_text().replace(str(run.parent), str(tmp_path / "elsewhere")))
    figures = main(["report", "--run", str(copy)])
    page = (copy / "report.html").read_text()
    assert figures["map_clips"] == 0 and "No map: No table at" in page and "the manifest is not where it was" in facts(page)["To train on"]
    for file in ("encoder.pt", "finished.json", "views.png"):
        (copy / file).unlink()
    figures = main(["report", "--run", str(copy)])
    page = (copy / "report.html").read_text()
    assert figures["epochs"] == 2 and "2 of 2 epochs so far" in page and page.count("<img") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "{run}/none"], "holds no run: expected the folder that 'python -m pretrain fit --out' wrote"),
        (["--run", "{run}", "--manifest", "{run}/none.csv"], "No table at {run}/none.csv"),
        (["--run", "{run}", "--most-clips", "1"], "most_clips is 1"),
    ],
)
def test_a_mistake_is_one_sentence(run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["report", *(argument.format(run=run) for argument in arguments)])
    assert exit.value.code == 1
    assert message.format(run=run) in capsys.readouterr().err.strip().splitlines()[-1]


def test_the_map_keeps_neighbours_together() -> None:
    random = np.random.default_rng(0)
    group = np.arange(60) // 20
    embeddings = random.standard_normal((3, 30))[group] * 5 + random.standard_normal((60, 30))
    places = lay_out(embeddings)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(60)
    assert (group[distance.argmin(axis=1)] == group).all()
    assert np.array_equal(places, lay_out(embeddings))


def test_labels_are_named(run: Path) -> None:
    table = read_manifest(run.parent / "manifest.csv").iloc[:4].copy()
    table["wheeze"], table["crackle"] = [1, 1, 0, np.nan], [1, 0, 0, np.nan]
    assert label_names(table, ["wheeze", "crackle", "stridor"]).tolist() == ["wheeze + crackle", "wheeze", "none of them", ""]
    assert label_names(table, ["stridor"]).tolist() == [""] * 4


def test_the_encoder_file_embeds_as_the_run_did(run: Path, made: Path) -> None:
    """What the report computes from encoder.pt is the module's own embedding."""
    from common.training.checkpoint import open_module
    from pretrain.simclr import SimCLR

    encoder = read_run(run).encoder
    assert encoder is not None
    table = read_manifest(made / "manifest.csv")
    store = WaveformStore.open(made / "store", table, 4000)
    module = open_module(run / "last.ckpt", SimCLR)
    both: list[Any] = [
        embed(network, store, store.clips(table), 2000, "repeat", 5)
        for network in (module, lambda waveform: encoder.encoder(encoder.front_end(waveform)))
    ]
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)
