"""Faults that a recurrent engine may well have, each with the tests that must notice it.

`test_mutations.py` puts them into a copy of the package, one at a time.
"""

import gc
import importlib
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

SLOW_IMPORTS = (
    "torch",
    "pandas",
    "hypothesis",
    "pydantic",
    "sklearn.model_selection",
    "exchange_calendars",
    "pytest",
)
THE_COPY_IS_TESTED = """
from pathlib import Path

import rnn_core

assert Path(rnn_core.__file__).parents[1] == Path(__file__).parent, rnn_core.__file__
"""


def import_what_is_slow() -> None:
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # else each fork would collect, and so copy, all of it


def run_on_copy(folder: Path, selection: tuple[str, ...]) -> tuple[int, str]:
    """Run pytest on a copy of the package, in a fork; return the exit code and the report."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as fork:
        return fork.submit(_run_on_copy, folder, selection).result()


def _run_on_copy(folder: Path, selection: tuple[str, ...]) -> tuple[int, str]:
    assert "rnn_core" not in sys.modules
    (folder / "conftest.py").write_text(THE_COPY_IS_TESTED)
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    with Path("report.txt").open("w+b") as report:
        for stream in (1, 2):
            os.dup2(report.fileno(), stream)
        tests = [f"tests/rnn_core/{test}" for test in selection]
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *tests])
        sys.stdout.flush()
    return int(code), Path("report.txt").read_text()


class Fault(NamedTuple):
    """`old`, once in `rnn_core/<file>`, becomes `new`; the tests of `caught_by` must fail."""

    file: str
    old: str
    new: str
    caught_by: tuple[str, ...]


def equals_torch(cell: str) -> tuple[str, ...]:
    return (f"nn/test_layers.py::test_outputs_states_and_gradients_equal_those_of_torch[{cell}-1]",)


def equals_differences(cell: str) -> tuple[str, ...]:
    return (f"nn/test_layers.py::test_gradients_equal_central_differences[{cell}]",)


def equals_unrolled(cell: str) -> tuple[str, ...]:
    return (
        f"nn/test_unrolled.py::test_logits_and_gradients_equal_those_of_torchs_modules[True-steps-{cell}]",
    )


def follows_torch(rule: str) -> tuple[str, ...]:
    return (f"nn/test_optim.py::test_a_hundred_steps_follow_torch[{rule}]",)


FAULTS = {
    # --- the layers
    "a flipped sign": Fault(
        "nn/layers/activations.py",
        "return np.subtract(1, derivative, out=derivative)",
        "return np.add(1, derivative, out=derivative)",
        ("nn/test_layers.py::test_an_activation_equals_torch_and_differences[tanh]",),
    ),
    "the recurrent term dropped": Fault(
        "nn/layers/cells.py",
        "        a[t] += product\n",
        "",
        equals_torch("rnn_tanh"),
    ),
    "a gradient that travels back one step only": Fault(
        "nn/layers/cells.py",
        "np.matmul(da[t], weight, out=dh_next)",
        "dh_next[...] = 0",
        equals_differences("rnn_tanh"),
    ),
    "weights unshared over time: the gradient of the last step alone": Fault(
        "nn/layers/direction.py",
        "_weight_gradient(hidden_rows, h_before)",
        "join_gates(np.matmul(da.hidden[-1].swapaxes(2, 3), h_before[-1]))",
        equals_differences("lstm"),
    ),
    "the reverse direction not reversed": Fault(
        "nn/layers/direction.py",
        "range(len(x))[:: -1 if d else 1]",
        "range(len(x))[::1]",
        equals_torch("rnn_relu"),
    ),
    "the batch reversed instead of time": Fault(
        "nn/layers/direction.py",
        "walk = Walk(range(len(x))[:: -1 if d else 1], padding)\n"
        "        d_params = _of_direction(params, suffix)\n"
        "        h, final, direction_backward = _direction(cell, d_params, x, ",
        "walk = Walk(range(len(x)), padding)\n"
        "        d_params = _of_direction(params, suffix)\n"
        "        h, final, direction_backward = "
        "_direction(cell, d_params, x[:, :, :: -1 if d else 1], ",
        equals_torch("rnn_tanh"),
    ),
    "the gates of an LSTM in another order": Fault(
        "nn/layers/cells.py",
        "i, f, g, o = gates.swapaxes(0, 1)",
        "f, i, g, o = gates.swapaxes(0, 1)",
        equals_torch("lstm"),
    ),
    "the gates of a GRU in another order": Fault(
        "nn/layers/cells.py",
        "r, z, n = gates.swapaxes(0, 1)",
        "z, r, n = gates.swapaxes(0, 1)",
        equals_torch("gru"),
    ),
    "the reset gate before the hidden product": Fault(
        "nn/layers/cells.py",
        "np.multiply(r[t], m[t], out=scratch)",
        "np.add(np.matmul(r[t] * h_before[t], weight_t[2]), bias_n, out=scratch)",
        equals_torch("gru"),
    ),
    "the hidden bias of n given the gradient of the input's": Fault(
        "nn/layers/direction.py",
        'grads["bias_hh"] = join_gates(sum_rows(hidden_rows))',
        'grads["bias_hh"] = grads["bias_ih"].copy()',
        equals_torch("gru"),
    ),
    "the forget gate's gradient without the cell state before it": Fault(
        "nn/layers/cells.py",
        "(g, c_before, i, tanh_c)",
        "(g, c, i, tanh_c)",
        equals_differences("lstm"),
    ),
    "the cell state's gradient not multiplied by the forget gate": Fault(
        "nn/layers/cells.py",
        "            dc *= keep[t]\n",
        "",
        equals_differences("lstm"),
    ),
    "h_n of the reverse direction taken from the last step of the output": Fault(
        "nn/layers/direction.py",
        "return y, stack_directions(finals), backward",
        "last = np.stack([h[-1] for h in hiddens], 1)\n"
        "    return y, [last, *stack_directions(finals)[1:]], backward",
        equals_torch("rnn_tanh"),
    ),
    "one step of padding taken for valid": Fault(
        "nn/layers/axes.py",
        ">= np.atleast_2d(lengths)",
        "> np.atleast_2d(lengths)",
        (
            "nn/test_layers.py::test_a_sequence_cut_to_its_length_gives_what_the_padded_one_gives[gru]",
        ),
    ),
    "padding not zeroed, whatever it holds": Fault(
        "nn/layers/recurrence.py",
        "    y = zero_padding(time_first(x), padding)",
        "    y = time_first(x).copy()",
        ("nn/test_layers.py::test_what_the_padding_holds_changes_no_bit[lstm]",),
    ),
    "dropout on a net of one layer": Fault(
        "nn/layers/recurrence.py",
        "dropout if layer > 0 else 0.0",
        "dropout",
        ("nn/test_layers.py::test_a_single_layer_is_not_dropped_and_draws_nothing[gru]",),
    ),
    "dropout behind the last layer": Fault(
        "nn/layers/recurrence.py",
        "return time_third(y), join_layers(finals), backward",
        "return drop(time_third(y), dropout, rng, axis=0)[0], join_layers(finals), backward",
        (
            "nn/test_layers.py::test_dropout_stands_between_layers_only_as_a_chain_of_torch_layers_under_its_masks[gru]",
        ),
    ),
    "one dropout mask for all models": Fault(
        "nn/layers/feedforward.py",
        "[stream.random(shape, np.float32) >= p for stream in rng]",
        "[rng[0].random(shape, np.float32) >= p] * len(rng)",
        ("nn/test_layers.py::test_dropout_drops_a_share_p_and_keeps_the_expectation",),
    ),
    "a softmax that overflows": Fault(
        "nn/layers/activations.py",
        "np.exp(x - x.max(axis=-1, keepdims=True))",
        "np.exp(x)",
        ("nn/test_layers.py::test_nothing_overflows_at_a_thousand[float32]",),
    ),
    # --- the losses
    "the mask forgotten in the loss": Fault(
        "nn/losses.py",
        "weight * share, hits * share, None if mask.all() else ~scored",
        "weight * share.max(), hits * share.max(), None",
        (
            "nn/test_losses.py::test_binary_cross_entropy_and_its_gradient_equal_torch_over_the_scored_steps",
        ),
    ),
    "masked by multiplication": Fault(
        "nn/losses.py",
        "np.where(unscored, 0, logits)",
        "logits * ~unscored",
        ("nn/test_losses.py::test_what_is_not_scored_counts_nothing_whatever_it_holds",),
    ),
    "class weights that do not count in what is divided by": Fault(
        "nn/losses.py",
        "total = _sum_of_models(np.where(scored, weight, 0))",
        "total = _sum_of_models(np.where(scored, np.ones_like(weight), 0))",
        (
            "nn/test_losses.py::test_weighted_binary_cross_entropy_is_torchs_cross_entropy_of_two_logits",
        ),
    ),
    # --- the unrolled nets
    "what a step hands to the one before, not added to its own": Fault(
        "nn/engines/unrolled_cells.py",
        "                add(dh, handed, dh)\n            multiply(da, dh, da)",
        "                pass\n            multiply(da, dh, da)",
        equals_unrolled("rnn_tanh"),
    ),
    "the gates of an unrolled GRU in another order": Fault(
        "nn/engines/unrolled.py",
        '"gru": "rzn"',
        '"gru": "zrn"',
        equals_unrolled("gru"),
    ),
    "an unrolled LSTM that never forgets the gradient": Fault(
        "nn/engines/unrolled_cells.py",
        "            multiply(dc, f, dc)\n",
        "",
        equals_unrolled("lstm"),
    ),
    "a single model's product of other bits": Fault(
        "nn/engines/unrolled_products.py",
        "return weight.dot if weight.ndim == 2 else",
        "return (lambda x, out: weight.dot(x[..., ::-1], out)) if weight.ndim == 2 else",
        ("nn/test_unrolled.py::test_a_model_of_a_stack_has_the_bits_it_has_alone[last-rnn_tanh]",),
    ),
    # --- the updates
    "clipped by the largest element instead of the norm": Fault(
        "nn/optim.py",
        "(grads * grads).sum(1) ** 0.5",
        "(grads * grads).max(1) ** 0.5",
        follows_torch("clipped by norm"),
    ),
    "clipped by the norm of the whole stack": Fault(
        "nn/optim.py",
        "norm = (grads * grads).sum(1) ** 0.5",
        "norm = (grads * grads).sum() ** 0.5 + 0 * grads[:, 0]",
        follows_torch("clipped by norm"),
    ),
    "clipped tensor by tensor": Fault(
        "nn/engines/numpy_engine.py",
        "return flatten(backward(dlogits))",
        "rows = [grad.reshape(len(x), -1) for grad in backward(dlogits).values()]\n"
        "                norms = [np.linalg.norm(row, axis=1, keepdims=True) for row in rows]\n"
        "                return np.concatenate("
        "[row * np.minimum(1, 0.1 / norm) for row, norm in zip(rows, norms)], axis=1)",
        (
            "nn/test_engines.py::test_the_engines_agree_on_a_deep_bidirectional_net_and_on_its_dropout",
        ),
    ),
    "Adam without its bias correction": Fault(
        "nn/optim.py",
        'corrected_rate = rate / (1 - beta1 ** state["step"])',
        "corrected_rate = rate",
        follows_torch("adam"),
    ),
    "Adam's epsilon under the root": Fault(
        "nn/optim.py",
        "first / (second**0.5 / scale + rule.eps)",
        "first * scale / (second + rule.eps) ** 0.5",
        follows_torch("adam"),
    ),
    "decoupled weight decay added to the gradient": Fault(
        "nn/optim.py",
        'if rule.weight_decay and rule.name != "adamw":',
        "if rule.weight_decay:",
        follows_torch("adamw"),
    ),
    "momentum dampened": Fault(
        "nn/optim.py",
        "velocity += grads",
        "velocity += (1 - rule.momentum) * grads",
        follows_torch("momentum"),
    ),
    # --- the network
    "rows and directions mixed in the last hidden states": Fault(
        "nn/network.py",
        "return last[:, -directions:].swapaxes(1, 2).reshape(",
        "return last[:, -directions:].reshape(",
        ("nn/test_network.py::test_logits_and_gradient_equal_those_of_torchs_modules[gru]",),
    ),
    "a truncation that lets the gradient through": Fault(
        "nn/network.py",
        "d_state = _where_over(d_initial, lengths, start)",
        "d_state = d_initial",
        (
            "nn/test_network.py::test_a_truncated_gradient_is_torchs_with_the_state_detached[gru-2-False]",
        ),
    ),
    "a truncation that forgets the sequences that ended before": Fault(
        "nn/network.py",
        "d_state = _where_over(d_initial, lengths, start)",
        "d_state = None",
        (
            "nn/test_network.py::test_a_truncated_gradient_is_torchs_with_the_state_detached[gru-2-True]",
        ),
    ),
    # --- the training
    "padding rows trained on": Fault(
        "nn/engines/__init__.py",
        "self.mask[rows] & (rows >= 0)[..., None]",
        "self.mask[rows]",
        ("nn/test_engines.py::test_padding_trains_nothing[numpy]",),
    ),
    "the scaler fitted on all rows": Fault(
        "nn/scaling.py",
        "steps = x[rows][valid[rows]]",
        "steps = x[valid]",
        ("nn/test_training.py::test_the_scaler_sees_the_training_rows_alone",),
    ),
    "early stopping that keeps the last parameters": Fault(
        "nn/early_stopping.py",
        "self.best_params[name][better] = value[better]",
        "self.best_params[name][...] = value",
        ("nn/test_training.py::test_the_parameters_kept_are_those_of_the_best_epoch",),
    ),
    "a schedule that nobody asks": Fault(
        "nn/training.py",
        "rates = self.schedule.rates(epochs)",
        "rates = np.full((len(batches), len(epochs)), 0.3)",
        ("nn/test_training.py::test_a_model_trains_at_the_rate_of_its_schedule",),
    ),
    "a cosine that is one epoch ahead": Fault(
        "nn/schedule.py",
        "np.cos(np.pi * epoch / self._training.epochs)",
        "np.cos(np.pi * (epoch + 1) / self._training.epochs)",
        ("nn/test_schedule.py::test_the_cosine_schedule_is_torchs_by_epoch[7]",),
    ),
    "a checkpoint that forgets the random streams": Fault(
        "nn/streams.py",
        "rng.bit_generator.state = state",
        "pass",
        (
            "nn/test_training.py::test_a_training_that_is_resumed_ends_with_the_bits_of_one_that_never_stopped"
            "[dropout and a plateau-numpy]",
        ),
    ),
    "the purge forgotten": Fault(
        "data/folds.py",
        "LABEL_REACH = 1 ",
        "LABEL_REACH = 0 ",
        (
            "data/test_folds.py::test_every_row_behind_the_first_fold_is_tested_once_and_only_by_what_was_known",
        ),
    ),
    "labels shifted by one session": Fault(
        "data/windows.py",
        "next_returns = np.append(returns[1:], np.nan)",
        "next_returns = np.append(returns[:-1], np.nan)",
        (
            "data/test_windows.py::test_the_label_is_whether_the_next_session_closes_up_and_the_last_window_has_none",
        ),
    ),
}
