"""A page as one HTML text that needs no other file and no network: a package's ``report.html`` filled in, in the common style."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MISSING = "-"


def number(value: float | int | None, digits: int = 3) -> str:
    """A count as it is, a share with ``digits`` decimals, a dash where there is none (None or NaN)."""
    if value is None or value != value:
        return MISSING
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


@dataclass(frozen=True)
class Table:
    """A table of the page; the first cell of a row names it. ``foot`` rows are set apart (means, pooled)."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    foot: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Picture:
    """A picture of the page: ``source`` is a data URI, ``alt`` says in words what it shows."""

    caption: str
    source: str
    alt: str


def fill(package: str, **values: Any) -> str:
    """Fill the template ``report.html`` of ``package``; it may import macros of parts.html and include style.html, which lie here."""
    import jinja2

    loader = jinja2.ChoiceLoader([jinja2.PackageLoader(package, "."), jinja2.PackageLoader("common.page", ".")])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.get_template("report.html").render(**values)
