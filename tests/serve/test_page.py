"""The page as a visitor uses it, without a browser: Streamlit runs its script, a service of the same process answers."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import serve.page.app
from serve.page.app import FLEXIBLE, MANY
from serve.page.report import report
from serve.page.words import plain
from tests.serve.made_bundle import LABELS, made_bundle, made_clip
from tests.serve.serving import Serving, serving, wav

TOKEN = "a token of these tests"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    bundle = made_bundle(tmp_path_factory.mktemp("page") / "one", seed=0, clip_s=1.0)
    with serving(bundle, token=TOKEN, max_files=5, max_seconds=60) as running:
        running.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield running


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    bundle = made_bundle(tmp_path_factory.mktemp("page") / "other", seed=1, clip_s=2.0)
    with serving(bundle, token=TOKEN) as running:
        yield running


@pytest.fixture
def page(one: Serving, other: Serving, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return opened(f"lungs={one.url},other={other.url}", monkeypatch)


def opened(services: str, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page as a visitor of ``services`` finds it."""
    monkeypatch.setenv("AUSCULT_SERVICES", services)
    monkeypatch.setenv("AUSCULT_TOKEN", TOKEN)
    # Streamlit puts the page in its place and leaves it there, which a process that a later test starts would run.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    app = AppTest.from_file(str(Path(serve.page.app.__file__)), default_timeout=120).run()
    assert not app.exception
    return app


def shown(app: AppTest) -> str:
    """All text of the page, in order, as it is read; Markdown's escapes are taken out."""
    kinds = ("title", "header", "subheader", "markdown", "warning", "error", "info")
    return re.sub(r"\\(.)", r"\1", "\n".join(element.value for kind in kinds for element in app.get(kind)))


def tables(app: AppTest) -> list[list[dict[str, str]]]:
    """Each table as rows."""
    return [
        [{re.sub(r"\\", "", name): re.sub(r"\\", "", value) for name, value in row.items()} for row in table.value.to_dict("records")]
        for table in app.table
    ]


def upload(app: AppTest, content: bytes, name: str = "clip.wav") -> AppTest:
    return app.file_uploader(key="file").set_value((name, content, "audio/wav")).run()


def test_a_recording_is_shown_with_the_service_s_numbers(page: AppTest, one: Serving) -> None:
    content = wav(made_clip(3.2, 8000, 3), 8000)
    upload(page, content)
    assert not page.exception and not page.error
    (result,) = one.predict(content).json()["results"]
    labels, windows = tables(page)
    assert [row["Label"] for row in labels] == LABELS
    assert [row["Probability"] for row in labels] == [f"{label['probability']:.3f}" for label in result["labels"]]
    answers = {(True, False): "present", (False, False): "absent", (True, True): "undecided", (False, True): "undecided"}
    assert [row["Answer"] for row in labels] == [answers[label["decided"], label["undecided"]] for label in result["labels"]]
    assert labels[1]["Abstain band"] == "0.300 to 0.500" and labels[0]["Abstain band"] == "none"
    assert [(row["From (s)"], row["To (s)"]) for row in windows] == [
        ("0.00", "1.00"), ("0.50", "1.50"), ("1.00", "2.00"), ("1.50", "2.50"), ("2.00", "3.00"), ("2.20", "3.20")
    ]  # fmt: skip
    (third,) = one.predict(wav(made_clip(3.2, 8000, 3)[8000:16000], 8000)).json()["results"]
    assert [windows[2][label] for label in LABELS] == [f"{label['probability']:.3f}" for label in third["labels"]]
    assert "clip.wav: 3.20 s, 8000 Hz, 1 channel." in shown(page) and "A track of windows: 6 of 1 s, one every 0.5 s" in shown(page)
    assert "No fault was found" in shown(page)


def test_every_picture_has_words_and_every_table_a_name(page: AppTest) -> None:
    upload(page, wav(made_clip(2.0, 4000, 3), 4000))
    alts = [image.proto.imgs[0].alt for image in page.image]
    assert len(alts) == 2 and all(label in alt for alt in alts for label in LABELS)
    assert "up to 2000 Hz" in alts[1]
    assert all(table.proto.alt for table in page.table)
    assert all(widget.label for kind in ("radio", "file_uploader", "button") for widget in page.get(kind))


def test_it_always_says_that_it_is_no_diagnosis(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not a diagnosis" in page.warning[0].value
    upload(page, b"RIFFnothing")
    assert "not a diagnosis" in page.warning[0].value
    monkeypatch.setenv("AUSCULT_SERVICES", "http://127.0.0.1:9")
    page.run()
    assert "not a diagnosis" in page.warning[0].value
    assert [error.value for error in page.error] == [plain("model cannot be reached: ask whoever runs the service whether it is up.")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"RIFFnothing", "does not open as audio"),
        (b"%PDF-1.7", "does not begin as WAV, FLAC or OGG does"),
        (b"", "does not begin as WAV, FLAC or OGG does"),
        (wav(made_clip(0.05, 4000, 0), 4000), "the model takes at least 0.1 s"),
        (wav(np.zeros(61 * 1000, np.float32), 1000), "expected at most 60 s"),
        (wav(np.zeros((4000, 9), np.float32), 4000), "9 channels, expected 1 to 8"),
    ],
    ids=["broken", "foreign", "empty", "short", "long", "channels"],
)
def test_a_bad_file_is_one_sentence_and_the_page_goes_on(page: AppTest, content: bytes, sentence: str) -> None:
    upload(page, content, "*a* [b](http://c).wav")
    (error,) = page.error
    assert sentence in re.sub(r"\\(.)", r"\1", error.value) and not page.exception and not page.table
    assert error.value.startswith(r"\*a\* \[b\]\(http\:\/\/c\)\.wav: ")
    upload(page, wav(made_clip(1.0, 4000, 3), 4000))
    assert not page.error and len(page.table) == 2


@pytest.mark.parametrize(
    ("waveform", "words"),
    [
        (np.zeros(4000), "Silent: "),
        (np.full(4000, 0.25), "Constant: "),
        (np.where(np.arange(4000) == 7, np.nan, made_clip(1.0, 4000, 3)[:, 0]), "Not finite: "),
        (np.clip(4 * made_clip(1.0, 4000, 3)[:, 0], -0.5, 0.5), "Clipped: "),
        (made_clip(5.0, 4000, 3)[:, 0], "Noise only: "),
    ],
    ids=["silent", "constant", "nan", "clipped", "noise"],
)
def test_faults_of_a_recording_are_said_in_words(page: AppTest, waveform: np.ndarray, words: str) -> None:
    upload(page, wav(waveform.astype(np.float32), 4000, "FLOAT"))
    assert words in shown(page) and "so the answer means little" in shown(page) and "No fault was found" not in shown(page)


def test_the_report_stands_alone_and_escapes_names(page: AppTest, one: Serving) -> None:
    upload(page, wav(made_clip(2.0, 4000, 3), 4000), "<script>x</script>.wav")
    assert page.download_button(key="report").label == "Download the report (HTML)"
    html = report([judgement for _, judgement in page.session_state["judged"].values()])
    assert "not a diagnosis" in html and "&lt;script&gt;x" in html and "<script" not in html
    assert set(re.findall(r'(?:src|href)="(\w+):', html)) == {"data"} and "url(" not in html
    assert html.count("<img") == len(re.findall(r'<img [^>]*alt="[^"]+"', html)) == 2
    assert re.findall(r"<h(\d)", html) == ["1", "2", "3", "3", "3"]
    (version,) = re.findall(r"Version (\w+)\.", html)
    assert version == one.client.get("/v1/model").json()["version"]


def test_several_models_are_shown_side_by_side(page: AppTest) -> None:
    page.radio(key="mode").set_value(FLEXIBLE).run()
    assert [row["Model"] for row in tables(page)[0]] == ["lungs", "other"]
    page.multiselect(key="models").set_value(["lungs", "other"]).run()
    page.select_slider(key="overlap").set_value(0.0).run()
    upload(page, wav(made_clip(4.0, 4000, 3), 4000))
    _, first, first_windows, second, second_windows, both = tables(page)
    assert first != second and (len(first_windows), len(second_windows)) == (4, 2)
    assert [row["lungs"] for row in both] == [f"{row['Probability']}, {row['Answer']}" for row in first]
    assert [row["other"] for row in both] == [f"{row['Probability']}, {row['Answer']}" for row in second]
    page.multiselect(key="models").set_value(["other"]).run()
    assert tables(page)[1:] == [second, second_windows]


def test_many_recordings_are_answered_in_their_order(page: AppTest, one: Serving) -> None:
    page.radio(key="what").set_value(MANY).run()
    contents = [wav(made_clip(0.5, 4000, seed), 4000) for seed in range(7)]
    contents[3] = b"RIFFnothing"
    page.file_uploader(key="files").set_value([(f"{i}.wav", content, "audio/wav") for i, content in enumerate(contents)]).run()
    before = one.metric('auscult_requests_total{route="/v1/predict",status="200"}')
    page.button(key="ask").click().run()
    assert not page.exception and not page.error
    # The service takes five files at once.
    assert one.metric('auscult_requests_total{route="/v1/predict",status="200"}') == before + 2
    (rows,) = tables(page)
    assert [row["file"] for row in rows] == [f"{i}.wav" for i in range(7)]
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "failed", "ok", "ok", "ok"]
    assert "does not open as audio" in rows[3]["reason"] and rows[3]["prob_wheeze"] == ""
    (alone,) = one.predict(contents[5]).json()["results"]
    assert float(rows[5]["prob_wheeze"]) == pytest.approx(alone["labels"][1]["probability"], abs=1e-5)
    assert "7 recordings: 6 answered, 0 answered but flagged, 1 without an answer." in shown(page)
    page.file_uploader(key="files").set_value([("new.wav", contents[0], "audio/wav")]).run()
    assert not page.table
