"""Activations, each with its backward pass."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from rnn_core.nn.arrays import Array

Elementwise: TypeAlias = tuple[Array, Callable[[Array], Array]]
"""`y` and `backward(dy) -> dx`, all of one shape."""


class Activation(NamedTuple):
    """An elementwise function y = φ(a)."""

    value: Callable[[Array, Array], object]  # (a, out): writes y into out
    derivative: Callable[[Array, Array], Array]  # (a, y): a new array φ′(a)


def _tanh_derivative(a: Array, y: Array) -> Array:
    derivative: Array = y * y
    return np.subtract(1, derivative, out=derivative)


def _relu(a: Array, out: Array) -> None:
    np.maximum(a, 0, out=out)


def _relu_derivative(a: Array, y: Array) -> Array:
    return (y > 0).astype(y.dtype)


def write_sigmoid(a: Array, out: Array) -> None:
    """Write σ(a) = (1 + tanh(a/2)) / 2, which overflows nowhere, into `out`."""
    np.multiply(a, 0.5, out=out)
    np.tanh(out, out=out)
    out *= 0.5
    out += 0.5


def _sigmoid_derivative(a: Array, y: Array) -> Array:
    derivative: Array = y * (1 - y)
    return derivative


TANH = Activation(np.tanh, _tanh_derivative)
RELU = Activation(_relu, _relu_derivative)
SIGMOID = Activation(write_sigmoid, _sigmoid_derivative)


def prelu_of(slope: Array) -> Activation:
    """Return max(a, 0) + slope · min(a, 0), with a slope that broadcasts with a."""

    def value(a: Array, out: Array) -> None:
        np.minimum(a, 0, out=out)
        out *= slope
        out += np.maximum(a, 0)

    def derivative(a: Array, y: Array) -> Array:
        return np.where(a > 0, 1, slope)

    return Activation(value, derivative)


def slope_gradient(slope: Array, a: Array, dy: Array) -> Array:
    """Return the gradient of each model's slope, shaped as `slope`, from a and dy (M, ...)."""
    by_element: Array = dy * np.minimum(a, 0)
    gradient: Array = by_element.reshape(len(a), -1).sum(axis=1)
    return gradient.reshape(slope.shape)


def tanh(x: Array) -> Elementwise:
    """Return the hyperbolic tangent y of x, of any shape, and `backward(dy) -> dx`."""
    return _elementwise(TANH, x)


def relu(x: Array) -> Elementwise:
    """Return y = max(x, 0), of any shape, and `backward(dy) -> dx`; the derivative at 0 is 0."""
    return _elementwise(RELU, x)


def sigmoid(x: Array) -> Elementwise:
    """Return y = 1 / (1 + exp(−x)), of any shape, and `backward(dy) -> dx`.

    Its error is that of rounding 1.

    >>> y, backward = sigmoid(np.array([0.0, 1000.0]))
    >>> y
    array([0.5, 1. ])
    >>> backward(np.array([1.0, 1.0]))  # the derivative is y (1 − y)
    array([0.25, 0.  ])
    """
    return _elementwise(SIGMOID, x)


def prelu(x: Array, slope: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    """Return y = max(x, 0) + slope · min(x, 0), and `backward(dy) -> (dx, dslope)`.

    The parametric ReLU (He et al. 2015); its derivative at 0 is the slope.

    Args:
        x: (M, ...)
        slope: (M,) or (M, 1), learnt, one for each model.
    """
    broadcast_slope = slope.reshape(-1, *[1] * (x.ndim - 1))
    y, elementwise_backward = _elementwise(prelu_of(broadcast_slope), x)

    def backward(dy: Array) -> tuple[Array, Array]:
        return elementwise_backward(dy), slope_gradient(slope, x, dy)

    return y, backward


def softmax(x: Array) -> Elementwise:
    """Return y = exp(x) / Σ exp(x) over the last axis, and `backward(dy) -> dx`."""
    y = np.exp(x - x.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)

    def backward(dy: Array) -> Array:
        mean = (dy * y).sum(axis=-1, keepdims=True)
        dx: Array = y * (dy - mean)
        return dx

    return y, backward


def _elementwise(activation: Activation, x: Array) -> Elementwise:
    y = np.empty_like(x)
    activation.value(x, y)

    def backward(dy: Array) -> Array:
        dx: Array = dy * activation.derivative(x, y)
        return dx

    return y, backward
