"""Read npz files of plain arrays, and believe nothing that they say of themselves.

NumPy allocates what a header claims, a terabyte if it says so, before it finds the file too short,
and a zip file can unpack to far more than its size. Here nothing is allocated that is not in the
file, a checksum covers every byte, and an object, which would be a pickle, is never made.
"""

import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array

File: TypeAlias = Path | BytesIO
KINDS = "biufMU"  # of NumPy's types: numbers, truth values, days and text
VERSION = (1, 0)  # of the arrays' format, for headers of up to 64 kB
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error),
    *(ValueError, LookupError, TypeError, SyntaxError, RuntimeError, OverflowError),
)
"""Errors that reading a damaged file may raise."""


class Entry(NamedTuple):
    """An array of a file, as its header describes it and as long as that says; not made yet."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    content: bytes

    def array(self) -> Array:
        """Return the array."""
        array: Array = np.lib.format.read_array(BytesIO(self.content), allow_pickle=False)
        return array


def entries(path: File, *, largest: int | None = None) -> dict[str, Entry]:
    """Return the arrays of a file by name.

    `largest` is how many bytes they may hold together; None stands for the size of the file, which
    compressed arrays exceed.

    Raises:
        ArrayError: the file is missing, damaged, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_more(archive, _size(path) if largest is None else largest)
            contents = {info.filename: _content(archive, info) for info in archive.infolist()}
            if len(contents) < len(archive.infolist()):
                raise ValueError("it has two arrays of one name")
    except UNREADABLE as error:
        raise damaged(path, _reason(error)) from None
    described = {}
    for name, content in contents.items():
        array = name.removesuffix(".npy")
        try:
            described[array] = _entry(content)
        except UNREADABLE as error:
            raise damaged(path, f"array {array[:80]!r}: {_reason(error)}") from None
    return described


def damaged(path: File, reason: str) -> ArrayError:
    """Return the error to raise for a file of arrays that cannot be used."""
    return ArrayError(f"{path} is damaged: {reason}")


def _size(file: File) -> int:
    return file.getbuffer().nbytes if isinstance(file, BytesIO) else file.stat().st_size


def _refuse_more(archive: zipfile.ZipFile, largest: int) -> None:
    total = sum(info.file_size for info in archive.infolist())
    if total > largest:
        raise ValueError(f"its arrays claim {total:,} bytes; at most {largest:,} are expected")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return what an array's part of the file holds; its checksum is compared."""
    with archive.open(info) as part:
        content = part.read(info.file_size)
        if len(content) < info.file_size or part.read(1):
            raise ValueError(f"its part {info.filename[:80]!r} is not as long as it says")
    return content


def _entry(content: bytes) -> Entry:
    stream = BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != VERSION:
        raise ValueError(f"it has the format {version}; {VERSION} is expected")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in KINDS or dtype.hasobject:
        raise ValueError("it holds something else than numbers")
    # Python's own integers, which do not overflow
    size = int(dtype.itemsize)
    for axis in shape:
        if axis < 0:
            raise ValueError(f"it has the shape {shape}")
        size *= int(axis)
    held = len(content) - stream.tell()
    if size != held:
        raise ValueError(f"its header claims {size:,} bytes and it holds {held:,}")
    return Entry(tuple(map(int, shape)), dtype, content)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
