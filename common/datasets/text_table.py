"""Read a table as people save it: comma, semicolon or tab between values, with or without a BOM, everything kept as text."""

import csv
from pathlib import Path

import pandas as pd

from common.errors import UserError


def tables_in(root: Path) -> list[Path]:
    """The CSV and TSV files directly in ``root``, sorted."""
    return sorted(path for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv") and not path.name.startswith("."))


def named_table(table: Path, root: Path) -> Path:
    """``table`` as it is named or, where nothing is there, in ``root``: both are what a person means by ``--table labels.csv``."""
    return root / table if not table.is_file() and (root / table).is_file() else table


def only_table(root: Path) -> Path:
    """The only CSV or TSV file in ``root``.

    Raises:
        UserError: there is none, or there are several.
    """
    tables = tables_in(root)
    if len(tables) != 1:
        seen = f"{', '.join(path.name for path in tables)} are there" if tables else "there is none"
        raise UserError(f"Expected one CSV table in {root}, but {seen}: name the table by --table.")
    return tables[0]


def read_table(path: Path) -> pd.DataFrame:
    """Read a table as text, so that an id like 0007 stays what it is: every value a string, "" where empty.

    The separator is the one of comma, semicolon and tab that parts the header row into the most columns. A row with more values
    than there are columns is refused (pandas would shift or cut it): it is most often an unquoted ``wheeze,crackle``.

    Returns:
        The rows that are not blank; the index is each row's line in the file.

    Raises:
        UserError: no such file, not a table, no rows, a row of the wrong length, or two columns of one name.
    """
    if not path.is_file():
        raise UserError(f"No table at {path}: expected a CSV file there; check the path.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
            lines = [(reader.line_num, [value.strip() for value in line]) for line in reader if any(map(str.strip, line))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a table that can be read ({error}); expected a UTF-8 CSV with a header row.") from error
    if len(lines) < 2:
        raise UserError(f"{path} has no rows: there is nothing to work on.")
    header = [name or f"column_{number}" for number, name in enumerate(lines[0][1], start=1)]
    for number, name in enumerate(header):
        if name in header[:number]:
            raise UserError(f"{path} has two columns {name!r} in its first row: rename one of them, or add the header row that is missing.")
    for number, row in lines[1:]:
        if any(row[len(header) :]):
            raise UserError(
                f"{path}, row {number}, has {len(row)} values for {len(header)} columns: quote values that have {separator!r} in them."
            )
    filled = [(row + [""] * len(header))[: len(header)] for _, row in lines[1:]]
    return pd.DataFrame(filled, columns=header, index=[number for number, _ in lines[1:]], dtype=str)


def find_column(rows: pd.DataFrame, name: str, source: Path, option: str) -> str:
    """The table's own spelling of column ``name``, whatever its case.

    Raises:
        UserError: the table has no such column; ``option`` is what the user should change.
    """
    if name in rows.columns:
        return name
    for column in rows.columns:
        if column.casefold() == name.strip().casefold():
            return column
    raise UserError(f"{source} has no column {name!r} (it has {', '.join(rows.columns)}): correct {option}.")
