"""Made recordings: the layout, the sounds behind the labels, and that nothing real is ever replaced."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from common.__main__ import main
from common.errors import UserError
from common.synthetic import sounds
from common.synthetic.dirt import plant_dirt
from common.synthetic.patients import make_patients
from common.synthetic.takehome import write_takehome


def digest(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_writes_the_takehome_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = main(["synthetic", "--out", str(tmp_path / "set"), "--patients", "4", "--clips-per-patient", "2", "--seconds", "1.5"])
    table = pd.read_csv(tmp_path / "set" / "train.csv")
    assert list(table.columns) == ["filename", "patient", "normal", "wheeze", "crackle"]
    assert len(table) == figures["clips"] == 8
    assert table["patient"].nunique() == 4
    assert ((table["normal"] == 1) == ((table["wheeze"] == 0) & (table["crackle"] == 0))).all()
    for name in table["filename"]:
        info = soundfile.info(str(tmp_path / "set" / "train" / name))
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (4000, 6000, 1, "PCM_16")
    assert capsys.readouterr().out.strip().startswith("{")


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_takehome(tmp_path / name, 4, 1, 1.0, seed=seed)
        plant_dirt(tmp_path / name)
    first, again, other = (digest(tmp_path / name) for name in "abc")
    # This chunk would hold the second at which the file was written.
    assert first == again and not any(b"PEAK" in content for content in first.values())
    assert first["0000.wav"] != other["0000.wav"]


def test_more_patients_leave_the_first_ones_as_they_are() -> None:
    few = list(make_patients(2, 2, 1.0))
    many = list(make_patients(5, 2, 1.0))
    assert len(many) == 10
    assert all(np.array_equal(a.waveform, b.waveform) for a, b in zip(few, many, strict=False))


def test_every_label_is_there_and_not_tied_to_the_patient() -> None:
    clips = pd.DataFrame([vars(clip) for clip in make_patients(8, 6, 0.5)])
    for label in ("normal", "wheeze", "crackle"):
        by_patient = clips.groupby("patient")[label].mean()
        assert by_patient.between(0.01, 0.99).any()
        assert clips.loc[clips[label] == 1, "patient"].nunique() >= 2


def test_waveforms_stay_below_full_scale_and_differ_in_gain() -> None:
    peaks = [float(np.abs(clip.waveform).max()) for clip in make_patients(12, 1, 1.0)]
    assert max(peaks) < 0.95
    assert max(peaks) > 2 * min(peaks)


def test_a_wheeze_is_one_tone_between_100_and_1000_hz() -> None:
    for seed in range(20):
        tone = sounds.wheeze(np.random.default_rng(seed), 0.5, 4000)
        power = np.abs(np.fft.rfft(tone * np.hanning(len(tone)))) ** 2
        frequency = np.fft.rfftfreq(len(tone), 1 / 4000)
        assert 100 <= frequency[power.argmax()] <= 1000
        assert power[(frequency > 100) & (frequency < 1050)].sum() > 0.98 * power.sum()


@pytest.mark.parametrize("widths", [sounds.FINE_CRACKLE, sounds.COARSE_CRACKLE])
def test_a_crackle_has_the_widths_of_its_definition(widths: tuple[float, float]) -> None:
    initial_deflection_s, two_cycles_s = widths
    rate = 192_000
    wave = sounds.crackle(rate, *widths)
    assert len(wave) / rate == pytest.approx(two_cycles_s, rel=0.01)
    crossings = np.flatnonzero(np.diff(np.sign(wave)) != 0) / rate
    assert crossings[0] == pytest.approx(initial_deflection_s, abs=2 / rate)
    # Two cycles cross zero three times between their start and their end.
    assert len(crossings) == 3


def test_wheezes_and_crackles_can_be_heard_in_the_signal() -> None:
    """The labels are in the samples: the peak over the local mean spectrum is larger with a wheeze, the kurtosis with crackles."""
    peaks: dict[int, list[float]] = {0: [], 1: []}
    kurtosis: dict[int, list[float]] = {0: [], 1: []}
    for clip in make_patients(24, 2, 4.0):
        spectrum = np.abs(np.fft.rfft(clip.waveform.reshape(-1, 400) * np.hanning(400)))[:, 12:80]
        peaks[clip.wheeze].append(float((spectrum.max(axis=1) / np.median(spectrum, axis=1)).max()))
        jumps = np.diff(clip.waveform, 2)
        kurtosis[clip.crackle].append(float((jumps**4).mean() / (jumps**2).mean() ** 2))
    assert np.median(peaks[1]) > np.median(peaks[0])
    assert np.median(kurtosis[1]) > np.median(kurtosis[0])


def test_a_made_folder_is_replaced_and_other_data_are_not(tmp_path: Path) -> None:
    write_takehome(tmp_path / "made", 4, 2, 1.0)
    plant_dirt(tmp_path / "made")
    table = write_takehome(tmp_path / "made", 2, 1, 1.0)
    assert sorted(path.name for path in (tmp_path / "made" / "train").iterdir()) == sorted(table["filename"])

    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "train.csv").write_text("filename,wheeze\n")
    with pytest.raises(UserError, match="did not write"):
        write_takehome(tmp_path / "real", 1, 1, 1.0)
    assert (tmp_path / "real" / "train.csv").read_text() == "filename,wheeze\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--patients", "0"], "Cannot make 0 patients"),
        (["--seed", "-1"], "with seed -1"),
        (["--patients", "3", "--clips-per-patient", "1", "--dirt"], "among 3 clips: expected at least 4"),
        (["--patients", "1", "--out", "{folder}/file/x"], "Cannot write"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SystemExit) as error:
        main(["synthetic", "--out", str(tmp_path / "x"), *(option.format(folder=tmp_path) for option in options)])
    assert error.value.code == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and words in printed and printed.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
