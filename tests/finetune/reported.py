"""Reports of made runs, and what their pages say."""

from html.parser import HTMLParser
from pathlib import Path

from finetune.__main__ import main


def report(folder: Path, *options: str) -> dict:
    return main(["report", "--run", str(folder), "--resamples", "50", *options])


def page_of(folder: Path) -> str:
    return (folder / "report" / "report.html").read_text()


class Page(HTMLParser):
    """Collects what the tests look at: text, addresses and tags that are open at the end."""

    void = ("meta", "img", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.sources, self.alts, self.open = "", [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.sources += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.alts.append(attributes.get("alt"))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        self.text = " ".join(f"{self.text} {data}".split())
