"""docs/page.md says what the page has: its options."""

import pytest

from serve.page.__main__ import parser
from tests.docs.pages import ROOT, tables


def test_the_table_of_options_is_the_page_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUSCULT_SERVICES", raising=False)
    (table,) = tables(ROOT / "docs" / "page.md", "Options")
    known = [action for action in parser()._actions if action.dest != "help"]
    assert [tuple(row) for row in table] == [
        (f"`{action.option_strings[0]}`", f"`{action.default}`" if action.default else "", action.help) for action in known
    ]
