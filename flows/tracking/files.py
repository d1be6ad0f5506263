"""Files of a run that are read again later, whose hashes are in its tags."""

from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Run

from flows.tracking.integrity import sha256_of
from flows.tracking.store import client, one_line
from rnn_core.errors import FileDamaged, NotFound, TrackingError
from rnn_core.owners import temporary_folder

CONFIG = "config.json"
CALLS = "calls.csv"
VERSIONS = "versions.json"
HASH = "sha256."  # what the name of a tag with the hash of a file starts with
READ_AGAIN = (CONFIG, CALLS, VERSIONS)


def text(run: Run, name: str) -> str:
    """Return a text file of a run.

    Raises:
        FileDamaged: it is missing, or has changed since it was written.
        TrackingError: the store cannot be reached or used.
    """
    try:
        content = _downloaded(run.info.run_id, name)
        _refuse_changed(content, run.data.tags.get(f"{HASH}{name}"))
        return content.decode()
    except (NotFound, FileNotFoundError, ValueError) as error:
        raise FileDamaged(
            f"{name} of run {run.info.run_id} cannot be read ({one_line(error)})"
        ) from error


def hashes(files: Mapping[str, bytes | str]) -> dict[str, str]:
    """Return the tags with the hashes of those files that are read again later."""
    return {
        f"{HASH}{name}": sha256_of(content_of(files[name])) for name in READ_AGAIN if name in files
    }


def content_of(file: bytes | str) -> bytes:
    """Return what is written of a file."""
    return file.encode() if isinstance(file, str) else file


def _downloaded(run_id: str, name: str) -> bytes:
    with temporary_folder() as folder:
        try:
            file = client().download_artifacts(run_id, name, str(folder))
        except TrackingError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise error.__cause__ from error
            raise
        return Path(file).read_bytes()


def _refuse_changed(content: bytes, expected: str | None) -> None:
    """Raise ValueError if the SHA-256 of the content is another; older runs expect none."""
    if expected not in (None, sha256_of(content)):
        raise ValueError("it has changed since it was written")
