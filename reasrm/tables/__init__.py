"""Rows of files as people have them: formats, compression, folders of shards, globs, the Hub, and named columns.

`read_rows` is the way in for what a user gives; files that we wrote ourselves are read by `reasrm.jsonl`. Libraries
that only one kind of file needs are imported when such a file is met.
"""

from reasrm.jsonl import RawRow, RowLimits, TruncatedInput
from reasrm.tables.columns import (
    ColumnMap,
    Columns,
    check_fields,
    given_columns,
    lacking_columns,
    parse_columns,
)
from reasrm.tables.places import content_sha256, input_files, is_hub, refuse_missing, told_apart
from reasrm.tables.reading import read_rows
from reasrm.tables.values import without_nulls

__all__ = [
    "ColumnMap",
    "Columns",
    "RawRow",
    "RowLimits",
    "TruncatedInput",
    "check_fields",
    "content_sha256",
    "given_columns",
    "input_files",
    "is_hub",
    "lacking_columns",
    "parse_columns",
    "read_rows",
    "refuse_missing",
    "told_apart",
    "without_nulls",
]
