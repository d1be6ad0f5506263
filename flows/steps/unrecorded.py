"""Trainings that no run has recorded to its end: a rerun takes them, and does not train again.

Each is kept in `data/trained/<ticker>-<settings>-<bits>.fit`. The first hash is of the settings,
the second of all that decides the bits: settings, prices, this code and what it runs on.
"""

import json
import logging
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import rnn_core
from flows.tracking.versions import of_this_process
from rnn_core.commands import Retrain
from rnn_core.data import parquet
from rnn_core.data.prices import Prices
from rnn_core.identity import DEFINES_A_TRIAL
from rnn_core.nn import checkpoints
from rnn_core.nn.engines import kernel
from rnn_core.nn.training import Fit

ROOT = Path("data/trained")
DIGEST = 32  # bytes of the SHA-256 at the head of a file
SHORT = 12  # digits of the hash of the settings
CODE = (".py", ".csv", ".so")  # what the files that decide a training end with

logger = logging.getLogger(__name__)


def trained(config: Retrain, prices: Prices, train: Callable[[], Fit]) -> Fit:
    """Return the training that an earlier run has kept, else what `train` returns, and keep that.

    `forget` is called when a run has recorded it.
    """
    path = _path_of(config, prices)
    kept = _read(path)
    if kept is not None:
        logger.warning("the training of %s is that of %s", config.ticker, path)
        return kept
    fitted = train()
    _keep(fitted, path)
    return fitted


def forget(config: Retrain) -> None:
    """Delete the trainings of these settings, on earlier prices too: a run has recorded one."""
    for path in ROOT.glob(f"{_name(config)}-*.fit"):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # the run is recorded; `delete` does it later
            logger.warning("%s cannot be deleted (%s)", path, error.strerror)


def delete(before: float, root: Path = ROOT) -> None:
    """Delete the trainings that were kept before a time, in seconds since 1970."""
    for path in root.glob("*.fit"):
        if path.stat().st_mtime < before:
            path.unlink(missing_ok=True)


def _path_of(config: Retrain, prices: Prices) -> Path:
    parts = {
        "settings": _settings(config),
        "prices": [prices.sha256, prices.exchange, prices.own_sessions],
        "code": _code(),
        "kernel": kernel.available(),
        **of_this_process(),
    }
    digest = _digest(parts)
    return ROOT / f"{_name(config)}-{digest}.fit"


def _name(config: Retrain) -> str:
    digest = _digest([_settings(config), config.source.kind])
    return f"{config.ticker}-{digest[:SHORT]}"


def _settings(config: Retrain) -> dict[str, Any]:
    return config.model_dump(mode="json", include=set(DEFINES_A_TRIAL))


def _digest(parts: object) -> str:
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> str:
    """Return the SHA-256 of the code that trains, and of the tables it reads."""
    digest = sha256()
    for path in sorted(Path(rnn_core.__path__[0]).rglob("*")):
        if path.suffix in CODE:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _keep(fitted: Fit, path: Path) -> None:
    """Write a training after its own hash; without room for it the run goes on."""
    content = BytesIO()
    checkpoints.save(fitted, content)
    arrays = content.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.replace(path, sha256(arrays).digest() + arrays)
    except OSError as error:
        logger.warning("%s cannot be kept for a rerun (%s)", path, error.strerror)


def _read(path: Path) -> Fit | None:
    """Return the training of a file, None if there is no such file or it is of no use."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("%s cannot be read (%s), and is trained again", path, error.strerror)
        return None
    arrays = content[DIGEST:]
    if sha256(arrays).digest() != content[:DIGEST]:
        logger.warning("%s is damaged, and trained again", path)
        return None
    return checkpoints.load(BytesIO(arrays))
