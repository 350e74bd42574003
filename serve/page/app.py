"""The page from top to bottom; Streamlit runs this file again at every change."""

import streamlit as st

from serve.errors import StartError
from serve.page.client import Service, ServiceError
from serve.page.many import many_recordings
from serve.page.model_facts import ModelFacts, facts_of
from serve.page.one import one_recording
from serve.page.options import services_of
from serve.page.words import NOT_A_DIAGNOSIS, plain

QUICK, FLEXIBLE = "Quick: the first model, as it was set up", "Flexible: choose models, and how they are asked"
ONE, MANY = "One recording", "Many recordings"
# Of windows, as a share.
OVERLAP = 0.5
# The notice stays in sight while the page is scrolled, and nothing shows above it.
STYLE = """<style>
div:has(> .st-key-notice) { position: sticky; top: 0; z-index: 90; }
.st-key-notice { background: white; padding: 3.25rem 0 0.5rem; }
[data-testid="stMainBlockContainer"] { padding-top: 0; }
[data-testid="stMain"] h1 { font-size: 2.1rem; }
[data-testid="stMain"] h2 { font-size: 1.6rem; }
[data-testid="stMain"] h3 { font-size: 1.25rem; }
</style>"""


def main() -> None:
    st.set_page_config(page_title="Auscult: recordings", layout="wide")
    st.html(STYLE)
    with st.container(key="notice"):
        st.warning(plain(NOT_A_DIAGNOSIS))
    st.title("What a model hears in a recording", anchor=False)
    try:
        services = services_of()
    except StartError as error:
        st.error(plain(str(error)))
        return
    mode = st.sidebar.radio("Mode", [QUICK, FLEXIBLE], key="mode")
    models = _answering(services[:1] if mode == QUICK else services)
    overlap = OVERLAP
    if mode == FLEXIBLE and models:
        models, overlap = _chosen(models)
    for service, facts in models:
        with st.sidebar.expander(f"About {plain(service.name)}"):
            st.markdown(f"{plain(facts.task)}; hears {plain(facts.features)}. Version {facts.version}.")
            st.text(facts.card)
    what = st.radio("What to answer", [ONE, MANY], horizontal=True, key="what")
    if not models:
        return
    if what == ONE:
        one_recording(models, overlap, choose_metadata=mode == FLEXIBLE)
    else:
        many_recordings(models)


def _answering(services: list[Service]) -> list[tuple[Service, ModelFacts]]:
    """Those that can be reached, with what they are; one sentence for each other."""
    found = []
    for service in services:
        try:
            found.append((service, facts_of(service.describe())))
        except ServiceError as error:
            st.error(plain(str(error)))
        except (KeyError, TypeError, ValueError):
            st.error(plain(f"{service.name} describes its model in a way that this page does not know: use one release for both."))
    return found


def _chosen(models: list[tuple[Service, ModelFacts]]) -> tuple[list[tuple[Service, ModelFacts]], float]:
    """The models that the reader picks, and the share by which windows overlap where a model is asked by windows."""
    known = {service.name: (service, facts) for service, facts in models}
    with st.sidebar:
        names = st.multiselect(
            "Models",
            list(known),
            default=list(known)[:1],
            format_func=lambda name: f"{name}: {known[name][1].task}, {', '.join(known[name][1].labels)}",
            help="Several are shown one below the other, and side by side.",
            key="models",
        )
        overlap = _overlap([known[name] for name in names])
    st.header("Models at hand", anchor=False)
    st.table(
        [
            {"Model": plain(name), "Task": plain(facts.task), "Labels": plain(", ".join(facts.labels)), "Hears": plain(facts.features)}
            for name, (_, facts) in known.items()
        ],
        hide_index=True,
        alt="Task, labels and features of each model",
    )
    if not names:
        st.info("Choose a model in the sidebar.")
    return [known[name] for name in names], overlap


def _overlap(models: list[tuple[Service, ModelFacts]]) -> float:
    """The share by which windows overlap, where models are asked by windows; those that tell frames are not asked so."""
    by_windows = [service.name for service, facts in models if facts.frame_s is None]
    if not by_windows:
        return OVERLAP
    only = None if len(by_windows) == len(models) else f"Of {plain(', '.join(by_windows))}; the others tell frames."
    return st.select_slider(
        "Overlap of windows over time", [0.0, 0.5, 0.75], OVERLAP, format_func=lambda share: f"{share:.0%}", help=only, key="overlap"
    )


if __name__ == "__main__":
    main()
