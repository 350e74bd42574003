"""What the documentation points at is there: links, headings, targets of make; and nothing of one machine."""

import re
import string
from pathlib import Path

import pytest

from tests.docs.pages import FENCE, NOTEBOOK, PAGES, ROOT, cells


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return "".join(c for c in heading.lower().replace(" ", "-") if c in string.ascii_lowercase + string.digits + "-_")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", NOTEBOOK], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = "\n".join(cells("markdown")) if page == NOTEBOOK else FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", linked.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{page.name} links to {target}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z_]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"(?:`|^)make ([a-z_]+)", page.read_text(encoding="utf-8"), re.MULTILINE)}
    assert {"demo", "test"} <= named <= targets


def test_no_page_speaks_of_one_machine() -> None:
    for page in [*PAGES, NOTEBOOK]:
        found = re.findall(r"/home/\w+|/tmp/|/root/|[A-Z]:\\\\", page.read_text(encoding="utf-8"))
        assert not found, f"{page.name} has {found}"
