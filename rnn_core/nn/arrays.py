"""Arrays: their types, the check of an argument, and parameters as one flat row."""

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
    """Return `value` if it is a float32 or float64 array of `shape`, else raise.

    Args:
        name: of the argument, for the message.
        value: what was given for it.
        shape: the expected size of each axis; None allows any.
        axes: the axes' names for the message, such as "M, N, T, I".
        dtype: the expected type; None allows both.
        finite: refuse NaN and infinity too.

    Raises:
        ArrayError: `value` is no such array.

    >>> check_array("x", np.ones((2, 3)), (2, None), axes="N, I").shape
    (2, 3)
    >>> check_array("x", np.ones((2, 3)), (None, 4), axes="N, I")
    Traceback (most recent call last):
    rnn_core.errors.ArrayError: x has shape (2, 3); (N, I) = (any, 4) is expected
    """
    if not isinstance(value, np.ndarray) or value.dtype not in (np.float32, np.float64):
        expected = f"a float32 or float64 array ({axes})"
        raise ArrayError(f"{name} is a {_kind(value)}; {expected} is expected")
    if not _has_shape(value, shape):
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise ArrayError(f"{name} has shape {value.shape}; ({axes}) = ({sizes}) is expected")
    described = f"{name} of shape {value.shape}"
    if dtype is not None and value.dtype != dtype:
        raise ArrayError(f"{described} is {value.dtype}; {np.dtype(dtype)} is expected")
    if finite and not np.isfinite(value).all():
        count = np.count_nonzero(~np.isfinite(value))
        raise ArrayError(f"{described} has {count} NaN or infinite values")
    return value


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    return type(value).__name__


def _has_shape(value: Array, shape: tuple[int | None, ...]) -> bool:
    if value.ndim != len(shape):
        return False
    return all(size in (None, given) for size, given in zip(shape, value.shape, strict=True))


def flatten(params: Params) -> Array:
    """Return all arrays of each model as one row: (M, P).

    >>> flatten({"weight": np.array([[[1.0, 2.0], [3.0, 4.0]]]), "bias": np.array([[5.0, 6.0]])})
    array([[1., 2., 3., 4., 5., 6.]])
    """
    rows = [value.reshape(len(value), -1) for value in params.values()]
    return np.concatenate(rows, axis=1)


def unflatten(flat: Array, shapes: dict[str, tuple[int, ...]]) -> Params:
    """Return the named arrays (…, *shape) as views of `flat` (…, P).

    >>> params = unflatten(np.arange(6.0).reshape(1, 6), {"weight": (2, 2), "bias": (2,)})
    >>> params["weight"].shape, params["bias"]
    ((1, 2, 2), array([[4., 5.]]))
    """
    sizes = [prod(shape) for shape in shapes.values()]
    stack = flat.shape[:-1]
    return {
        name: flat[..., end - size : end].reshape(*stack, *shape)
        for (name, shape), size, end in zip(shapes.items(), sizes, accumulate(sizes), strict=True)
    }
