"""Frames by session as Parquet files: with notes, with checksums, replaced atomically."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

NOTES = b"rnnflow"  # key of a file's metadata under which its notes stand
UNREADABLE = (pa.ArrowException, OSError, LookupError, TypeError, ValueError, OverflowError)
"""Errors that reading a damaged file may raise."""


def content(frame: pd.DataFrame, notes: dict[str, Any], **options: Any) -> bytes:
    """Return a file of the frame (L, F), whose index is `date`, bit for bit, and JSON notes.

    `options` are those of `pyarrow.parquet.write_table`.
    """
    table = pa.Table.from_pandas(frame)
    for place, name in enumerate(frame):
        # From pandas itself Arrow takes NaN for null, and forgets its bits
        table = table.set_column(place, name, pa.array(frame[name].to_numpy()))
    metadata = {**table.schema.metadata, NOTES: json.dumps(notes).encode()}
    stream = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(metadata), stream, write_page_checksum=True, **options
    )
    file: bytes = stream.getvalue().to_pybytes()
    return file


def parsed(file: bytes) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the frame and the notes of a file; raise one of UNREADABLE if it is damaged."""
    table = pq.read_table(pa.BufferReader(file), page_checksum_verification=True)
    notes = json.loads(table.schema.metadata[NOTES])
    # Without pandas' own metadata, which may be damaged too
    return table.replace_schema_metadata(None).to_pandas().set_index("date"), notes


def notes_of(path: Path) -> dict[str, Any]:
    """Return the notes of a file without its frame; raise one of UNREADABLE if it is damaged."""
    notes: dict[str, Any] = json.loads(pq.read_metadata(path).metadata[NOTES])
    return notes


def replace(path: Path, file: bytes) -> None:
    """Write a file, which appears, or replaces an earlier one, only when it is whole."""
    unfinished = path.with_name(f".{path.name.removeprefix('.')}.unfinished")
    try:
        with unfinished.open("wb") as stream:
            stream.write(file)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
