"""`fit` against torch.nn.RNN, GRU and LSTM with autograd and torch's optimisers, as users write it.

Both start from the same parameters and see the same batches. torch gets a tensor of all windows,
without a DataLoader. `compiled` is torch.compile of the whole network; it unrolls the steps, so it
takes a minute if T is 10 and is left out if T is more. Ours is the whole of `fit`, including the
bookkeeping of its epochs.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.rounds import Job, Row, compare, drawn, save
from rnn_core.commands import Study
from rnn_core.config import Model, Training
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.studies import sines
from rnn_core.studies.study import Variant

STEPS = 10


def torch_network(model: Any, input_size: int, output_size: int) -> Any:
    """The network of torch's own layers that reads out as ours does."""
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            recurrent = {"rnn_tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[model.cell]
            options = {"num_layers": model.num_layers, "bidirectional": model.bidirectional}
            self.recurrent = recurrent(input_size, model.hidden_size, batch_first=True, **options)
            self.directions = 2 if model.bidirectional else 1
            self.head = nn.Linear(self.directions * model.hidden_size, output_size)

        def forward(self, x: Any) -> Any:
            output, state = self.recurrent(x)
            if model.readout == "steps":
                return self.head(output)
            last = state[0] if isinstance(state, tuple) else state  # (D·num_layers, N, H)
            top = last[-self.directions :].transpose(0, 1).flatten(1)
            return self.head(top)[:, None]

    return Network()


def torch_states(variant: Any, models: int) -> list[dict[str, Any]]:
    """The initial parameters of the first `models`, by the names of `torch_network`."""
    from rnn_core import to_torch_state_dict

    states = [to_torch_state_dict(variant.params0, m) for m in range(models)]
    return [
        {name if "." in name else f"recurrent.{name}": value for name, value in state.items()}
        for state in states
    ]


def torch_loop(variant: Any, models: int = 1, compiled: bool = False) -> Job:
    """Training the first `models` of the variant one by one."""
    import torch
    from torch import nn

    training = variant.training
    dtype = getattr(torch, training.dtype)
    x = torch.as_tensor(variant.sequences.x).to(dtype)
    y = torch.as_tensor(variant.sequences.y).to(dtype)
    states = torch_states(variant, models)
    orders = torch.as_tensor(variant.order)
    losses = {"binary_cross_entropy": nn.BCEWithLogitsLoss, "mean_squared_error": nn.MSELoss}
    loss_of = losses[variant.sequences.loss]()
    optimiser_class = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[training.optimiser]
    network = torch_network(variant.model, x.shape[-1], y.shape[-1]).to(dtype)
    if compiled:
        torch._dynamo.config.allow_rnn = True  # else the recurrent layer is left as it is
    run = torch.compile(network) if compiled else network

    def train(m: int) -> list[float]:
        network.load_state_dict(states[m])
        optimiser = optimiser_class(network.parameters(), lr=training.learning_rate)
        means = []
        for order in orders[:, m]:
            total = 0.0
            for rows in order.split(training.batch_size):
                optimiser.zero_grad()
                loss = loss_of(run(x[rows]), y[rows])
                loss.backward()
                if training.clip_value is not None:
                    nn.utils.clip_grad_value_(network.parameters(), training.clip_value)
                if training.clip_norm is not None:
                    nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm)
                optimiser.step()
                total += loss.item() * len(rows)
            means.append(total / len(order))
        return means

    def job() -> Array:
        return np.array([train(m) for m in range(models)])

    return job


def direction(rows: int, *, cell: str = "rnn_tanh", **training: Any) -> Variant:
    """Windows of noise, asked whether the last value is positive; hidden 16, T 10."""
    x = np.random.default_rng(0).normal(size=(rows, STEPS, 1))
    y = (x[:, -1:] > 0).astype(float)
    sequences = Sequences(x, y, np.ones((rows, 1), bool), raw=True)
    settings = {"patience": None, "seeds": 1, "clip_norm": None, "learning_rate": 3e-3} | training
    variant = Variant(Model(cell=cell), Training(**settings), sequences, holdout(rows, 0, 0))
    return drawn(variant)


def sine(name: str, model: Model, training: dict[str, Any]) -> Variant:
    """A study of sines in float32, at a constant learning rate."""
    study: Any = Study.model_validate({"name": name})
    steps = {"sine-next-value": sines.NEXT_VALUE, "sine-synced": sines.SYNCED}[name]
    (variant,) = steps.variants(study, steps.data(study)).values()
    settings = replace(variant.training, **{"dtype": "float32", "schedule": "constant"} | training)
    return drawn(replace(variant, model=model, training=settings))


def main() -> list[str]:
    save("torch", [*eager(), *compiled()])
    return []


def eager() -> list[Row]:
    rows = compare("batch 1, SGD", batch_of_one(), {"torch-batch-1": torch_loop}, epochs=4)
    for cell in ("rnn_tanh", "gru", "lstm"):
        case = f"batch 32, Adam, {cell}"
        rows += compare(case, batches_of_32(cell), {"torch-batch-32": torch_loop}, epochs=10)
    next_value = sine("sine-next-value", Model(hidden_size=32), {"epochs": 20})
    rows += compare("next value of a sine", next_value, {"torch-sine": torch_loop}, epochs=5)
    synced = sine("sine-synced", Model(hidden_size=32, readout="steps"), {"epochs": 2})
    rows += compare("every step of a sine", synced, {"torch-synced": torch_loop}, epochs=2)
    return rows


def compiled() -> list[Row]:
    loop = partial(torch_loop, compiled=True)
    single = batch_of_one()
    batches = batches_of_32("rnn_tanh")
    return [
        *compare("batch 1, torch compiled", single, {"torch-batch-1": loop}, epochs=4),
        *compare("batch 32, torch compiled", batches, {"torch-batch-32": loop}, epochs=10),
    ]


def batch_of_one() -> Variant:
    return direction(256, epochs=400, batch_size=1, optimiser="sgd", clip_value=5.0)


def batches_of_32(cell: str) -> Variant:
    return direction(1024, epochs=40, batch_size=32, cell=cell)
