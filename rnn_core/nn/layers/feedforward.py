"""The linear layer and dropout, each with its backward pass."""

from collections.abc import Callable, Sequence

import numpy as np

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers.activations import Elementwise
from rnn_core.nn.layers.axes import sum_rows
from rnn_core.nn.layers.checks import check_dropout, check_linear


def linear(params: Params, x: Array) -> tuple[Array, Callable[[Array], tuple[Params, Array]]]:
    """Return y = x Wᵀ + b, and `backward(dy) -> (grads, dx)`.

    Args:
        params: `weight` (M, O, I) and, if wanted, `bias` (M, O).
        x: (M, ..., I)

    Returns:
        y: (M, ..., O)
        backward: gives gradients by the names of params, and dx shaped as x.

    Raises:
        ArrayError: params, x or dy have shapes that do not fit.

    >>> params = {"weight": np.array([[[1.0, 2.0]]]), "bias": np.array([[0.5]])}
    >>> y, backward = linear(params, np.array([[[3.0, 4.0]]]))
    >>> y
    array([[[11.5]]])
    >>> grads, dx = backward(np.ones_like(y))
    >>> grads["weight"], dx
    (array([[[3., 4.]]]), array([[[1., 2.]]]))
    """
    check_linear(params, x)
    weight = params["weight"]
    rows = x.reshape(len(x), -1, x.shape[-1])  # (M, R, I)
    y = np.matmul(rows, weight.swapaxes(1, 2))  # (M, R, O)
    if "bias" in params:
        y += params["bias"][:, None]
    shape = (*x.shape[:-1], weight.shape[1])

    def backward(dy: Array) -> tuple[Params, Array]:
        if dy.shape != shape:
            raise ArrayError(f"dy has shape {dy.shape}; {shape} is expected, the shape of y")
        d_rows = dy.reshape(y.shape)
        grads = {"weight": np.matmul(d_rows.swapaxes(1, 2), rows)}
        if "bias" in params:
            grads["bias"] = sum_rows(d_rows)
        return grads, _times(d_rows, weight).reshape(x.shape)

    return y.reshape(shape), backward


def _times(d_rows: Array, weight: Array) -> Array:
    """Return (M, R, O) times (M, O, I)."""
    if weight.shape[1] == 1:  # vectors: many times faster than as a product of matrices
        outer: Array = d_rows * weight
        return outer
    product: Array = np.matmul(d_rows, weight)
    return product


def dropout(x: Array, p: float, rng: Sequence[np.random.Generator] | None) -> Elementwise:
    """Zero each element with probability p and divide the others by 1 − p (Srivastava et al. 2014).

    The draws are float32 whatever x is, so that both precisions see the same mask.

    Args:
        x: (M, ...)
        p: a probability in [0, 1). With 0, x is returned as it is and nothing is drawn.
        rng: one Generator for each model; None only with p = 0.

    Returns:
        y: shaped as x.
        backward: `backward(dy) -> dx` under the same mask.

    Raises:
        ConfigError: p is outside [0, 1).
        ArrayError: p > 0, and rng is not one Generator for each model.
    """
    check_dropout(p, rng, len(x))
    return drop(x, p, rng, axis=0)


def drop(x: Array, p: float, rng: Sequence[np.random.Generator] | None, axis: int) -> Elementwise:
    """Run `dropout` without its checks, on an x that has its models along `axis`."""
    if p == 0 or rng is None:
        return x, lambda dy: dy
    shape = x.shape[:axis] + x.shape[axis + 1 :]  # of one model
    kept = np.stack([stream.random(shape, np.float32) >= p for stream in rng], axis)
    mask = kept * x.dtype.type(1 / (1 - p))
    return x * mask, lambda dy: dy * mask
