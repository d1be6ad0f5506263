"""The sessions that a served model brings along: days in order, or one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.tracking.served_model import LARGEST_CALENDAR, _sessions
from rnn_core.errors import ArrayError

DAYS = np.arange("2013-01-02", "2013-02-01", dtype="datetime64[D]")


def saved(path: Path, **arrays: Any) -> str:
    np.savez_compressed(path / "sessions.npz", **arrays)
    return str(path / "sessions.npz")


def test_the_days_are_those_that_were_saved(tmp_path: Path) -> None:
    days = _sessions(saved(tmp_path, sessions=DAYS))
    assert days is not None
    assert days.equals(pd.DatetimeIndex(DAYS))
    assert _sessions(None) is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"days": DAYS}, "array 'sessions' is missing or holds no days"),
        ({"sessions": DAYS.astype(float)}, "array 'sessions' is missing or holds no days"),
        ({"sessions": DAYS[None]}, "array 'sessions' is missing or holds no days"),
        ({"sessions": DAYS[::-1]}, "array 'sessions' has no days in order"),
        ({"sessions": DAYS[:0]}, "array 'sessions' has no days in order"),
        ({"sessions": np.append(DAYS, np.datetime64("NaT", "D"))}, "has no days in order"),
        ({"sessions": np.array([{}], dtype=object)}, "it holds something else than numbers"),
        ({"sessions": np.zeros(LARGEST_CALENDAR, "datetime64[D]")}, "at most 10,000,000 are"),
    ],
)
def test_anything_else_is_refused_in_one_line(
    arrays: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArrayError, match=message) as refused:
        _sessions(saved(tmp_path, **arrays))
    assert str(refused.value).startswith(f"{tmp_path}/sessions.npz is damaged: ")
    assert len(str(refused.value).splitlines()) == 1


def test_a_file_with_flipped_bits_is_refused_or_gives_the_same_days(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, sessions=DAYS))
    content = path.read_bytes()
    refused = 0
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            days = _sessions(str(path))
        except ArrayError:
            refused += 1
        else:
            assert days is not None
            assert days.equals(pd.DatetimeIndex(DAYS))
    assert refused > 4 * len(content)
