"""Pictures of the benchmarks' results, the same bytes for the same figures."""

from pathlib import Path
from typing import TYPE_CHECKING

from common.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(figure: "Figure", path: Path) -> None:
    """Write ``figure``, drawn in `common.page.drawing.STYLE`, to ``path``, as its suffix says (.svg or .png)."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
