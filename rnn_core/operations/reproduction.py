"""Compare, bit for bit, what a run has recorded with what it gives when it is repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import TypeAlias

import numpy as np
import pandas as pd

from rnn_core.nn.arrays import Array

Results: TypeAlias = Mapping[str, Mapping[str, Array]]
"""Arrays by part, `calls`, `arrays`, `metrics` and `verdict`, and by the name of an item."""


@dataclass(frozen=True)
class Difference:
    """An item that differs.

    Attributes:
        part: of the results.
        item: its name.
        count: how many of its values differ; None if it has another shape or type, or is absent.
        size: how many values it has.
        largest: the largest difference of two numbers; infinite if one is not a number.
        recorded, again: where that is.
    """

    part: str
    item: str
    count: int | None
    size: int
    largest: float | None
    recorded: str
    again: str

    def __str__(self) -> str:
        several = f" in {self.count} of {self.size}" if self.count and self.size > 1 else ""
        largest = "" if self.largest is None else f", by up to {self.largest:.3g}"
        values = f"{self.recorded}, now {self.again}"
        return f"{self.part}: {self.item} differs{several}{largest}: {values}"


def results(
    calls: str,
    arrays: Mapping[str, Array],
    metrics: Mapping[str, float],
    verdict: Mapping[str, str],
) -> Results:
    """Return the results of a run, ready to be compared.

    Args:
        calls: the calls by date, as CSV.
        arrays: what was learned, by name.
        metrics: scores by name.
        verdict: its parts by name.
    """
    # Read as text, because Python makes the very number of it that was written
    table = pd.read_csv(StringIO(calls), index_col="date", dtype=str)
    columns = {str(name): column.to_numpy(object).astype(float) for name, column in table.items()}
    return {
        "calls": {"date": table.index.to_numpy(str), **columns},
        "arrays": arrays,
        "metrics": {name: np.asarray(value, float) for name, value in metrics.items()},
        "verdict": {name: np.asarray(text) for name, text in verdict.items()},
    }


def differences(recorded: Results, again: Results) -> list[Difference]:
    """Return the items that differ by a bit or are on one side only.

    >>> def metrics(accuracy):
    ...     return {"metrics": {"test/accuracy": np.asarray(accuracy)}}
    >>> differences(metrics(0.5), metrics(0.5))
    []
    >>> print(*differences(metrics(0.5), metrics(0.75)))
    metrics: test/accuracy differs, by up to 0.25: 0.5, now 0.75
    """
    return [
        difference
        for part, items in recorded.items()
        for item in items | again[part].keys()
        if (difference := _difference(part, item, items.get(item), again[part].get(item)))
    ]


def other_versions(recorded: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that are not what they were, in words.

    >>> other_versions({"numpy": "2.4.5", "scipy": "1.17"}, {"numpy": "2.4.6", "scipy": "1.17"})
    {'numpy': '2.4.5, now 2.4.6'}
    """
    return {
        name: f"{recorded[name]}, now {now.get(name, 'absent')}"
        for name in recorded
        if recorded[name] != now.get(name)
    }


def _difference(
    part: str, item: str, recorded: Array | None, again: Array | None
) -> Difference | None:
    if recorded is None or again is None or _form(recorded) != _form(again):
        return Difference(part, item, None, 0, None, _form(recorded), _form(again))
    differs = _bits(recorded) != _bits(again)
    if not differs.any():
        return None
    before = np.atleast_1d(recorded)[differs]
    after = np.atleast_1d(again)[differs]
    distances = _distances(before, after)
    place = 0 if distances is None else int(np.argmax(distances))
    return Difference(
        part,
        item,
        count=len(before),
        size=differs.size,
        largest=None if distances is None else float(distances[place]),
        recorded=str(before[place].item()),
        again=str(after[place].item()),
    )


def _form(values: Array | None) -> str:
    """Return the shape and type of an array, in words."""
    if values is None:
        return "absent"
    kind = "text" if _is_text(values) else values.dtype
    return f"{kind} {values.shape}"


def _bits(values: Array) -> Array:
    """Return the values, numbers as unsigned integers of the same bits, with at least one axis."""
    values = np.ascontiguousarray(values)
    return values if _is_text(values) else values.view(f"u{values.itemsize}")


def _distances(before: Array, after: Array) -> Array | None:
    """Return how far apart numbers (n,) are, infinitely if one is not a number; None for text."""
    if _is_text(before):
        return None
    with np.errstate(invalid="ignore"):
        distances: Array = np.abs(before.astype(float) - after.astype(float))
    return np.nan_to_num(distances, nan=np.inf, posinf=np.inf)


def _is_text(values: Array) -> bool:
    return values.dtype.kind == "U"
