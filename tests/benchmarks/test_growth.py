"""The exponent by which the time of a universe grows."""

import numpy as np
import pytest

from benchmarks.universe_1000 import growth


@pytest.mark.parametrize("exponent", [1.0, 1.3])
def test_the_exponent_is_that_of_the_times(exponent: float) -> None:
    assert growth(0.6 * np.arange(1, 1001) ** exponent) == pytest.approx(exponent)


def test_the_start_of_the_processes_does_not_count_as_growth() -> None:
    seconds = 0.6 * np.arange(1, 1001)
    seconds[:50] += 5
    assert growth(seconds) == pytest.approx(1)
