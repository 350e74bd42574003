"""The page's section on abstaining where classes exclude each other."""

from common.page.drawing import STYLE, data_uri
from common.page.page import MISSING, Picture, Table, number
from finetune.evaluation.abstention.per_class import ClassAbstention
from finetune.report.detail_sections import ABSTENTION, draw_risk_coverage
from finetune.report.text import interval


def class_abstention_table(found: ClassAbstention) -> Table:
    """Limit, coverage and risk, and the share of each class that is decided."""
    rows = [["Limit of the highest probability, all folds", "no limit keeps it" if found.limit is None else number(found.limit)]]
    rows.append(["Clips", number(found.n)])
    for name in ("coverage", "risk", "full_risk", "area"):
        rows.append([ABSTENTION[name], _figure(getattr(found, name), found, name)])
    for label, coverage in found.class_coverage.items():
        rows.append([f"Share of {label} that is decided", _figure(coverage, found, f"coverage_{label}")])
    return Table(
        "Abstaining, cross-fitted: the limit of the other folds decides; 95 % intervals in brackets", ["Figure", "All classes"], rows
    )


def class_risk_coverage_picture(found: ClassAbstention) -> Picture:
    """Risk against coverage over the highest probability."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        draw_risk_coverage(figure.add_subplot(), found, "limit")
        source = data_uri(figure)
    return Picture(
        "Risk against coverage, when the clips whose highest probability is lowest are left undecided. Dotted: leaving out at random.",
        source,
        f"Risk-coverage curve of all classes; area: {number(found.area)}.",
    )


def _figure(value: float | None, found: ClassAbstention, name: str) -> str:
    return MISSING if value is None else f"{number(value)} ({interval(found.intervals.get(name))})"
