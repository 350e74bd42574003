"""Which services the page asks, from the environment: Streamlit runs its script without arguments of ours."""

import os
import re
from collections.abc import Mapping

from serve.errors import StartError
from serve.page.client import Service

SERVICES, TOKEN = "AUSCULT_SERVICES", "AUSCULT_TOKEN"
DEFAULT = "http://127.0.0.1:8000"


def services_of(environment: Mapping[str, str] = os.environ) -> list[Service]:
    """The services in the order in which they are given; the first one is asked in quick mode.

    Raises:
        StartError: the variable is not one URL, nor names with URLs.
    """
    token = environment.get(TOKEN, "").strip() or None
    return [Service(name, url, token) for name, url in parse_services(environment.get(SERVICES) or DEFAULT).items()]


def parse_services(text: str) -> dict[str, str]:
    """Name -> URL of "http://127.0.0.1:8000" or "lungs=http://one:8000,heart=http://two:8000".

    Raises:
        StartError: an address is none of HTTP, or a name is missing or given twice.
    """
    found: dict[str, str] = {}
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        name, url = _named(part, alone=len(parts) == 1)
        if name in found:
            raise StartError(f"--service ({SERVICES}): the name {name!r} is given twice.")
        found[name] = url.rstrip("/")
    if not found:
        raise StartError(f"--service ({SERVICES}) names no service: expected {DEFAULT} or name=URL,name=URL.")
    return found


def _named(part: str, alone: bool) -> tuple[str, str]:
    match = re.fullmatch(r"(?:([^=:/]+)=)?(https?://[^\s/]\S*)", part)
    if match is None or not (match[1] or alone):
        raise StartError(f"--service ({SERVICES}): {part!r} is no service, expected {DEFAULT} or name=URL,name=URL.")
    return (match[1] or "model").strip(), match[2]
