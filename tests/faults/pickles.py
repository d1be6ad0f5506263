"""Find pickles in whatever a program has written: alone, in archives, in arrays, in databases.

>>> import pickle
>>> list(pickles_in(b"text before " + pickle.dumps({"a": 1}, 4)))
['a pickle at byte 12']
"""

import base64
import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NAMES = re.compile(r"\.(pkl|pickle|joblib|dill|cloudpickle|pt|pth)$|(^|/)data\.pkl$")
START = re.compile(rb"\x80[\x02-\x05]")  # of protocol 2 and later
IN_BASE64 = re.compile(rb"gA[I-V][A-Za-z0-9+/_-]{8,}={0,2}")
OBJECTS = re.compile(rb"\x93NUMPY[^\n]{0,200}'descr': [^,]*O")
ZIP = b"PK\x03\x04"
FEWEST_STEPS = 4  # of a pickle that holds something: random bytes seldom go on for so long


def pickles_below(folder: Path) -> list[str]:
    """Return where pickles are in the files of a folder."""
    return [
        f"{path.relative_to(folder)}: {what}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
        for what in _of_file(path.name, path.read_bytes())
    ]


def _of_file(name: str, content: bytes) -> Iterator[str]:
    if NAMES.search(name):
        yield f"the name {name}"
    yield from pickles_in(content)


def pickles_in(content: bytes) -> Iterator[str]:
    """Yield what is a pickle in the bytes of a file."""
    for match in START.finditer(content):
        if _is_pickle(content[match.start() :]):
            yield f"a pickle at byte {match.start()}"
    for match in IN_BASE64.finditer(content):
        with suppress(ValueError):
            text = match[0] + b"=" * (-len(match[0]) % 4)
            if _is_pickle(base64.b64decode(text, altchars=b"-_" if b"_" in text else None)):
                yield f"a pickle in base64 at byte {match.start()}"
    for match in OBJECTS.finditer(content):
        yield f"an array of objects at byte {match.start()}"
    if content.startswith(ZIP):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                for what in _of_file(info.filename, archive.read(info)):
                    yield f"{info.filename}: {what}"


def _is_pickle(content: bytes) -> bool:
    steps = 0
    with suppress(Exception):  # bytes that are none fail in many ways
        for step, _, _ in pickletools.genops(content):
            steps += 1
            if step.name == "STOP":
                return steps >= FEWEST_STEPS
    return False
