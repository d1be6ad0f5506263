"""Recurrent networks by hand-written backpropagation through time, for many models at once, and what they are for here.

`recurrent` takes arrays and knows nothing else. From prices to a verdict it goes through the modules in this order:
`sources.load`, `problems.windows`, `folds.folds`, `training.fit`, `ensemble.predict`, `evaluation.evaluate`. Nothing in
this package knows of Prefect or MLflow.
"""

import atexit
import gc
from typing import TYPE_CHECKING, Any

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import recurrent

if TYPE_CHECKING:
    from rnn_core.nn.torch_bridge import from_torch_state_dict, to_torch_state_dict

__all__ = ["Array", "Params", "from_torch_state_dict", "recurrent", "to_torch_state_dict"]


# At its end Python looks through all that was imported, to take it apart, which is a tenth of a process that trains one
# network, and more than a second of one that has imported Prefect and MLflow.
atexit.register(gc.freeze)


def __getattr__(name: str) -> Any:
    """The conversions from and to torch, which is imported when they are asked for."""
    if name in {"from_torch_state_dict", "to_torch_state_dict"}:
        from rnn_core.nn import torch_bridge

        return getattr(torch_bridge, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
