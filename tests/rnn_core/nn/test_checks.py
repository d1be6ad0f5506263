"""`fit` and `predict` refuse each unusable argument in one line that names it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnn_core.errors import ArrayError
from rnn_core.nn.ensemble import predict
from rnn_core.nn.sequences import Folds, Sequences, holdout
from rnn_core.nn.settings import Model, Training
from rnn_core.nn.training import Checkpoint, Fit, fit

X = np.random.default_rng(0).normal(size=(20, 5, 2))
LENGTHS = np.array([5] * 10 + [3] * 10)
WINDOWS = Sequences(X, (X[:, -1:, :1] > 0).astype(float), np.ones((20, 1), bool), lengths=LENGTHS)
CLASSES = replace(WINDOWS, y=np.eye(3)[np.arange(20) % 3][:, None], loss="cross_entropy")
STEPS = Sequences(X, X[..., :1], np.arange(5) < LENGTHS[:, None], LENGTHS, "mean_squared_error")
TWO = Folds(
    train=np.array([[0, 1, 2, -1], [4, 5, 6, 7]]),
    valid=np.array([[3, -1], [8, 9]]),
    test=np.array([[10, 11, -1], [12, -1, -1]]),
)
SMALL = Training(epochs=2, seeds=2, patience=None)
NET = Model(hidden_size=3)


def changed(array: Any, place: Any, value: Any) -> Any:
    copy = np.array(array)
    copy[place] = value
    return copy


def trained(sequences: Sequences = WINDOWS, folds: Folds = TWO, **options: Any) -> Fit:
    model = replace(NET, readout="steps" if sequences.y.shape[1] > 1 else "last")
    return fit(model, SMALL, sequences, folds, **options)


@pytest.mark.parametrize("sequences", [WINDOWS, CLASSES, STEPS], ids=["last", "classes", "steps"])
def test_what_fits_is_taken(sequences: Sequences) -> None:
    assert len(trained(sequences)) == 4


def test_what_is_not_used_may_be_anything() -> None:
    unused = 15
    free = replace(
        WINDOWS,
        x=changed(changed(X, (unused,), np.nan), (10, slice(3, None)), np.inf),
        y=changed(WINDOWS.y, (unused,), 7.0),
        mask=changed(WINDOWS.mask, (unused,), False),
    )
    assert len(trained(free)) == 4


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "x without an axis": ({"x": X[..., 0]}, r"sequences.x has shape \(20, 5\); \(N, T, I\)"),
    "x of nothing": ({"x": X[:, :0]}, r"sequences.x has shape \(20, 0, 2\)"),
    "x of text": ({"x": X.astype(str)}, "sequences.x is a <U32 array of shape"),
    "x that is a list": ({"x": X.tolist()}, "sequences.x is a list; an array of numbers"),
    "x of objects": ({"x": X.astype(object)}, "sequences.x is a object array"),
    "x of complex numbers": ({"x": X + 0j}, "sequences.x is a complex128 array"),
    "NaN in x": (
        {"x": changed(X, (5, 1, 1), np.nan)},
        "sequences.x has NaN or infinite values in 1 rows that are used, the first is 5",
    ),
    "infinity in x": ({"x": changed(X, 8, np.inf)}, "in 1 rows that are used, the first is 8"),
    "fewer targets": ({"y": WINDOWS.y[:19]}, r"sequences.y has shape \(19, 1, 1\); \(N, S, O\)"),
    "targets of other steps": ({"y": WINDOWS.y[:, :0]}, r"sequences.y has shape \(20, 0, 1\)"),
    "targets of text": ({"y": WINDOWS.y.astype(str)}, "sequences.y is a <U32 array"),
    "NaN that is scored": (
        {"y": changed(WINDOWS.y, 6, np.nan)},
        "sequences.y has NaN or infinite targets in 1 scored rows, the first is 6",
    ),
    "a target above 1": (
        {"y": changed(WINDOWS.y, 9, 2)}, "targets outside 0 to 1 in 1 scored rows, the first is 9",
    ),
    "a negative target": ({"y": changed(WINDOWS.y, 0, -1)}, "targets outside 0 to 1"),
    "fewer rows in the mask": ({"mask": WINDOWS.mask[:3]}, r"sequences.mask has shape \(3, 1\)"),
    "a mask of numbers": ({"mask": WINDOWS.mask * 1.0}, "sequences.mask is a float64 array"),
    "a mask that is a list": ({"mask": [[True]] * 20}, "sequences.mask is a list; truth values"),
    "nothing scored": (
        {"mask": ~WINDOWS.mask}, "sequences.mask scores no step of folds.train of fold 0",
    ),
    "nothing scored in a fold": (
        {"mask": changed(WINDOWS.mask, [4, 5, 6, 7], False)}, "folds.train of fold 1",
    ),
    "nothing scored in validation": (
        {"mask": changed(WINDOWS.mask, 3, False)}, "no step of folds.valid of fold 0",
    ),
    "a length beyond T": (
        {"lengths": changed(LENGTHS, 2, 6)}, "sequences.lengths is 6 in row 2; 1 to T = 5",
    ),
    "a length of nothing": ({"lengths": changed(LENGTHS, 2, 0)}, "lengths is 0 in row 2"),
    "fewer lengths": ({"lengths": LENGTHS[:4]}, r"sequences.lengths has shape \(4,\)"),
    "lengths of floats": ({"lengths": LENGTHS * 1.0}, "sequences.lengths is a float64 array"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_sequences_that_cannot_be_learned_from_are_refused(case: str) -> None:
    changes, message = FAULTS[case]
    with pytest.raises(ArrayError, match=message) as refused:
        trained(replace(WINDOWS, **changes))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (changed(CLASSES.y, (5, 0, 0), 0.5), "do not add up to 1 over the classes"),
        (np.arange(20.0).reshape(20, 1, 1) % 3, "targets outside 0 to 1"),
        (np.zeros((20, 1, 3)), "do not add up to 1 over the classes in 10 scored rows"),
    ],
)
def test_class_targets_out_of_range_are_refused(y: Any, message: str) -> None:
    with pytest.raises(ArrayError, match=message):
        trained(replace(CLASSES, y=y))


def test_the_readout_says_how_many_steps_have_a_target() -> None:
    for readout, sequences in (("last", STEPS), ("steps", WINDOWS)):
        with pytest.raises(ArrayError, match=r"sequences.y has shape \(20, [15], 1\); \(N, S, O\)"):
            fit(replace(NET, readout=readout), SMALL, sequences, TWO)


def test_a_step_past_the_end_of_its_row_is_not_scored() -> None:
    with pytest.raises(ArrayError, match="scores row 12 past its length of 3 steps"):
        trained(replace(STEPS, mask=changed(STEPS.mask, (12, 3), True)))


FOLDS: dict[str, tuple[Callable[[], Folds], str]] = {
    "a row that is not there": (
        lambda: replace(TWO, train=changed(TWO.train, (0, 0), 20)),
        "folds.train has row 20; 0 to 19, and -1 for padding, are expected",
    ),
    "a negative row": (lambda: replace(TWO, valid=changed(TWO.valid, (1, 1), -2)), "has row -2"),
    "a test row that is not there": (
        lambda: replace(TWO, test=changed(TWO.test, (0, 0), 99)), "folds.test has row 99",
    ),
    "rows of floats": (lambda: replace(TWO, train=TWO.train * 1.0), "folds.train is a float64"),
    "rows of truth": (lambda: replace(TWO, train=TWO.train > 0), "folds.train is a bool array"),
    "a list": (lambda: replace(TWO, valid=TWO.valid.tolist()), "folds.valid is a list"),
    "one axis": (lambda: replace(TWO, train=TWO.train[0]), "folds.train has shape"),
    "fewer folds to validate": (
        lambda: replace(TWO, valid=TWO.valid[:1]), r"folds.valid has shape \(1, 2\); \(K, n\)",
    ),
    "a fold that learns nothing": (
        lambda: replace(TWO, train=changed(TWO.train, 1, -1)), "folds.train has no row for fold 1",
    ),
    "a fold validated on what it learns": (
        lambda: replace(TWO, valid=changed(TWO.valid, (1, 0), 6)),
        "folds.train and folds.valid of fold 1 share 1 rows, the first is 6; no row may be in both",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDS)
def test_folds_that_cannot_be_learned_from_are_refused(case: str) -> None:
    make, message = FOLDS[case]
    with pytest.raises(ArrayError, match=message):
        trained(folds=make())


def test_a_loss_that_decides_needs_rows() -> None:
    """Without them no epoch was ever better than the untrained start, which was returned."""
    for options in ({"patience": 3}, {"schedule": "plateau"}):
        training = replace(SMALL, **options)
        for folds in (holdout(8, 0, 2), replace(TWO, valid=changed(TWO.valid, 1, -1))):
            with pytest.raises(
                ArrayError, match=r"folds\.valid has no row for fold [01]; training"
            ):
                fit(NET, training, WINDOWS, folds)
    assert len(fit(NET, SMALL, WINDOWS, holdout(8, 0, 2))) == 2


@pytest.mark.parametrize("counts", [(-1, 2, 3), (5, -2, 3), (5, 2, 3.0), ("5", 2, 3)])
def test_a_holdout_of_no_whole_numbers_is_refused(counts: Any) -> None:
    with pytest.raises(ArrayError, match=r"holdout: (train|valid|test) is .*; a whole number"):
        holdout(*counts)


def test_a_given_start_and_order_are_held_against_the_rest() -> None:
    start = trained().params
    order = np.tile(np.array([[0, 1, 2, -1]] * 2 + [[4, 5, 6, 7]] * 2), (2, 1, 1))
    assert len(trained(params0=start, order=order)) == 4
    weight = "weight_hh_l0"
    for wrong, message in (
        ({**start, weight: start[weight][:1]}, rf"params0: {weight} has shape \(1, 3, 3\)"),
        (
            {**start, weight: changed(start[weight], 0, np.nan)},
            f"params0: {weight} of shape .* NaN",
        ),
        ({**start, "more": start[weight]}, "params0: more is not one of this model"),
        ({"head.bias": start["head.bias"]}, "params0: .* is missing"),
    ):
        with pytest.raises(ArrayError, match=message):
            trained(params0=wrong)
    for rows, message in (
        (changed(order, (0, 0, 0), 20), "order has row 20"),
        (order[:1], r"order has shape \(1, 4, 4\); \(epochs, M, n\) = \(2, 4, any\)"),
        (order * 1.0, "order is a float64 array"),
    ):
        with pytest.raises(ArrayError, match=message):
            trained(order=rows)


def test_a_checkpoint_of_another_training_is_refused() -> None:
    kept: list[Checkpoint] = []
    trained(on_checkpoint=kept.append)
    one = kept[0]
    arrays = one.arrays
    for wrong, message in (
        ({name: value for name, value in arrays.items() if name != "schedule/rate"},
         "resume lacks the array schedule/rate"),
        (arrays | {"more": np.ones(2)}, "resume has the array more"),
        (arrays | {"engine/params": arrays["engine/params"][:2]}, "engine/params is float64"),
        (arrays | {"history/best_epoch": np.zeros(4)}, "resume: history/best_epoch is float64"),
        (arrays | {"engine/params": arrays["engine/params"] * np.nan}, "engine/params has NaN"),
    ):  # fmt: skip
        with pytest.raises(ArrayError, match=message):
            trained(resume=replace(one, arrays=wrong))
    with pytest.raises(ArrayError, match="resume has other random streams"):
        trained(resume=replace(one, streams={"order": []}))


ROWS = np.tile(np.arange(20), (4, 1))
PREDICTED: dict[str, tuple[dict[str, Any], str]] = {
    "other inputs": ({"x": X[..., :1]}, r"x has shape \(20, 5, 1\); \(N, T, I\) = \(any, any, 2\)"),
    "a frame of text": ({"x": X.astype(str)}, "x is a <U32 array"),
    "NaN": ({"x": changed(X, 7, np.nan)}, "x has NaN or infinite values in 1 rows .* is 7"),
    "rows of other models": (
        {"rows": ROWS[:2]},
        r"rows has shape \(2, 20\); \(M, s\) = \(4, any\)",
    ),
    "a row that is not there": ({"rows": ROWS + 1}, "rows has row 20; 0 to 19, and -1"),
    "a negative row": ({"rows": ROWS - 2}, "rows has row -2"),
    "rows of floats": ({"rows": ROWS * 1.0}, "rows is a float64 array"),
    "a length beyond T": ({"lengths": LENGTHS + 1}, "lengths is 6 in row 0; 1 to T = 5"),
    "fewer lengths": ({"lengths": LENGTHS[:3]}, r"lengths has shape \(3,\)"),
}


@pytest.mark.parametrize("case", PREDICTED)
def test_what_cannot_be_predicted_is_refused(case: str) -> None:
    changes, message = PREDICTED[case]
    given = {"x": X, "rows": ROWS, "lengths": LENGTHS} | changes
    with pytest.raises(ArrayError, match=message) as refused:
        predict(trained(), **given)
    assert len(str(refused.value).splitlines()) == 1


def test_padding_and_rows_that_are_not_asked_for_may_be_anything() -> None:
    fitted = trained()
    free = changed(changed(X, 15, np.nan), (10, slice(3, None)), np.inf)
    rows = np.where(ROWS == 15, -1, ROWS)
    before = predict(fitted, X, ROWS, LENGTHS)
    after = predict(fitted, free, rows, LENGTHS)
    assert np.isnan(after[:, 15]).all()
    assert np.delete(after, 15, axis=1).tobytes() == np.delete(before, 15, axis=1).tobytes()
