"""Recurrent networks by hand-written backpropagation through time, for many models at once.

`recurrent` takes arrays and nothing else; `fit` trains on sequences of any kind. From prices to a
verdict the way is `data.loading.load`, `data.windows.windows`, `data.folds.folds`,
`nn.training.fit`, `nn.ensemble.out_of_sample`, `evaluation.evaluation.evaluate`. Nothing in this
package knows Prefect or MLflow.

>>> import numpy as np
>>> from rnn_core import Model, Sequences, Training, fit, holdout
>>> x = np.random.default_rng(0).normal(size=(200, 5, 1))  # 200 sequences of five steps
>>> y = (x.sum(axis=1, keepdims=True) > 0).astype(float)  # does the sum of the steps exceed zero?
>>> sequences = Sequences(x, y, mask=np.ones((200, 1), bool))
>>> model, training = Model(cell="gru", hidden_size=4), Training(seeds=3)
>>> trained = fit(model, training, sequences, holdout(train=120, valid=40, test=40))
>>> trained.params["weight_hh_l0"].shape  # three models; three gates of four units
(3, 12, 4)
>>> train_loss, valid_loss = trained.losses
>>> bool(valid_loss[-1] < 0.3)  # nats; a coin toss has 0.69
True
"""

from typing import TYPE_CHECKING, Any

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import recurrent
from rnn_core.nn.sequences import Folds, Sequences, holdout
from rnn_core.nn.settings import Model, Training
from rnn_core.nn.training import Fit, fit

if TYPE_CHECKING:
    from rnn_core.nn.torch_bridge import from_torch_state_dict, to_torch_state_dict

__all__ = [
    "Array",
    "Fit",
    "Folds",
    "Model",
    "Params",
    "Sequences",
    "Training",
    "fit",
    "from_torch_state_dict",
    "holdout",
    "recurrent",
    "to_torch_state_dict",
]


def __getattr__(name: str) -> Any:
    """Import torch when a conversion from or to it is first asked for."""
    if name in {"from_torch_state_dict", "to_torch_state_dict"}:
        from rnn_core.nn import torch_bridge

        return getattr(torch_bridge, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
