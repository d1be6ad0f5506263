"""What an array argument must be, checked once and said in one line."""

from itertools import accumulate
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnn_core.errors import ArrayError

Array: TypeAlias = NDArray[Any]
Params: TypeAlias = dict[str, Array]
"""Arrays by torch's names, each with a leading model axis M."""


def check_array(
    name: str,
    value: Array,
    shape: tuple[int | None, ...],
    *,
    axes: str,
    dtype: DTypeLike | None = None,
    finite: bool = True,
) -> Array:
    """Return `value` if it is a float32 or float64 array of `shape` (None: any size), else raise.

    `axes` names the axes in the message, such as "M, N, T, I".

    Raises:
        ArrayError: not such an array, another shape, another dtype than `dtype`, or (with `finite`) a NaN or infinity.
    """
    if not isinstance(value, np.ndarray) or value.dtype not in (np.float32, np.float64):
        kind = f"{value.dtype} array of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ArrayError(f"{name} is a {kind}; a float32 or float64 array ({axes}) is expected")
    if value.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, value.shape, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ArrayError(f"{name} has shape {value.shape}; ({axes}) = ({wanted}) is expected")
    if dtype is not None and value.dtype != dtype:
        raise ArrayError(f"{name} of shape {value.shape} is {value.dtype}; {np.dtype(dtype)} is expected")
    if finite and not np.isfinite(value).all():
        raise ArrayError(
            f"{name} of shape {value.shape} has {np.count_nonzero(~np.isfinite(value))} NaN or infinite values"
        )
    return value


def flatten(params: Params) -> Array:
    """One row (P,) a model of all its arrays."""
    return np.concatenate([value.reshape(len(value), -1) for value in params.values()], axis=1)


def unflatten(flat: Array, shapes: dict[str, tuple[int, ...]]) -> Params:
    """The named arrays (…, *shape) as views of `flat` (…, P)."""
    ends = accumulate(prod(shape) for shape in shapes.values())
    return {
        name: flat[..., end - prod(shape) : end].reshape(*flat.shape[:-1], *shape)
        for (name, shape), end in zip(shapes.items(), ends, strict=True)
    }
