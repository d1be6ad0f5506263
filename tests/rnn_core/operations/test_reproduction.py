"""Every bit that differs is found, and named with the largest difference."""

from math import inf, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rnn_core.nn.arrays import Array
from rnn_core.operations.reproduction import Difference, differences, results

any_bits = arrays("<u8", array_shapes(min_dims=0, max_dims=3), elements=st.integers(0, 2**64 - 1))
NEGATIVE_NAN = np.array(0xFFF8000000000000, "<u8").view("<f8")


def found(recorded: Array | None, again: Array | None) -> list[Difference]:
    def only(values: Array | None) -> dict[str, dict[str, Array]]:
        return {"arrays": {} if values is None else {"x": values}}

    return differences(only(recorded), only(again))


@given(any_bits, st.data())
def test_one_flipped_bit_of_any_array_is_found(bits: Array, data: st.DataObject) -> None:
    values = bits.view("<f8")
    assert found(values, values.copy()) == []
    flipped = np.array(bits)
    place = data.draw(st.integers(0, bits.size - 1))
    flipped.flat[place] ^= np.uint64(1) << np.uint64(data.draw(st.integers(0, 63)))
    (difference,) = found(values, flipped.view("<f8"))
    assert (difference.count, difference.size) == (1, bits.size)


@pytest.mark.parametrize(
    ("recorded", "again", "largest", "words"),
    [
        (np.array(0.0), np.array(-0.0), 0.0, "arrays: x differs, by up to 0: 0.0, now -0.0"),
        (np.array(nan), NEGATIVE_NAN, inf, "arrays: x differs, by up to inf: nan, now nan"),
        (np.array([nan]), np.array([1.0]), inf, "arrays: x differs, by up to inf: nan, now 1.0"),
        (np.array([inf]), np.array([-inf]), inf, "arrays: x differs, by up to inf: inf, now -inf"),
        (
            np.array([1, 2, 3]),
            np.array([1, 4, 2]),
            2.0,
            "arrays: x differs in 2 of 3, by up to 2: 2, now 4",
        ),
        (
            np.float32([[1, 2]]),
            np.float32([[1, 2.5]]),
            0.5,
            "arrays: x differs in 1 of 2, by up to 0.5: 2.0, now 2.5",
        ),
        (np.array("no"), np.array("yes"), None, "arrays: x differs: no, now yes"),
        (
            np.zeros(2),
            np.zeros(3),
            None,
            "arrays: x differs: float64 (2,), now float64 (3,)",
        ),
        (
            np.zeros(2),
            np.zeros(2, np.float32),
            None,
            "arrays: x differs: float64 (2,), now float32 (2,)",
        ),
        (np.zeros(2), None, None, "arrays: x differs: float64 (2,), now absent"),
        (None, np.array("no"), None, "arrays: x differs: absent, now text ()"),
    ],
)
def test_a_difference_in_words(
    recorded: Array | None, again: Array | None, largest: float | None, words: str
) -> None:
    (difference,) = found(recorded, again)
    assert difference.largest == largest
    assert str(difference) == words


@given(arrays("<f8", 20, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_calls_that_were_written_as_text_keep_every_bit(probability: Array) -> None:
    index = pd.bdate_range("2020-01-01", periods=20, name="date")
    table = pd.DataFrame({"probability": probability, "up": np.arange(20) % 2}, index)
    calls = results(table.to_csv(), {}, {}, {})["calls"]
    assert calls["probability"].tobytes() == probability.tobytes()
    assert calls["date"][0] == "2020-01-01"
