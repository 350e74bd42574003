"""One recording: uploaded or recorded, asked, shown, and kept as a report."""

import hashlib
from collections.abc import Sequence

import streamlit as st

from serve.page.answer_table import Row, label_rows, track_rows
from serve.page.client import Metadata, Service, ServiceError
from serve.page.judgement import BadRecording, Judgement, judge
from serve.page.metadata import ask_metadata
from serve.page.model_facts import ModelFacts
from serve.page.recording import playable
from serve.page.report import report
from serve.page.track_words import about, legend, table_name, table_offer
from serve.page.words import faults, plain, quality, verdict

UPLOAD, RECORD = "Upload a file", "Record with the microphone"
TYPES = ["wav", "flac", "ogg"]
RECORDED_HZ = 48000


def one_recording(models: Sequence[tuple[Service, ModelFacts]], overlap: float, choose_metadata: bool) -> None:
    """Show everything about one recording.

    Args:
        models: to ask; at least one.
        overlap: of windows over time, as a share, of models that tell no frames.
        choose_metadata: offer what models take beside the audio.
    """
    given = _given()
    asked = {service.name: ask_metadata(service.name, facts) if choose_metadata else None for service, facts in models}
    if given is None:
        st.session_state.pop("judged", None)
        return
    name, content = given
    judgements = [
        judgement
        for service, facts in models
        if (judgement := _judged(service, facts, name, content, overlap, asked[service.name])) is not None
    ]
    if not judgements:
        return
    _show_recording(judgements[0])
    for judgement in judgements:
        _show_answer(judgement, several=len(judgements) > 1)
    if len(judgements) > 1:
        _show_side_by_side(judgements)
    st.header("Keep", anchor=False)
    st.download_button(
        "Download the report (HTML)", report(judgements), file_name="auscult-report.html", mime="text/html", on_click="ignore", key="report"
    )


def _given() -> tuple[str, bytes] | None:
    source = st.radio("Where the recording comes from", [UPLOAD, RECORD], horizontal=True, key="source")
    if source == UPLOAD:
        file = st.file_uploader("Recording (WAV, FLAC or OGG)", TYPES, key="file")
    else:
        file = st.audio_input("Record with the microphone of this device", sample_rate=RECORDED_HZ, key="microphone")
    return None if file is None else (file.name, file.getvalue())


def _judged(service: Service, facts: ModelFacts, name: str, content: bytes, overlap: float, metadata: Metadata | None) -> Judgement | None:
    """Ask, or take what was answered to the very same; None with one sentence on the page where there is no answer."""
    # Streamlit runs the page again at every click, and a click on a download must ask no model.
    key = (service, facts.version, hashlib.sha256(content).hexdigest(), name, overlap, str(metadata))
    kept: dict[str, tuple[object, Judgement]] = st.session_state.setdefault("judged", {})
    if service.name in kept and kept[service.name][0] == key:
        return kept[service.name][1]
    bar = st.progress(0.0, text=f"Asking {plain(service.name)}")
    try:
        judgement = judge(service, facts, name, content, overlap, metadata, bar.progress)
    except BadRecording as error:
        st.error(f"{plain(name)}: {plain(str(error))}")
        return None
    except ServiceError as error:
        st.error(plain(str(error)))
        return None
    finally:
        bar.empty()
    kept[service.name] = (key, judgement)
    return judgement


def _show_recording(judgement: Judgement) -> None:
    recording = judgement.recording
    st.header("Recording", anchor=False)
    averaged = "1 channel" if recording.channels == 1 else f"{recording.channels} channels, averaged"
    st.markdown(f"{plain(recording.name)}: {recording.duration_s:.2f} s, {recording.sample_rate} Hz, {averaged}.")
    st.audio(playable(recording), format="audio/wav", alt="The recording, made as loud as possible")
    st.subheader("Quality of the recording", anchor=False)
    found = faults(judgement.result)
    sentences = "\n".join(f"- {plain(sentence)}" for sentence in quality(found))
    (st.warning if found else st.markdown)(sentences)


def _show_answer(judgement: Judgement, several: bool) -> None:
    st.header(f"Answer of {plain(judgement.service)}" if several else "Answer", anchor=False)
    st.markdown(f"**{plain(verdict(judgement.result))}**")
    st.subheader("Probabilities", anchor=False)
    st.image(judgement.bars.png, alt=judgement.bars.alt, width="stretch")
    st.markdown("Bar: probability. Dashed line: threshold. Hatched: abstain band, in which the model does not decide.")
    _table(label_rows(judgement.result, judgement.facts), "Probability of each label against its threshold")
    st.subheader("Over time", anchor=False)
    track = judgement.track
    st.markdown(about(track, judgement.facts))
    st.image(judgement.overview.png, alt=judgement.overview.alt, width="stretch")
    st.markdown(legend(track))
    with st.expander(f"{table_offer(track)}, {plain(judgement.service)}"):
        _table(track_rows(track), table_name(track))


def _show_side_by_side(judgements: Sequence[Judgement]) -> None:
    st.header("Models side by side", anchor=False)
    labels = list(dict.fromkeys(answer.label for judgement in judgements for answer in judgement.result.labels))
    rows = []
    for label in labels:
        row = {"Label": label}
        for judgement in judgements:
            found = {row["Label"]: f"{row['Probability']}, {row['Answer']}" for row in label_rows(judgement.result, judgement.facts)}
            row[judgement.service] = found.get(label, "does not know it")
        rows.append(row)
    _table(rows, "Each label by each model")


def _table(rows: Sequence[Row], alt: str) -> None:
    st.table([{plain(name): plain(value) for name, value in row.items()} for row in rows], hide_index=True, alt=alt)
