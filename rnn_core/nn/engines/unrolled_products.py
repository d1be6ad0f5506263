"""The products of unrolled nets, over stacks of models or a single one, written into given arrays.

A single model has no axis M: `np.dot`, which multiplies two matrices, starts in half the time of
`np.matmul` and gives the same bits on contiguous blocks.

Axes: M models, T steps, N sequences; A and B any others.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy import add, matmul, multiply

from rnn_core.nn.arrays import Array

Pass: TypeAlias = Callable[[], object]
Product: TypeAlias = Callable[[Array, Array], object]
"""Write the product of a fixed (M, A, B) and an array (M, B, N) into an array (M, A, N)."""


def steps(array: Array) -> list[Array]:
    """Return views (M, ·, N) of the steps of an array (M, T, ·, N)."""
    return list(np.moveaxis(array, -3, 0))


def product(weight: Array) -> Product:
    """Return the product with `weight` (M, A, B)."""
    return weight.dot if weight.ndim == 2 else partial(matmul, weight)


def product_of_turned(columns: Array) -> Product:
    """Return the product with a transposed array; `np.dot` gives the same bits only if B is 1."""
    if columns.shape[-1] > 1:
        return partial(matmul, columns)
    return columns.dot if columns.ndim == 2 else partial(multiply, columns)


def sum_of_products(a: Array, b: Array, out: Array) -> Pass:
    """Return a pass from a (M, T, A, N) and b (M, T, B, N): it writes Σ_t a_t b_tᵀ to `out`."""
    if a.shape[-1] == 1:
        columns = a[..., 0].swapaxes(-1, -2)
        return partial(product_of_turned(columns), b[..., 0], out)

    def product_of_all_steps() -> None:
        matmul(_side_by_side(a), _side_by_side(b).swapaxes(-1, -2), out)

    def sum_over_steps() -> None:
        add.reduce(matmul(a, b_turned), axis=-3, out=out)

    b_turned = b.swapaxes(-1, -2)
    terms_are_larger = a.shape[-1] < b.shape[-2]  # than the factors side by side
    return product_of_all_steps if terms_are_larger else sum_over_steps


def _side_by_side(array: Array) -> Array:
    """Copy (M, T, A, N) into (M, A, T·N)."""
    turned = array.swapaxes(-3, -2)
    return turned.reshape(*turned.shape[:-2], -1)
