"""What a network is and how it is fitted, as plain values: all the configuration of training.

`rnn_core.config` has the same classes with types, bounds and names enforced, for what a user says.
These are for a program that sets them itself and does not want to import a validator: nothing is
checked.

>>> Training(epochs=5).optimiser
'adam'
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Cell = Literal["rnn_tanh", "rnn_relu", "rnn_sigmoid", "rnn_prelu", "gru", "lstm"]


def setting(default: Any, **metadata: Any) -> Any:
    """Return a field with its default, and with the description and bounds for `rnn_core.config`.

    These are arguments of pydantic's Field.
    """
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Model:
    """The recurrent network."""

    cell: Cell = setting("rnn_tanh", description="Recurrent cell")
    hidden_size: int = setting(
        16, ge=1, le=4096, description="Hidden units of one layer and direction"
    )
    num_layers: int = setting(1, ge=1, le=16, description="Stacked recurrent layers")
    bidirectional: bool = setting(False, description="Read each window in both directions")
    bias: bool = setting(True, description="Recurrent layers have biases")
    dropout: float = setting(0.0, ge=0, lt=1, description="Dropout between recurrent layers")
    readout: Literal["last", "steps"] = setting(
        "last", description="Read the last hidden states, or every step's output"
    )
    head: Literal["linear", "tanh"] = setting(
        "linear", description="A linear layer, or one with tanh before it"
    )
    init: Literal["torch", "xavier", "orthogonal", "identity"] = setting(
        "torch", description="Initial weights"
    )
    forget_bias: float = setting(
        0.0, description="Added to the bias of an LSTM's forget gate at the start"
    )


@dataclass(frozen=True)
class Training:
    """How the network is fitted."""

    engine: Literal["numpy", "torch"] = setting(
        "numpy", description="What computes: NumPy by hand, or torch"
    )
    device: Literal["cpu", "cuda"] = setting("cpu", description="Where the torch engine computes")
    dtype: Literal["float32", "float64"] = setting(
        "float64", description="Precision of training and prediction"
    )
    epochs: int = setting(
        40, ge=1, le=100_000, description="Passes over the training rows, at most"
    )
    batch_size: int = setting(32, ge=1, le=100_000, description="Windows in one update")
    optimiser: Literal["sgd", "adam", "adamw"] = setting("adam", description="Update rule")
    learning_rate: float = setting(1e-2, gt=0, le=10, description="Step size")
    schedule: Literal["constant", "cosine", "plateau"] = setting(
        "constant",
        description="Learning rate: constant, half a cosine to 0, or cut when learning stalls",
    )
    plateau_factor: float = setting(
        0.1, gt=0, lt=1, description="What plateau multiplies the learning rate by"
    )
    plateau_patience: int = setting(
        10, ge=0, description="Epochs without a better validation loss before plateau cuts"
    )
    momentum: float = setting(0.0, ge=0, lt=1, description="Momentum of sgd")
    weight_decay: float = setting(
        0.0, ge=0, le=1, description="L2 penalty; for adamw the decoupled shrinkage"
    )
    clip_norm: float | None = setting(
        1.0, gt=0, description="Largest norm of a model's gradient; empty: no clipping"
    )
    clip_value: float | None = setting(
        None, gt=0, description="Largest element of a gradient; empty: no clipping"
    )
    class_weights: tuple[float, ...] | None = None  # described and bounded in `rnn_core.config`
    truncate: int | None = setting(
        None, ge=1, description="Steps a gradient travels back; empty: all of the window"
    )
    patience: int | None = setting(
        8,
        ge=1,
        description="Epochs to wait for a better validation loss; empty: train to the end",
    )
    shrinkage: float = setting(
        0.5,
        ge=0,
        le=1,
        description="How far to shrink the probability to the training base rate; 0: not at all",
    )
    seeds: int = setting(8, ge=1, le=1000, description="Networks in the ensemble of each fold")
    seed: int = setting(0, ge=0, description="Root of every random stream")
