"""The audit: every fault gets its reason, nothing is dropped silently, and what is kept is as it was."""

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_flac import without_length

from common.__main__ import main
from common.audit.reasons import REASONS
from common.manifest import Clip, read_manifest, to_table, write_manifest

RATE = 4000


def noise(seconds: float = 1.0, seed: int = 0, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * RATE), channels)).clip(-4, 4)


def manifest_of(folder: Path, clips: list[Clip]) -> Path:
    write_manifest(folder / "manifest.csv", to_table(clips))
    return folder / "manifest.csv"


def clip(path: Path, clip_id: str = "", normal: int | None = 1, wheeze: int | None = 0, **others: Any) -> Clip:
    return Clip(clip_id or path.stem, str(path), path.stem, labels={"normal": normal, "wheeze": wheeze}, **others)


def run(manifest: Path, out: Path, *options: str) -> tuple[dict[str, Any], dict[str, set[str]]]:
    """The audit's figures, and the reasons that it gives each clip (or file name, where there is no clip)."""
    figures = main(["audit", "--manifest", str(manifest), "--out", str(out), "--workers", "0", *options])
    return figures, reasons_of(out)


def reasons_of(out: Path) -> dict[str, set[str]]:
    found = defaultdict(set)
    for finding in json.loads((out / "audit.json").read_text())["findings"]:
        found[finding["clip_id"] or Path(finding["path"]).name].add(finding["reason"])
    return dict(found)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A made folder with every fault, its manifest, and the reason that each file must get."""
    folder = tmp_path_factory.mktemp("dirty")
    figures = main(["synthetic", "--out", str(folder / "set"), "--patients", "4", "--clips-per-patient", "2", "--seconds", "1", "--dirt"])
    main(["manifest", "takehome", "--root", str(folder / "set"), "--out", str(folder / "manifest.csv")])
    return folder / "manifest.csv", figures["faults"]


def test_every_planted_fault_is_named(dirty: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    manifest, faults = dirty
    figures, _ = run(manifest, tmp_path)
    found = defaultdict(set)
    for finding in json.loads((tmp_path / "audit.json").read_text())["findings"]:
        found[Path(finding["path"]).name].add(finding["reason"])
    assert dict(found) == {name: {reason} for name, reason in faults.items()}
    assert figures["reasons"] == {
        "missing_file": 1,
        "empty_file": 1,
        "not_openable": 3,
        "no_samples": 2,
        "truncated": 1,
        "not_finite": 1,
        "silent": 1,
        "constant": 1,
        "too_short": 1,
        "label_rule": 1,
        "duplicate_conflict": 2,
        "repeated_row": 1,
        "duplicate": 1,
        "clipped": 1,
        "unlisted_file": 1,
    }
    # 8 clips, 12 broken files, 1 missing, 1 against the rule, 1 copy, 1 disputed and 1 repeated row.
    assert (figures["clips"], figures["kept"], figures["removed"], figures["flagged"], figures["unlisted"]) == (25, 8, 17, 1, 1)
    clean = read_manifest(figures["manifest"], ["normal", "wheeze", "crackle"])
    kept = {Path(path).name for path in clean["path"]}
    assert kept == {f"000{number}.wav" for number in range(8) if number != 1} | {"0017.wav"}
    assert "\n0000," in Path(figures["manifest"]).read_text() and ",1,0,0\n" in Path(figures["manifest"]).read_text()


def test_the_page_is_whole_in_itself_and_shows_each_flagged_clip(dirty: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    figures, found = run(dirty[0], tmp_path)
    page = Path(figures["page"]).read_text()
    assert "http://" not in page and "https://" not in page
    for clip_id, reasons in found.items():
        assert clip_id in page
        assert all(reason in page for reason in reasons)
    # Nothing can be drawn of a missing, empty, unopenable or sampleless file: 1 + 1 + 3 + 2.
    assert page.count("data:image/png;base64,") == page.count("<figure>") - 7
    run(dirty[0], tmp_path, "--pictures", "5")
    short = Path(figures["page"]).read_text()
    assert short.count("<figure>") == 5
    assert f"Shown are 5 of {len(found)}" in short


def test_strict_refuses_with_reasons_and_without_a_clean_manifest(
    dirty: tuple[Path, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(dirty[0], tmp_path)
    assert (tmp_path / "manifest.csv").is_file()
    with pytest.raises(SystemExit) as error:
        run(dirty[0], tmp_path, "--strict")
    assert error.value.code == 1
    assert "17 of the 25 clips" in capsys.readouterr().err
    assert not (tmp_path / "manifest.csv").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.html", "audit.json"]


def test_strict_lets_a_sound_set_pass(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    figures, found = run(manifest_of(tmp_path, [clip(tmp_path / "a.wav")]), tmp_path / "out", "--strict")
    assert found == {}
    assert figures["kept"] == 1 and figures["reasons"] == {}


def test_workers_find_the_same(dirty: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    run(dirty[0], tmp_path / "none")
    main(["audit", "--manifest", str(dirty[0]), "--out", str(tmp_path / "one"), "--workers", "1"])
    for name in ("audit.json", "audit.html", "manifest.csv"):
        assert (tmp_path / "none" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_the_planted_faults_of_the_real_folder_are_named(shared_data: Path, tmp_path: Path) -> None:
    main(["manifest", "takehome", "--root", str(shared_data / "takehome"), "--out", str(tmp_path / "manifest.csv")])
    figures, found = run(tmp_path / "manifest.csv", tmp_path / "out")
    assert found == {
        "0160": {"empty_file"},
        "0161": {"not_openable"},
        "0162": {"no_samples"},
        "0163": {"not_openable"},
        "0164": {"truncated"},
        "0165": {"silent"},
        "0166": {"duplicate"},
        "0167": {"duplicate_conflict", "label_rule"},
        "0011": {"duplicate_conflict"},
        "0168": {"missing_file"},
        "0169": {"duplicate_conflict", "label_rule"},
        "0003": {"duplicate_conflict"},
        "0005#2": {"repeated_row"},
        "9999.wav": {"unlisted_file"},
    }
    assert (figures["clips"], figures["kept"]) == (171, 158)


def test_duplicates_are_found_across_containers_and_the_best_annotated_is_kept(tmp_path: Path) -> None:
    x = np.round(noise() * 32768).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", x, RATE)
    soundfile.write(tmp_path / "b.flac", x, RATE)
    soundfile.write(tmp_path / "c.wav", x, 2 * RATE)
    clips = [clip(tmp_path / "a.wav", wheeze=None), clip(tmp_path / "b.flac"), clip(tmp_path / "c.wav")]
    figures, found = run(manifest_of(tmp_path, clips), tmp_path / "out")
    assert found == {"a": {"duplicate"}}
    assert list(read_manifest(figures["manifest"])["clip_id"]) == ["b", "c"]


def test_the_same_samples_under_two_patients_are_pointed_out(tmp_path: Path) -> None:
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", noise(), RATE)
    clips = [clip(tmp_path / "a.wav", patient="p1"), clip(tmp_path / "b.wav", patient="p2")]
    _, found = run(manifest_of(tmp_path, clips), tmp_path / "out")
    assert found == {"a": {"duplicate_across_patients"}, "b": {"duplicate", "duplicate_across_patients"}}


def test_a_repeated_row_with_other_labels_is_a_conflict(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    clips = [clip(tmp_path / "a.wav", "one"), clip(tmp_path / "a.wav", "two", normal=0, wheeze=1), clip(tmp_path / "b.wav", "three")]
    soundfile.write(tmp_path / "b.wav", noise(seed=1), RATE)
    _, found = run(manifest_of(tmp_path, clips), tmp_path / "out")
    assert found == {"one": {"duplicate_conflict"}, "two": {"duplicate_conflict", "repeated_row"}}


def test_clips_of_one_recording_are_judged_apart(tmp_path: Path) -> None:
    x = noise(4.0)
    x[RATE : 2 * RATE] = 0
    x[2 * RATE : 3 * RATE] = np.clip(20 * np.cumsum(x[2 * RATE : 3 * RATE], axis=0), -0.5, 0.5)
    soundfile.write(tmp_path / "a.wav", x, RATE)
    borders = {
        "sound": (0, 1),
        "silent": (1, 2),
        "clipped": (2, 3),
        "short": (3, 3.05),
        "beyond": (3, 4.5),
        "near": (3.5, 4.02),
        "after": (5, 6),
        "reversed": (1, 0.5),
        "before": (-1, 1),
    }
    clips = [clip(tmp_path / "a.wav", name, start_s=start, end_s=end) for name, (start, end) in borders.items()]
    figures, found = run(manifest_of(tmp_path, clips), tmp_path / "out")
    assert found == {
        "silent": {"silent"},
        "clipped": {"clipped"},
        "short": {"too_short"},
        "beyond": {"out_of_range"},
        "after": {"no_samples"},
        "reversed": {"wrong_borders"},
        "before": {"wrong_borders"},
    }
    clean = read_manifest(figures["manifest"]).set_index("clip_id")
    assert list(clean.index) == ["sound", "clipped", "beyond", "near"]
    assert clean.at["beyond", "end_s"] == 4.0
    assert (clean["sample_rate"] == RATE).all() and (clean["duration_s"] == 4.0).all()


def test_channels_are_judged_where_their_mix_hides_the_fault(tmp_path: Path) -> None:
    x = noise(channels=2)
    clipped = x.copy()
    clipped[:, 0] = np.clip(np.cumsum(noise(seed=2)[:, 0]), -0.5, 0.5)
    one_silent, opposed = x.copy(), x.copy()
    one_silent[:, 1] = 0
    opposed[:, 1] = -opposed[:, 0]
    for name, samples in {"clipped": clipped, "one_silent": one_silent, "opposed": opposed}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="FLOAT")
    clips = [clip(path) for path in sorted(tmp_path.glob("*.wav"))]
    _, found = run(manifest_of(tmp_path, clips), tmp_path / "out")
    assert found == {"clipped": {"clipped"}, "opposed": {"silent"}}


def test_a_rate_that_cannot_be_resampled_is_refused_for_the_rate_asked(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2), 44101)
    soundfile.write(tmp_path / "b.wav", noise(2, seed=1), 44100)
    manifest = manifest_of(tmp_path, [clip(tmp_path / "a.wav"), clip(tmp_path / "b.wav")])
    assert run(manifest, tmp_path / "out")[1] == {"a": {"unsupported_rate"}}
    assert run(manifest, tmp_path / "own", "--sample-rate", "44101")[1] == {"b": {"unsupported_rate"}}


def test_a_manifest_without_labels_is_judged_by_its_audio(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    clips = [Clip(name, str(tmp_path / f"{name}.wav"), name) for name in "ab"]
    assert run(manifest_of(tmp_path, clips), tmp_path / "out")[1] == {"b": {"duplicate"}}


@pytest.mark.parametrize("fault", ["all_removed", "same_path", "file_name", "missing_label", "no_rate", "negative"])
def test_mistakes_end_in_one_sentence(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = manifest_of(tmp_path, [clip(tmp_path / "none.wav")])
    out, options, words = {
        "all_removed": (tmp_path / "out", [], "none is left"),
        "same_path": (tmp_path, [], "would overwrite"),
        "file_name": (tmp_path / "out.csv", [], "named like a file"),
        "missing_label": (tmp_path / "out", ["--labels", "[stridor]"], "no label column 'stridor'"),
        "no_rate": (tmp_path / "out", ["--sample-rate", "0"], "sample_rate 0"),
        "negative": (tmp_path / "out", ["--pictures", "-1"], "pictures -1"),
    }[fault]
    before = manifest.read_bytes()
    with pytest.raises(SystemExit) as error:
        run(manifest, out, *options)
    assert error.value.code == 1
    message = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(message) == 1 and words in message[0]
    assert manifest.read_bytes() == before
    assert not (out / "manifest.csv").exists() or out == manifest.parent


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("wav", {"subtype": s}) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM")]
    + [("wav", {"format": "RF64"}), ("wav", {"format": "WAVEX"}), ("flac", {}), ("ogg", {})],
)
def test_a_cut_file_is_truncated_and_the_whole_one_is_not(suffix: str, options: dict[str, str], tmp_path: Path) -> None:
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    soundfile.write(whole, noise(3.0, channels=2), RATE, **options)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert run(manifest_of(tmp_path, [clip(whole), clip(cut)]), tmp_path / "out")[1] == {"cut": {"truncated"}}


def test_a_streamed_flac_is_judged_by_what_is_in_it(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "whole.flac", noise(5.0), RATE)
    content = without_length((tmp_path / "whole.flac").read_bytes())
    (tmp_path / "streamed.flac").write_bytes(content)
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    names = ("streamed", "cut")
    figures, found = run(manifest_of(tmp_path, [clip(tmp_path / f"{name}.flac") for name in names]), tmp_path / "out")
    assert found == {"cut": {"truncated"}, "whole.flac": {"unlisted_file"}}
    assert list(read_manifest(figures["manifest"])["duration_s"]) == [5.0]
    assert "data:image/png" in Path(figures["page"]).read_text()


def test_every_reason_says_what_it_does() -> None:
    for code, reason in REASONS.items():
        assert code == code.lower() and reason.meaning.endswith(".")
        assert (reason.action == "removed") or reason.severity == "warning"


def test_kept_columns_come_back_as_they_were(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    row = clip(tmp_path / "a.wav", patient="007", classes={"diagnosis": "COPD"}, metadata={"age_years": 63.5})
    manifest = manifest_of(tmp_path, [row])
    figures, _ = run(manifest, tmp_path / "out")
    before, after = pd.read_csv(manifest, dtype=str), pd.read_csv(figures["manifest"], dtype=str)
    columns = [name for name in before.columns if name not in ("sample_rate", "duration_s")]
    pd.testing.assert_frame_equal(before[columns], after[columns])
