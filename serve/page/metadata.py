"""What a model takes beside the audio, asked for on the page; nothing is a fair answer."""

import streamlit as st

from serve.page.client import Metadata
from serve.page.model_facts import ModelFacts
from serve.page.words import plain


def ask_metadata(service: str, facts: ModelFacts) -> Metadata | None:
    """A control for each column that the model takes; None where it takes none, or where nothing was given."""
    if not facts.metadata:
        return None
    st.header(f"About the patient, for {plain(service)}", anchor=False)
    given: dict[str, float | str | None] = {}
    for column in facts.metadata["columns"]:
        label, key = f"{plain(column)} (may stay empty)", f"metadata {service} {column}"
        if column in facts.metadata["numbers"]:
            given[column] = st.number_input(label, value=None, key=key)
        else:
            given[column] = st.selectbox(label, facts.metadata["vocabularies"][column], index=None, key=key)
    return given if any(value is not None for value in given.values()) else None
