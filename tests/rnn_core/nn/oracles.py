"""What the engine is compared with: torch, finite differences, complex steps; and training data."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import GATES, State

torch.set_num_threads(1)  # on arrays this small a second thread only costs


def random_params(
    rng: np.random.Generator,
    cell: str,
    *,
    models: int = 1,
    input_size: int = 3,
    hidden_size: int = 4,
    num_layers: int = 1,
    bidirectional: bool = False,
    bias: bool = True,
    dtype: str = "float64",
) -> Params:
    """Uniform in ±1, by torch's names."""
    rows, directions = GATES[cell] * hidden_size, 1 + bidirectional
    params = {}
    for layer, direction in product(range(num_layers), ("", "_reverse")[:directions]):
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, input_size if layer == 0 else directions * hidden_size),
            "weight_hh": (rows, hidden_size),
        }
        if bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if cell == "rnn_prelu":
            shapes["slope"] = (1,)
        for kind, shape in shapes.items():
            params[f"{kind}_l{layer}{direction}"] = rng.uniform(-1, 1, (models, *shape)).astype(
                dtype
            )
    return params


def random_states(
    rng: np.random.Generator, cell: str, shape: tuple[int, ...], dtype: str = "float64"
) -> dict[str, Array]:
    """`h0`, and for an LSTM `c0`, as arguments by name."""
    return {
        name: rng.normal(size=shape).astype(dtype)
        for name in (("h0", "c0") if cell == "lstm" else ("h0",))
    }


def parts(state: State) -> list[Array]:
    return list(state) if isinstance(state, tuple) else [state]


def like(state: State, arrays: Sequence[Array]) -> State:
    """The arrays as a state of the same kind."""
    return (arrays[0], arrays[1]) if isinstance(state, tuple) else arrays[0]


def relative_error(got: Array, want: Array) -> float:
    """Return the largest difference relative to the largest of `want`.

    The shapes must agree, and where all of `want` is zero so must be `got`.
    """
    assert got.shape == want.shape, (got.shape, want.shape)
    scale = np.abs(want).max()
    return float(np.abs(got - want).max() / (scale if scale > 0 else np.finfo(want.dtype).tiny))


class TorchResult:
    """Outputs and gradients of models that torch ran one by one, as arrays with a leading M."""

    def __init__(self, runs: Sequence[dict[str, Any]]) -> None:
        self.output = np.stack([run["output"] for run in runs])
        self.state = [np.stack(part) for part in zip(*(run["state"] for run in runs), strict=True)]
        self.grads = {
            name: np.stack([run["grads"][name] for run in runs]) for name in runs[0]["grads"]
        }
        self.dx = np.stack([run["dx"] for run in runs])
        self.d_initial = [
            np.stack(part) for part in zip(*(run["d_initial"] for run in runs), strict=True)
        ]


def torch_recurrent(
    params: Params,
    x: Array,
    d_output: Array,
    d_state: Sequence[Array],
    initial: Sequence[Array],
    *,
    cell: str,
    num_layers: int = 1,
    bidirectional: bool = False,
    lengths: Array | None = None,
) -> TorchResult:
    """Run torch's own layers and differentiate ⟨d_output, output⟩ + ⟨d_state, state⟩.

    Cells that torch lacks run in an autograd loop.
    """
    runs = []
    for m in range(len(x)):
        leaves = {
            name: torch.tensor(value[m], requires_grad=True) for name, value in params.items()
        }
        tx = torch.tensor(x[m], requires_grad=True)
        states = [torch.tensor(state[m], requires_grad=True) for state in initial]
        valid = (
            None
            if lengths is None
            else torch.as_tensor(np.atleast_2d(lengths)[m if lengths.ndim == 2 else 0])
        )
        run = _loop if cell in ("rnn_sigmoid", "rnn_prelu") else _module
        output, final = run(cell, leaves, tx, states, num_layers, bidirectional, valid)
        score = (output * torch.tensor(d_output[m])).sum()
        score = score + sum(
            (part * torch.tensor(d[m])).sum() for part, d in zip(final, d_state, strict=True)
        )
        score.backward()
        runs.append(
            {
                "output": output.detach().numpy(),
                "state": [part.detach().numpy() for part in final],
                "grads": {name: leaf.grad.numpy() for name, leaf in leaves.items()},
                "dx": tx.grad.numpy(),
                "d_initial": [state.grad.numpy() for state in states],
            }
        )
    return TorchResult(runs)


def _module(
    cell: str,
    leaves: dict[str, torch.Tensor],
    x: torch.Tensor,
    states: list[torch.Tensor],
    num_layers: int,
    bidirectional: bool,
    lengths: torch.Tensor | None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    kind = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}.get(cell, torch.nn.RNN)
    options = {"nonlinearity": cell.removeprefix("rnn_")} if kind is torch.nn.RNN else {}
    net = kind(
        x.shape[-1],
        states[0].shape[-1],
        num_layers,
        bias="bias_ih_l0" in leaves,
        batch_first=True,
        bidirectional=bidirectional,
        dtype=x.dtype,
        **options,
    )
    inputs = x
    if lengths is not None:
        inputs = torch.nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
    initial = tuple(states) if cell == "lstm" else states[0]
    output, final = torch.func.functional_call(net, leaves, (inputs, initial))
    if lengths is not None:
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(
            output, batch_first=True, total_length=x.shape[1]
        )
    return output, list(final) if cell == "lstm" else [final]


def _loop(
    cell: str,
    leaves: dict[str, torch.Tensor],
    x: torch.Tensor,
    states: list[torch.Tensor],
    num_layers: int,
    bidirectional: bool,
    lengths: torch.Tensor | None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """One sequence at a time, one step at a time, cut to its length."""
    batch, seq_len, _ = x.shape
    directions = ("", "_reverse")[: 1 + bidirectional]
    final = torch.zeros_like(states[0])
    rows = []
    for n in range(batch):
        length = seq_len if lengths is None else int(lengths[n])
        y = x[n, :length]
        for layer in range(num_layers):
            hiddens = []
            for d, direction in enumerate(directions):
                name = f"l{layer}{direction}"
                h = states[0][layer * len(directions) + d, n]
                hidden: list[torch.Tensor] = [h] * length
                for t in range(length)[:: -1 if direction else 1]:
                    a = leaves[f"weight_ih_{name}"] @ y[t] + leaves[f"weight_hh_{name}"] @ h
                    if f"bias_ih_{name}" in leaves:
                        a = a + leaves[f"bias_ih_{name}"] + leaves[f"bias_hh_{name}"]
                    h = (
                        torch.sigmoid(a)
                        if cell == "rnn_sigmoid"
                        else _prelu(a, leaves[f"slope_{name}"])
                    )
                    hidden[t] = h
                index = torch.zeros_like(final)
                index[layer * len(directions) + d, n] = 1
                final = final + index * h
                hiddens.append(torch.stack(hidden))
            y = torch.cat(hiddens, dim=-1)
        rows.append(torch.nn.functional.pad(y, (0, 0, 0, seq_len - length)))
    return torch.stack(rows), [final]


def _prelu(a: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.prelu(a, slope)


Named = dict[str, Array]


def directional_error(
    score: Callable[[Named], float],
    at: Named,
    grads: Named,
    rng: np.random.Generator,
    step: float = 1e-6,
) -> float:
    """Compare gradients with the slope of `score` along a random direction, by central differences.

    Every argument moves at once. The error is relative to |gradient|, so that no cancellation in
    the product hides it.
    """
    along = {name: rng.normal(size=value.shape) for name, value in at.items()}
    ahead = score({name: value + step * along[name] for name, value in at.items()})
    behind = score({name: value - step * along[name] for name, value in at.items()})
    return _mismatch((ahead - behind) / (2 * step), grads, along)


def complex_step_error(
    score: Callable[[Named], complex],
    at: Named,
    grads: Named,
    rng: np.random.Generator,
    step: float = 1e-30,
) -> float:
    """Do the same by Im f(x + i·step·d) / step, exact to rounding (Squire and Trapp 1998)."""
    along = {name: rng.normal(size=value.shape) for name, value in at.items()}
    return _mismatch(
        score({name: value + 1j * step * along[name] for name, value in at.items()}).imag / step,
        grads,
        along,
    )


def _mismatch(numeric: float, grads: Named, along: Named) -> float:
    assert grads.keys() == along.keys()
    products = [np.sum(grads[name] * along[name]) for name in along]
    size = np.sqrt(sum(np.sum(grad**2) for grad in grads.values()))
    return float(abs(numeric - sum(products)) / size)


def every(**choices: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The product of the choices, as keyword arguments."""
    return (dict(zip(choices, values, strict=True)) for values in product(*choices.values()))
