"""Faults that a recurrent engine may well have, each with the tests that must notice it.

`tests/rnn_core/test_mutations.py` puts them into a copy of the package, one at a time.
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

SLOW_IMPORTS = ("torch", "pandas", "hypothesis", "pydantic", "sklearn.model_selection", "exchange_calendars", "pytest")
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
    """The exit code and the report of pytest in a folder that holds a copy of the package, run in a fork of this."""
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
    """`old`, which stands once in the file `rnn_core/<file>`, becomes `new`; the tests of `caught_by` must fail."""

    file: str
    old: str
    new: str
    caught_by: tuple[str, ...]


def equals_torch(cell: str) -> tuple[str, ...]:
    return (f"test_layers.py::test_outputs_states_and_gradients_equal_those_of_torch[{cell}-1]",)


def equals_differences(cell: str) -> tuple[str, ...]:
    return (f"test_layers.py::test_gradients_equal_central_differences[{cell}]",)


def equals_unrolled(cell: str) -> tuple[str, ...]:
    return (f"test_unrolled.py::test_logits_and_gradients_equal_those_of_torchs_modules[True-steps-{cell}]",)


def follows_torch(rule: str) -> tuple[str, ...]:
    return (f"test_optim.py::test_a_hundred_steps_follow_torch[{rule}]",)


FAULTS = {
    # --- the layers
    "a flipped sign": Fault(
        "layers.py",
        "return np.subtract(1, derivative, out=derivative)",
        "return np.add(1, derivative, out=derivative)",
        ("test_layers.py::test_an_activation_equals_torch_and_differences[tanh]",),
    ),
    "the recurrent term dropped": Fault(
        "layers.py",
        "        a[t] += product\n",
        "",
        equals_torch("rnn_tanh"),
    ),
    "a gradient that travels back one step only": Fault(
        "layers.py",
        "np.matmul(da[t], weight, out=dh_next)",
        "dh_next[...] = 0",
        equals_differences("rnn_tanh"),
    ),
    "weights unshared over time: the gradient of the last step alone": Fault(
        "layers.py",
        "np.matmul(hidden_rows.swapaxes(2, 3), _rows(h_before))",
        "np.matmul(da.hidden[-1].swapaxes(2, 3), h_before[-1])",
        equals_differences("lstm"),
    ),
    "the reverse direction not reversed": Fault(
        "layers.py",
        "range(len(x))[:: -1 if d else 1]",
        "range(len(x))[::1]",
        equals_torch("rnn_relu"),
    ),
    "the batch reversed instead of time": Fault(
        "layers.py",
        "walk = _Walk(range(len(x))[:: -1 if d else 1], padding)\n"
        "        h, final, direction_backward = _direction(cell, _own(params, name), x, ",
        "walk = _Walk(range(len(x)), padding)\n"
        "        h, final, direction_backward = _direction(cell, _own(params, name), x[:, :, :: -1 if d else 1], ",
        equals_torch("rnn_tanh"),
    ),
    "the gates of an LSTM in another order": Fault(
        "layers.py",
        "i, f, g, o = gates.swapaxes(0, 1)",
        "f, i, g, o = gates.swapaxes(0, 1)",
        equals_torch("lstm"),
    ),
    "the gates of a GRU in another order": Fault(
        "layers.py",
        "r, z, n = gates.swapaxes(0, 1)",
        "z, r, n = gates.swapaxes(0, 1)",
        equals_torch("gru"),
    ),
    "the reset gate before the hidden product": Fault(
        "layers.py",
        "np.multiply(r[t], m[t], out=scratch)",
        "np.add(np.matmul(r[t] * h_before[t], weight_t[2]), bias_n, out=scratch)",
        equals_torch("gru"),
    ),
    "the hidden bias of n given the gradient of the input's": Fault(
        "layers.py",
        'grads["bias_hh"] = _all_gates(_sum_rows(hidden_rows))',
        'grads["bias_hh"] = grads["bias_ih"].copy()',
        equals_torch("gru"),
    ),
    "the forget gate's gradient without the cell state before it": Fault(
        "layers.py",
        "(g, c_before, i, tanh_c)",
        "(g, c, i, tanh_c)",
        equals_differences("lstm"),
    ),
    "the cell state's gradient not multiplied by the forget gate": Fault(
        "layers.py",
        "            dc *= keep[t]\n",
        "",
        equals_differences("lstm"),
    ),
    "h_n of the reverse direction taken from the last step of the output": Fault(
        "layers.py",
        "np.concatenate(hiddens, axis=-1)), _stack(finals), backward",
        "np.concatenate(hiddens, axis=-1)), [np.stack([h[-1] for h in hiddens], 1), *_stack(finals)[1:]], backward",
        equals_torch("rnn_tanh"),
    ),
    "one step of padding taken for valid": Fault(
        "layers.py",
        ">= np.atleast_2d(lengths)",
        "> np.atleast_2d(lengths)",
        ("test_layers.py::test_a_sequence_cut_to_its_length_gives_what_the_padded_one_gives[gru]",),
    ),
    "padding not zeroed, whatever it holds": Fault(
        "layers.py",
        "    y = _without(padding, _time_first(x))",
        "    y = _time_first(x).copy()",
        ("test_layers.py::test_what_the_padding_holds_changes_no_bit[lstm]",),
    ),
    "dropout on a net of one layer": Fault(
        "layers.py",
        "dropout if layer > 0 else 0.0",
        "dropout",
        ("test_layers.py::test_a_single_layer_is_not_dropped_and_draws_nothing[gru]",),
    ),
    "dropout behind the last layer": Fault(
        "layers.py",
        "return _time_third(y), _state(finals), backward",
        "return _drop(_time_third(y), dropout, rng, axis=0)[0], _state(finals), backward",
        ("test_layers.py::test_dropout_stands_between_layers_only_as_a_chain_of_torch_layers_under_its_masks[gru]",),
    ),
    "one dropout mask for all models": Fault(
        "layers.py",
        "[stream.random(one_model, np.float32) >= p for stream in rng]",
        "[rng[0].random(one_model, np.float32) >= p] * len(rng)",
        ("test_layers.py::test_dropout_drops_a_share_p_and_keeps_the_expectation",),
    ),
    "a softmax that overflows": Fault(
        "layers.py",
        "np.exp(x - x.max(axis=-1, keepdims=True))",
        "np.exp(x)",
        ("test_layers.py::test_nothing_overflows_at_a_thousand[float32]",),
    ),
    # --- the losses
    "the mask forgotten in the loss": Fault(
        "losses.py",
        "weight * share, hits * share, None if mask.all() else ~scored",
        "weight * share.max(), hits * share.max(), None",
        ("test_losses.py::test_binary_cross_entropy_and_its_gradient_equal_torch_over_the_scored_steps",),
    ),
    "masked by multiplication": Fault(
        "losses.py",
        "np.where(unscored, 0, logits)",
        "logits * ~unscored",
        ("test_losses.py::test_what_is_not_scored_counts_nothing_whatever_it_holds",),
    ),
    "class weights that do not count in what is divided by": Fault(
        "losses.py",
        "total = np.where(scored, weight, 0)",
        "total = np.where(scored, np.ones_like(weight), 0)",
        ("test_losses.py::test_weighted_binary_cross_entropy_is_torchs_cross_entropy_of_two_logits",),
    ),
    # --- the unrolled nets
    "what a step hands to the one before, not added to its own": Fault(
        "engines/unrolled.py",
        "                add(dh, handed, dh)\n            multiply(d, dh, d)",
        "                pass\n            multiply(d, dh, d)",
        equals_unrolled("rnn_tanh"),
    ),
    "the gates of an unrolled GRU in another order": Fault(
        "engines/unrolled.py",
        '"gru": [2, 0, 1]',
        '"gru": [2, 1, 0]',
        equals_unrolled("gru"),
    ),
    "an unrolled LSTM that never forgets the gradient": Fault(
        "engines/unrolled.py",
        "            multiply(dc, f_t, dc)\n",
        "",
        equals_unrolled("lstm"),
    ),
    "a single model's product of other bits": Fault(
        "engines/unrolled.py",
        "return weight.dot if weight.ndim == 2 else",
        "return (lambda x, out: weight.dot(x[..., ::-1], out)) if weight.ndim == 2 else",
        ("test_unrolled.py::test_a_model_of_a_stack_has_the_bits_it_has_alone[last-rnn_tanh]",),
    ),
    # --- the updates
    "clipped by the largest element instead of the norm": Fault(
        "optim.py",
        "(grads * grads).sum(1) ** 0.5",
        "(grads * grads).max(1) ** 0.5",
        follows_torch("clipped by norm"),
    ),
    "clipped by the norm of the whole stack": Fault(
        "optim.py",
        "norm = (grads * grads).sum(1) ** 0.5",
        "norm = (grads * grads).sum() ** 0.5 + 0 * grads[:, 0]",
        follows_torch("clipped by norm"),
    ),
    "clipped tensor by tensor": Fault(
        "engines/numpy_engine.py",
        "lambda dlogits: flatten(backward(dlogits))",
        "lambda dlogits: np.concatenate(\n"
        "    [(own := grad.reshape(len(x), -1)) * np.minimum(1, 0.1 / np.linalg.norm(own, axis=1, keepdims=True))\n"
        "     for grad in backward(dlogits).values()], axis=1)",
        ("test_engines.py::test_the_engines_agree_on_a_deep_bidirectional_net_and_on_its_dropout",),
    ),
    "Adam without its bias correction": Fault(
        "optim.py",
        'rate / (1 - beta1 ** state["step"])',
        "rate",
        follows_torch("adam"),
    ),
    "Adam's epsilon under the root": Fault(
        "optim.py",
        "(first / (second**0.5 / scale + rule.eps))",
        "(first * scale / (second + rule.eps) ** 0.5)",
        follows_torch("adam"),
    ),
    "decoupled weight decay added to the gradient": Fault(
        "optim.py",
        'if rule.weight_decay and rule.name != "adamw":',
        "if rule.weight_decay:",
        follows_torch("adamw"),
    ),
    "momentum dampened": Fault(
        "optim.py",
        "velocity += grads",
        "velocity += (1 - rule.momentum) * grads",
        follows_torch("momentum"),
    ),
    # --- the network
    "rows and directions mixed in the last hidden states": Fault(
        "network.py",
        "return last[:, -directions:].swapaxes(1, 2).reshape(",
        "return last[:, -directions:].reshape(",
        ("test_network.py::test_logits_and_gradient_equal_those_of_torchs_modules[gru]",),
    ),
    "a truncation that lets the gradient through": Fault(
        "network.py",
        "d_state = _where_over(d_initial, lengths, start)",
        "d_state = d_initial",
        ("test_network.py::test_a_truncated_gradient_is_torchs_with_the_state_detached[gru-2-False]",),
    ),
    "a truncation that forgets the sequences that ended before": Fault(
        "network.py",
        "d_state = _where_over(d_initial, lengths, start)",
        "d_state = None",
        ("test_network.py::test_a_truncated_gradient_is_torchs_with_the_state_detached[gru-2-True]",),
    ),
    # --- the training
    "padding rows trained on": Fault(
        "engines/__init__.py",
        "self.mask[rows] & (rows >= 0)[..., None]",
        "self.mask[rows]",
        ("test_engines.py::test_padding_trains_nothing[numpy]",),
    ),
    "the scaler fitted on all rows": Fault(
        "training.py",
        "seen = x[chosen][valid[chosen]]",
        "seen = x[valid]",
        ("test_training.py::test_the_scaler_sees_the_training_rows_alone",),
    ),
    "early stopping that keeps the last parameters": Fault(
        "training.py",
        "best[name][better] = value[better]",
        "best[name][...] = value",
        ("test_training.py::test_the_parameters_kept_are_those_of_the_best_epoch",),
    ),
    "a schedule that nobody asks": Fault(
        "training.py",
        "schedule.rate(e) for",
        "np.full(models, training.learning_rate) for",
        ("test_training.py::test_a_model_trains_at_the_rate_of_its_schedule",),
    ),
    "a cosine that is one epoch ahead": Fault(
        "training.py",
        "np.cos(np.pi * epoch / self._training.epochs)",
        "np.cos(np.pi * (epoch + 1) / self._training.epochs)",
        ("test_training.py::test_the_cosine_schedule_is_torchs_by_epoch[7]",),
    ),
    "a checkpoint that forgets the random streams": Fault(
        "training.py",
        "rng.bit_generator.state = state",
        "pass",
        (
            "test_training.py::test_a_training_that_is_resumed_ends_with_the_bits_of_one_that_never_stopped"
            "[dropout and a plateau-numpy]",
        ),
    ),
    "the purge forgotten": Fault(
        "folds.py",
        "LABEL_REACH = 1 ",
        "LABEL_REACH = 0 ",
        ("test_folds.py::test_every_row_behind_the_first_fold_is_tested_once_and_only_by_what_was_known",),
    ),
    "labels shifted by one session": Fault(
        "problems.py",
        "next_returns = np.append(returns[1:], np.nan)",
        "next_returns = np.append(returns[:-1], np.nan)",
        ("test_problems.py::test_the_label_is_whether_the_next_session_closes_up_and_the_last_window_has_none",),
    ),
}
