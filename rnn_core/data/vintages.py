"""The prices that runs saw, by content: `data/vintages/<sha256>.parquet`, each written once.

A *base* is whole. Any other vintage holds only the rows in which it differs from its base: the next
day adds one, which takes a few kB. A dividend rescales every row, which makes a new base.
"""

import hashlib
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray

from rnn_core.data import parquet
from rnn_core.data.prices import Prices, sha256_of
from rnn_core.errors import DataError

ROOT = Path("data/vintages")
FORMAT = 1
YOUNG = 24 * 60 * 60  # seconds after it was kept in which a vintage stays: its run may just start


def path_of(sha256: str, root: Path = ROOT) -> Path:
    """Return the file of the prices with this SHA-256, whether it exists or not."""
    return root / f"{sha256}.parquet"


def keep(prices: Prices, root: Path = ROOT) -> Path:
    """Write the prices, unless their file is there and whole, and return the file.

    Raises:
        DataError: it cannot be written.
    """
    path = path_of(prices.sha256, root)
    with _locked(root):
        if _readable(path) is None:
            _write(path, prices)
        os.utime(path)
    return path


def read(sha256: str, root: Path = ROOT) -> pd.DataFrame:
    """Return the frame (L, F) of the prices with this SHA-256, bit for bit.

    Raises:
        DataError: its file or its base is missing or damaged.
    """
    path = path_of(sha256, root)
    if not path.exists():
        raise DataError(f"{path}: no such file; these prices were not kept here, or were pruned")
    try:
        frame = _read(path)
    except DataError as error:
        raise DataError(f"{path}: rests on a base that cannot be read: {error}") from error
    except parquet.UNREADABLE as error:
        raise DataError(f"{path}: is damaged ({str(error).splitlines()[0]})") from error
    actual = sha256_of(frame)
    if actual != sha256:
        raise DataError(f"{path}: is damaged: its prices have the SHA-256 {actual}")
    return frame


def delete(unneeded: Collection[str], root: Path = ROOT) -> tuple[int, int]:
    """Delete the vintages with these SHA-256; return how many were deleted and how many are left.

    A vintage stays for a day after it was kept, and a base as long as another vintage needs it.

    Raises:
        DataError: the folder cannot be written to.
    """
    if not root.exists():
        return 0, 0
    with _locked(root):
        stored = {path.stem: path for path in root.glob("*.parquet")}
        bases = {sha256: _base_of(path) for sha256, path in stored.items()}
        old = {sha256 for sha256, path in stored.items() if _age(path) > YOUNG}
        doomed = old & set(unneeded)
        for sha256 in stored.keys() - doomed:
            base = bases[sha256]
            while base is not None:
                doomed.discard(base)
                base = bases.get(base)
        for sha256 in doomed:
            stored[sha256].unlink()
        for unfinished in root.glob(".*.unfinished"):  # of a process that was killed
            unfinished.unlink()
    return len(doomed), len(stored) - len(doomed)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold a lock on the folder: a base must not be deleted while a vintage is written by it."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):
            yield
    except OSError as error:
        raise DataError(
            f"{root}: cannot be written to ({error.strerror or error}); "
            "a run could not be repeated if its prices were not kept there"
        ) from error


def _readable(path: Path) -> pd.DataFrame | None:
    """Return the frame of a vintage, None if it is missing or damaged."""
    try:
        return read(path.stem, path.parent)
    except DataError:
        return None


def _write(path: Path, prices: Prices) -> None:
    """Write the differences from the latest base of the same kind, or else a new base."""
    frame = prices.frame
    pointer = path.with_name(f".{prices.ticker}.{prices.source}.{_hash_of_columns(prices)}.base")
    base_sha256 = pointer.read_text() if pointer.exists() else ""
    base = _readable(path_of(base_sha256, path.parent))
    if base is not None and list(base) == list(frame):
        rows, dropped = _differences(frame, base)
        if len(rows) + len(dropped) <= _most_differences(frame):
            _replace(path, frame, rows, base_sha256, dropped)
            return
    _replace(path, frame, frame)
    parquet.replace(pointer, path.stem.encode())


def _hash_of_columns(prices: Prices) -> str:
    """Return a short hash of the source's column and the frame's, whose names no file may bear."""
    names = "\n".join([prices.column, *prices.frame])
    return hashlib.sha256(names.encode()).hexdigest()[:12]


def _most_differences(frame: pd.DataFrame) -> float:
    """Return the number of rows (L,) from which on a new base is due.

    Files that grow by a row a day hold n²/2 rows after n days: then as many as a base.
    """
    return sqrt(2 * len(frame))


def _differences(frame: pd.DataFrame, base: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index]:
    """Return the rows that the base lacks or has otherwise, and the sessions only the base has.

    Sessions of the base before the first one of the frame, or after its last one, do not count.
    """
    within = base.loc[frame.index[0] : frame.index[-1]]
    same = (_bits(within.reindex(frame.index)) == _bits(frame)).all(axis=1)
    known = frame.index.isin(within.index)  # NaN, as of a session that the base lacks, may be equal
    return frame[~(same & known)], within.index.difference(frame.index)


def _bits(frame: pd.DataFrame) -> NDArray[np.int64]:
    return np.ascontiguousarray(frame.to_numpy("<f8")).view("<i8")


def _replace(
    path: Path,
    frame: pd.DataFrame,
    rows: pd.DataFrame,
    base: str | None = None,
    dropped: Collection[pd.Timestamp] = (),
) -> None:
    index = pd.DatetimeIndex(frame.index)
    notes: dict[str, Any] = {
        "format": FORMAT,
        "base": base,
        "first": index[0].isoformat(),
        "last": index[-1].isoformat(),
        "dropped": [session.isoformat() for session in dropped],
        "unit": index.unit,  # Parquet has no seconds
    }
    content = parquet.content(
        rows, notes, compression="zstd", use_dictionary=False, use_byte_stream_split=list(rows)
    )
    parquet.replace(path, content)


def _read(path: Path) -> pd.DataFrame:
    frame, notes = parquet.parsed(path.read_bytes())
    if notes["format"] != FORMAT:
        raise ValueError(f"format {notes['format']}, not {FORMAT}")
    if notes["base"] is not None:
        base = read(notes["base"], path.parent).loc[notes["first"] : notes["last"]]
        replaced = frame.index.union(pd.DatetimeIndex(notes["dropped"]))
        frame = pd.concat([base[~base.index.isin(replaced)], frame]).sort_index()
    index = pd.DatetimeIndex(frame.index, name="date").as_unit(notes["unit"])
    return frame.set_axis(index)


def _base_of(path: Path) -> str | None:
    try:
        base: str | None = parquet.notes_of(path)["base"]
    except parquet.UNREADABLE:
        return None  # a damaged vintage cannot be read, with a base or without
    return base


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime
