"""Purged walk-forward: which rows train, validate and test each fold. The last fold is the live model.

    fold 0   train ───────────┤·├ valid ─┤·├ test ─┤
    fold 1          train ───────────┤·├ valid ─┤·├ test ─┤
    live                   train ───────────┤·├ valid ─┤·├ (the row that has no label yet)

Rows are purged (·) where the label of the row before would reach into the block behind it: a label is known one
session after its row. An embargo widens the gap before the test block. See López de Prado, Advances in Financial
Machine Learning (2018), chapter 7.
"""

from typing import TYPE_CHECKING

import numpy as np

from rnn_core.data.windows import Windows
from rnn_core.errors import DataError
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Folds

if TYPE_CHECKING:
    import pandas as pd

    from rnn_core.config import Evaluation

LABEL_REACH = 1  # sessions from a row to the one that tells its label


def test_period(windows: Windows, folds: Folds) -> "tuple[pd.Timestamp, pd.Timestamp]":
    """The first and the last day that are forecast out of sample."""
    tested = windows.dates[folds.test[folds.test >= 0]]
    return tested[0], tested[-1]


def folds(evaluation: "Evaluation", windows: Windows) -> Folds:
    """Chronological folds, the first at the start of the data, so that history keeps its folds as days are added.

    Raises:
        DataError: too few rows for one fold; says how many there are and how many it takes.
    """
    rest = LABEL_REACH + evaluation.embargo_days
    gap = evaluation.valid_days + LABEL_REACH + rest
    first = evaluation.train_days + gap
    if windows.live <= first:
        raise DataError(
            f"{windows.live} labelled rows found; one fold needs {first + 1}: evaluation.train_days "
            f"{evaluation.train_days} + valid_days {evaluation.valid_days} + {LABEL_REACH + rest} purged + 1 test row"
        )
    starts = [*range(first, windows.live, evaluation.test_days), windows.live]
    rolling = evaluation.window == "rolling"
    return Folds(
        train=_padded([range(start - first if rolling else 0, start - gap) for start in starts]),
        valid=_padded([range(start - gap + LABEL_REACH, start - rest) for start in starts]),
        test=_padded(
            [
                range(start, stop)
                for start, stop in zip(starts, [*starts[1:], windows.live], strict=True)
            ]
        ),
    )


def _padded(blocks: list[range]) -> Array:
    rows = np.full((len(blocks), max(map(len, blocks))), -1)
    for row, block in zip(rows, blocks, strict=True):
        row[: len(block)] = block
    return rows
