"""The page in a real browser: its own process, a running service, Debian's Chromium without a network."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from serve.listener import bind
from serve.page.app import FLEXIBLE, MANY
from serve.page.one import RECORD
from tests.serve.made_bundle import made_bundle, made_clip
from tests.serve.serving import serving, until, wav
from tests.serve.test_service_frames import waxing

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
WAIT_MS = 90_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running page that knows three services; the last one tells frames."""
    folder = tmp_path_factory.mktemp("browser")
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with (
        serving(made_bundle(folder / "one", seed=0, clip_s=1.0)) as one,
        serving(made_bundle(folder / "other", seed=1, clip_s=2.0)) as other,
        serving(made_bundle(folder / "events", seed=2, frames=True)) as events,
        (folder / "log").open("w") as log,
    ):
        environment = {**os.environ, "AUSCULT_SERVICES": f"lungs={one.url},other={other.url},events={events.url}"}
        process = subprocess.Popen([sys.executable, "-m", "serve.page", "--port", str(port)], env=environment, stdout=log, stderr=log)
        found = f"http://127.0.0.1:{port}"
        try:
            until(lambda: process.poll() is not None or answers(found))
            assert process.poll() is None, (folder / "log").read_text()
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_stcore/health").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(url: str, browser: Browser) -> Iterator[Page]:
    """A visitor who has just arrived."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        page = context.new_page()
        elsewhere: list[str] = []
        page.on("request", lambda request: None if request.url.startswith((url, "data:", "blob:")) else elsewhere.append(request.url))
        page.goto(url)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        yield page
        assert not elsewhere, "the page asks for something outside of its own server"


def give(page: Page, *files: tuple[str, bytes], control: str = "Recording (WAV, FLAC or OGG)") -> None:
    page.get_by_role("region", name=control).locator("input").set_input_files(
        [{"name": name, "mimeType": "audio/wav", "buffer": content} for name, content in files]
    )


def choose(page: Page, option: str) -> None:
    # With the keyboard: the control itself is focused and takes a key, as without a mouse.
    radio = page.get_by_role("radio", name=option, exact=True)
    radio.focus()
    page.keyboard.press("Space")
    expect(radio).to_be_checked()


def headings_are_in_order(page: Page) -> bool:
    levels = [int(heading.evaluate("e => e.tagName")[1]) for heading in page.get_by_role("heading").all()]
    return levels[0] == 1 and all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_a_recording_is_uploaded_answered_and_kept(page: Page) -> None:
    give(page, ("clip.wav", wav(made_clip(12.0, 4000, 3), 4000)))
    expect(page.get_by_role("table", name="Probability of each label against its threshold")).to_be_visible()
    expect(page.get_by_role("cell", name="wheeze", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Waveform, spectrogram up to 2000 Hz"))).to_be_visible()
    with page.expect_download() as kept:
        page.get_by_role("button", name="Download the report (HTML)").click()
    html = Path(kept.value.path()).read_text(encoding="utf-8")
    assert kept.value.suggested_filename == "auscult-report.html" and "clip.wav" in html and "not a diagnosis" in html
    assert headings_are_in_order(page)
    # At the very end of the page the notice is still in sight.
    page.get_by_role("button", name="Download the report (HTML)").scroll_into_view_if_needed()
    page.mouse.move(700, 600)
    page.mouse.wheel(0, 10_000)
    expect(page.get_by_text("not a diagnosis")).to_be_in_viewport(ratio=1)


def test_the_report_opens_without_anything_else(page: Page, tmp_path: Path) -> None:
    give(page, ("clip.wav", wav(made_clip(2.0, 4000, 3), 4000)))
    with page.expect_download() as kept:
        page.get_by_role("button", name="Download the report (HTML)").click()
    kept.value.save_as(tmp_path / "report.html")
    opened = page.context.new_page()
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto((tmp_path / "report.html").as_uri())
    assert opened.evaluate("() => [...document.images].map(i => i.complete && i.naturalWidth > 500)") == [True, True]
    assert asked == [(tmp_path / "report.html").as_uri()]


def test_a_bad_file_is_said_and_the_next_one_answered(page: Page) -> None:
    give(page, ("broken.wav", b"RIFFnothing"))
    error = page.get_by_role("alert").filter(has_text="broken.wav")
    expect(error).to_contain_text("does not open as audio")
    expect(page.get_by_text("not a diagnosis")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Remove broken.wav").click()
    expect(error).to_have_count(0)
    give(page, ("nan.wav", wav(np.full((4000, 1), np.nan, np.float32), 4000, "FLOAT")))
    expect(page.get_by_text("Not finite: ")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Bars of probability"))).to_be_visible()


def test_many_recordings_become_a_table_and_csv(page: Page) -> None:
    choose(page, MANY)
    files = [(f"{number}.wav", wav(made_clip(0.5, 4000, number), 4000)) for number in range(40)]
    give(page, *files, ("broken.wav", b"RIFFnothing"), control="Recordings (WAV, FLAC or OGG)")
    page.get_by_role("button", name="Ask the model").click()
    expect(page.get_by_text("41 recordings: 40 answered, 0 answered but flagged, 1 without an answer.")).to_be_visible()
    table = page.get_by_role("table", name="Answers, one row per recording")
    expect(table.get_by_role("row")).to_have_count(42)
    with page.expect_download() as kept:
        page.get_by_role("button", name="Download the table (CSV)").click()
    lines = Path(kept.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("file,status,reason,duration_s,sample_rate,prob_normal,decided_normal") and len(lines) == 42
    assert lines[-1].startswith("broken.wav,failed,")


def test_another_model_is_picked(page: Page) -> None:
    give(page, ("clip.wav", wav(made_clip(4.0, 4000, 3), 4000)))
    first = page.get_by_role("table", name="Probability of each label against its threshold").first
    expect(first).to_be_visible()
    before = first.inner_text()
    choose(page, FLEXIBLE)
    expect(page.get_by_role("table", name="Task, labels and features of each model").get_by_role("row")).to_have_count(4)
    page.get_by_role("combobox", name="Models").click()
    page.get_by_role("option", name=re.compile("^other: MultiLabel")).click()
    # The open list hides the rest of the page from screen readers.
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Answer of other")).to_be_visible()
    expect(page.get_by_role("heading", name="Answer of lungs")).to_be_visible()
    expect(page.get_by_role("table", name="Each label by each model").get_by_role("row")).to_have_count(4)
    tables = page.get_by_role("table", name="Probability of each label against its threshold")
    assert tables.first.inner_text() == before != tables.last.inner_text()
    assert headings_are_in_order(page)


def test_frames_are_shown_where_the_model_tells_them(page: Page) -> None:
    choose(page, FLEXIBLE)
    expect(page.get_by_role("slider", name="Overlap of windows over time")).to_be_visible()
    page.get_by_role("combobox", name="Models").click()
    page.get_by_role("option", name=re.compile("^events: MultiLabel")).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Remove lungs")).click()
    expect(page.get_by_role("slider", name="Overlap of windows over time")).to_have_count(0)
    give(page, ("clip.wav", wav(waxing(12.0, 4000), 4000)))
    expect(page.get_by_text(re.compile("^A track of frames: 168 of about 0.075 s"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("The table of frames has the same numbers"))).to_be_visible()
    page.get_by_text("The same numbers as a table, events").click()
    table = page.get_by_role("table", name="Probabilities of each frame")
    expect(table.get_by_role("row")).to_have_count(169)
    expect(table.get_by_role("columnheader", name="crackle")).to_be_visible()
    with page.expect_download() as kept:
        page.get_by_role("button", name="Download the report (HTML)").click()
    assert "A track of frames: 168" in Path(kept.value.path()).read_text(encoding="utf-8")
    assert headings_are_in_order(page)


def test_a_recording_is_made_with_the_microphone(page: Page) -> None:
    choose(page, RECORD)
    # Chromium's made device beeps.
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2_500)
    page.get_by_role("button", name="Stop recording").click()
    expect(page.get_by_role("table", name="Probability of each label against its threshold")).to_be_visible()
    expect(page.get_by_text(re.compile(r"[1-9]\.\d\d s, 48000 Hz, 1 channel"))).to_be_visible()
