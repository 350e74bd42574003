"""Many recordings: asked in requests that the service takes, as a table and as CSV."""

from collections.abc import Sequence

import streamlit as st

from serve.page.answer_table import Row, batch_rows, csv_text
from serve.page.client import Service, ServiceError, batches
from serve.page.model_facts import ModelFacts
from serve.page.one import TYPES
from serve.page.words import plain
from serve.schemas import RecordingAnswer


def many_recordings(models: Sequence[tuple[Service, ModelFacts]]) -> None:
    """Upload many files, and ask one model for all of them."""
    names = [service.name for service, _ in models]
    chosen = st.selectbox("Model for all recordings", names, key="batch model") if len(models) > 1 else names[0]
    service, facts = models[names.index(chosen)]
    if facts.metadata:
        st.info("The model is asked without metadata: nothing is known of the patients.")
    files = st.file_uploader("Recordings (WAV, FLAC or OGG)", TYPES, accept_multiple_files=True, key="files")
    # Answers to other files, or of another model, must not stand below these.
    key = (service.name, *(file.file_id for file in files))
    if st.button("Ask the model", disabled=not files, key="ask"):
        st.session_state["batch"] = (key, _asked(service, facts, [(file.name, file.getvalue()) for file in files]))
    kept: tuple[object, list[Row]] | None = st.session_state.get("batch")
    if kept is not None and kept[0] == key and kept[1]:
        _show(kept[1])


def _asked(service: Service, facts: ModelFacts, files: Sequence[tuple[str, bytes]]) -> list[Row]:
    results: list[RecordingAnswer] = []
    versions: list[str] = []
    bar = st.progress(0.0, text=f"0 of {len(files)} recordings")
    for batch in batches([content for _, content in files], facts.limits):
        try:
            answers = service.predict(batch)
        except ServiceError as error:
            st.error(plain(f"{error} The table holds what was answered before."))
            break
        results += answers.results
        versions += [answers.version] * len(batch)
        bar.progress(len(results) / len(files), text=f"{len(results)} of {len(files)} recordings")
    return batch_rows([name for name, _ in files[: len(results)]], results, versions)


def _show(rows: Sequence[Row]) -> None:
    st.header("Answers", anchor=False)
    statuses = [row["status"] for row in rows]
    st.markdown(
        f"{len(rows)} recordings: {statuses.count('ok')} answered, {statuses.count('flagged')} answered but flagged, "
        f"{statuses.count('failed')} without an answer."
    )
    st.download_button(
        "Download the table (CSV)", csv_text(rows), file_name="auscult-answers.csv", mime="text/csv", on_click="ignore", key="csv"
    )
    columns = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    st.table(
        [{plain(name): plain(row.get(name, "")) for name in columns} for row in rows], hide_index=True, alt="Answers, one row per recording"
    )
