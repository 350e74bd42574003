"""A recording's report: one HTML text that needs no other file and no network, to keep or to print."""

from collections.abc import Sequence
from datetime import UTC, datetime

import jinja2

from serve.page.answer_table import label_rows, track_rows
from serve.page.judgement import Judgement
from serve.page.track_words import about, table_name
from serve.page.words import NOT_A_DIAGNOSIS, faults, quality, verdict


def report(judgements: Sequence[Judgement], written: datetime | None = None) -> str:
    """The report on one recording by one or several models.

    Args:
        judgements: at least one, all of the same recording.
        written: when; None is now.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("serve.page", "."), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        note=NOT_A_DIAGNOSIS,
        recording=judgements[0].recording,
        written=f"{written or datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        models=[
            {
                "judgement": judgement,
                "verdict": verdict(judgement.result),
                "quality": quality(faults(judgement.result)),
                "labels": label_rows(judgement.result, judgement.facts),
                "about": about(judgement.track, judgement.facts),
                "table_name": table_name(judgement.track),
                "rows": track_rows(judgement.track),
            }
            for judgement in judgements
        ],
    )
