"""Purged walk-forward: which rows train, validate and test each fold.

The last fold is the live model.

    fold 0   train ───────────┤·├ valid ─┤·├ test ─┤
    fold 1          train ───────────┤·├ valid ─┤·├ test ─┤
    live                   train ───────────┤·├ valid ─┤·├ (the row that has no label yet)

Rows are purged (·) if their label reaches into the next block: a label is known one session after
its row. An embargo widens the gap before the test block. See López de Prado, Advances in Financial
Machine Learning (2018), chapter 7.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rnn_core.data.windows import Windows
from rnn_core.errors import DataError
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Folds

if TYPE_CHECKING:
    from rnn_core.config import Evaluation

LABEL_REACH = 1  # sessions from a row to the one that tells its label


def outcomes(windows: Windows, folds: Folds) -> "pd.Series[float]":
    """Return the log return of the session that each call out of sample is about, by its day."""
    tested = folds.test[folds.test >= 0]
    return pd.Series(windows.next_returns[tested], windows.dates[tested])


def folds(evaluation: "Evaluation", windows: Windows) -> Folds:
    """Return chronological folds of row numbers, padded with −1; the last one has no test row.

    The first fold starts with the data, so the folds stay the same as days are added.

    Raises:
        DataError: too few rows for one fold.
    """
    before_test = LABEL_REACH + evaluation.embargo_days
    after_train = LABEL_REACH + evaluation.valid_days + before_test
    first = evaluation.train_days + after_train
    if windows.live <= first:
        raise DataError(
            f"got {windows.live} labelled rows; one fold needs {first + 1}: "
            f"evaluation.train_days {evaluation.train_days} + valid_days {evaluation.valid_days} "
            f"+ {LABEL_REACH + before_test} purged + 1 test row"
        )
    starts = [*range(first, windows.live, evaluation.test_days), windows.live]
    ends = [*starts[1:], windows.live]
    rolling = evaluation.window == "rolling"
    train = [range(start - first if rolling else 0, start - after_train) for start in starts]
    valid = [range(start - after_train + LABEL_REACH, start - before_test) for start in starts]
    test = [range(start, end) for start, end in zip(starts, ends, strict=True)]
    blocks = [[_labelled(windows, rows) for rows in part] for part in (train, valid, test)]
    _refuse_empty(*blocks)
    return Folds(*map(_padded, blocks))


def _refuse_empty(train: list[Array], valid: list[Array], test: list[Array]) -> None:
    """Refuse folds without rows to learn from, and a walk-forward without a test day."""
    fewest = {"training": min(map(len, train)), "validation": min(map(len, valid))}
    for purpose, rows in (fewest | {"test": max(map(len, test))}).items():
        if rows == 0:
            raise DataError(
                f"a fold has no {purpose} row: too many sessions are missing from the prices, and "
                "rows next to a missing session have no label"
            )


def _labelled(windows: Windows, rows: range) -> Array:
    """Return the rows that have a label: one next to a missing session has none."""
    numbers = np.asarray(rows, dtype=int)
    labelled: Array = numbers[windows.mask[numbers, 0]]
    return labelled


def _padded(blocks: list[Array]) -> Array:
    rows = np.full((len(blocks), max(map(len, blocks))), -1)
    for row, block in zip(rows, blocks, strict=True):
        row[: len(block)] = block
    return rows
