"""Purged walk-forward folds."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from purgedcv import WalkForwardSplit

from rnn_core.config import Evaluation
from rnn_core.data.folds import folds
from rnn_core.data.windows import Windows
from rnn_core.errors import DataError
from rnn_core.nn.sequences import Folds


def rows_only(labelled: int) -> Windows:
    """As many labelled windows as asked for, and the live one; folds look at nothing else."""
    count = labelled + 1
    nothing = np.zeros((count, 1, 1))
    dates = pd.bdate_range("2000-01-03", periods=count)
    returns = {
        "returns": nothing[:, 0, 0],
        "next_returns": nothing[:, 0, 0],
        "features": ("return",),
        "sessions_a_year": 252,
    }
    return Windows(nothing, nothing, nothing[..., 0] == 0, dates=dates, **returns)


def rows_of(block: np.ndarray) -> list[int]:
    return [int(row) for row in block if row >= 0]


shapes = st.builds(
    Evaluation,
    window=st.sampled_from(["rolling", "expanding"]),
    train_days=st.integers(2, 40),
    valid_days=st.integers(1, 20),
    test_days=st.integers(1, 15),
)


@given(shapes, st.integers(1, 120))
def test_every_row_behind_the_first_fold_is_tested_once_and_only_by_what_was_known(
    shape: Evaluation, extra: int
) -> None:
    labelled = shape.train_days + shape.valid_days + 2 + extra
    found = folds(shape, rows_only(labelled))
    tested = [row for block in found.test for row in rows_of(block)]
    assert tested == list(range(labelled - extra, labelled))
    assert rows_of(found.test[-1]) == []
    for fold in range(len(found)):
        train, valid = rows_of(found.train[fold]), rows_of(found.valid[fold])
        start = rows_of(found.test[fold])[0] if fold < len(found) - 1 else labelled
        assert valid == list(range(valid[0], start - 1)), (
            "a row's label is known one session later: purge it"
        )
        assert train == list(range(train[0], valid[0] - 1))
        assert len(valid) == shape.valid_days
        assert (
            (len(train) == shape.train_days)
            if shape.window == "rolling" or fold == 0
            else (train[0] == 0)
        )


def purged_split(
    rows: int, test_days: int, window: int, splits: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What purgedcv makes of `rows` days whose labels are known just after the next day's call."""
    days = pd.Series(pd.date_range("2000-01-01", periods=rows))
    splitter = WalkForwardSplit(
        splits,
        test_days,
        train_size=window,
        window="sliding",
        prediction_times=days,
        evaluation_times=days + pd.Timedelta(hours=25),
    )
    return list(splitter.split(np.zeros((rows, 1))))


def test_the_blocks_are_those_of_an_independent_implementation() -> None:
    """purgedcv knows no validation block: it is asked for what precedes the test, then for what
    precedes that.
    """
    shape = Evaluation(train_days=50, valid_days=10, test_days=7)
    labelled = 50 + 10 + 2 + 7 * 6
    found = folds(shape, rows_only(labelled))
    for fold, (before, test) in enumerate(purged_split(labelled, 7, 61, 6)):
        np.testing.assert_array_equal(found.test[fold], test)
        np.testing.assert_array_equal(
            np.arange(found.train[fold, 0], found.valid[fold, -1] + 1), before
        )
        ((train, valid),) = purged_split(before[-1] + 1, 10, 50, 1)
        np.testing.assert_array_equal(found.train[fold], train)
        np.testing.assert_array_equal(found.valid[fold], valid)


def test_an_embargo_widens_the_gap_before_the_test_block_alone() -> None:
    shape = Evaluation(train_days=20, valid_days=5, test_days=4, embargo_days=3)
    found = folds(shape, rows_only(40))
    assert found.train[0].tolist() == list(range(20))
    assert found.valid[0].tolist() == list(range(21, 26))
    assert found.test[0].tolist() == list(range(30, 34))
    with pytest.raises(DataError, match=r"one fold needs 31: .* 5 purged"):
        folds(shape, rows_only(30))


def test_a_new_day_leaves_the_folds_of_the_past_as_they_were() -> None:
    shape = Evaluation(train_days=20, valid_days=5, test_days=4)
    before, after = folds(shape, rows_only(61)), folds(shape, rows_only(62))
    for block in ("train", "valid"):
        np.testing.assert_array_equal(
            getattr(before, block)[:-1], getattr(after, block)[: len(before) - 1]
        )


def test_too_few_rows_for_one_fold_say_how_many_it_takes() -> None:
    shape = Evaluation(train_days=20, valid_days=5, test_days=4)
    with pytest.raises(DataError, match="got 27 labelled rows; one fold needs 28"):
        folds(shape, rows_only(27))
    assert isinstance(folds(shape, rows_only(28)), Folds)
