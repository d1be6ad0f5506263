"""The node tests that the onnx package ships for RNN, GRU and LSTM, run against `recurrent`.

The operators are specified at https://onnx.ai/onnx/operators; they equal torch's unless it says
otherwise below.
"""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.backend.test.case import node as node_tests
from onnx.backend.test.case.node import gru, lstm, rnn  # importing them registers their cases
from onnx.reference import ReferenceEvaluator

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import recurrent

NOT_RUN = {
    "test_gru_seq_length": "linear_before_reset = 0: the reset comes before the hidden product",
    "test_lstm_with_peepholes": "peepholes: the gates read the cell state; torch has none",
}

# ONNX stacks its gates as z r h and i o f c; torch as r z n and i f g o.
GATE_ORDER = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 2, 3, 1]}
CELL = {"RNN": "rnn_tanh", "GRU": "gru", "LSTM": "lstm"}

# The other GRU cases have linear_before_reset = 0 too, and yet agree. Their weights are all equal,
# and so are the units of a layer: the reset gate is one number, and R (r h) = r (R h).


def node_of(model: onnx.ModelProto) -> onnx.NodeProto:
    return model.graph.node[0]


SHIPPED = {
    case.name: case for case in node_tests._NodeTestCases if node_of(case.model).op_type in CELL
}


def run(node: onnx.NodeProto, arrays: list[Array]) -> dict[str, Array]:
    """The outputs that the node names, computed by `recurrent`."""
    given = dict(zip([name for name in node.input if name], arrays, strict=True))
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    direction = attributes.pop("direction", b"forward").decode()
    batch_first = attributes.pop("layout", 0) == 1
    assert attributes.keys() <= {"hidden_size", "linear_before_reset"}, attributes

    x = given["X"] if batch_first else given["X"].swapaxes(0, 1)  # (N, T, I)
    states = {
        ours: (given[theirs].swapaxes(0, 1) if batch_first else given[theirs])[None]
        for ours, theirs in (("h0", "initial_h"), ("c0", "initial_c"))
        if theirs in given
    }
    reverse = (
        direction == "reverse"
    )  # torch has no such layer: it is the forward one on the sequence turned round
    output, state, _ = recurrent(
        torch_params(node.op_type, given),
        (x[:, ::-1] if reverse else x)[None],
        cell=CELL[node.op_type],
        bidirectional=direction == "bidirectional",
        lengths=given.get("sequence_lens"),
        **states,
    )
    hidden_size = given["R"].shape[-1]
    y = output[0, :, ::-1] if reverse else output[0]
    y = y.reshape(*y.shape[:2], -1, hidden_size)  # (N, T, D, H)
    finals = [part[0] for part in (state if isinstance(state, tuple) else (state,))]  # (D, N, H)
    results = {
        "Y": y if batch_first else y.transpose(1, 2, 0, 3),
        **{
            name: final.swapaxes(0, 1) if batch_first else final
            for name, final in zip(("Y_h", "Y_c"), finals, strict=False)
        },
    }
    return {name: results[name] for name in node.output if name}


def torch_params(op: str, given: dict[str, Array]) -> Params:
    order = GATE_ORDER[op]
    params = {}

    def reorder(weight: Array) -> Array:
        return weight.reshape(len(order), -1, *weight.shape[1:])[order].reshape(weight.shape)[None]

    for d, suffix in enumerate(("l0", "l0_reverse")[: len(given["W"])]):
        params[f"weight_ih_{suffix}"] = reorder(given["W"][d])
        params[f"weight_hh_{suffix}"] = reorder(given["R"][d])
        if "B" in given:
            bias_ih, bias_hh = np.split(given["B"][d], 2)
            params |= {f"bias_ih_{suffix}": reorder(bias_ih), f"bias_hh_{suffix}": reorder(bias_hh)}
    return params


@pytest.mark.parametrize("name", sorted(SHIPPED.keys() - NOT_RUN.keys()))
def test_a_shipped_node_test_passes(name: str) -> None:
    case = SHIPPED[name]
    node = node_of(case.model)
    for inputs, outputs in case.data_sets:
        got = run(node, inputs)
        assert len(got) == len(outputs) > 0
        for (key, value), want in zip(got.items(), outputs, strict=True):
            np.testing.assert_allclose(value, want, rtol=case.rtol, atol=case.atol, err_msg=key)


@pytest.mark.parametrize(
    "name", sorted(name for name, case in SHIPPED.items() if node_of(case.model).op_type == "GRU")
)
def test_a_gru_node_with_the_reset_behind_the_product_equals_the_reference_implementation(
    name: str,
) -> None:
    """No shipped GRU case sets linear_before_reset: set it on all, and let onnx compute."""
    case = SHIPPED[name]
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    node = node_of(model)
    node.attribute.append(onnx.helper.make_attribute("linear_before_reset", 1))
    inputs = case.data_sets[0][0]
    want = ReferenceEvaluator(model).run(
        None, dict(zip([i.name for i in model.graph.input], inputs, strict=True))
    )
    got = run(node, inputs)
    for value, expected in zip(got.values(), want, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_the_cases_are_all_those_that_the_package_ships() -> None:
    assert len(SHIPPED) >= 18
    mentions = re.compile(r"make_node\(\s*\"(RNN|GRU|LSTM)\"")
    files = {
        path for path in Path(rnn.__file__).parent.glob("*.py") if mentions.search(path.read_text())
    }
    assert files == {Path(module.__file__) for module in (rnn, gru, lstm)}


def test_every_case_not_run_is_shipped_and_is_not_ours() -> None:
    assert NOT_RUN.keys() <= SHIPPED.keys()
    for name in NOT_RUN:
        case = SHIPPED[name]
        node, (inputs, outputs) = node_of(case.model), case.data_sets[0]
        kept = [
            (key, value)
            for key, value in zip(filter(None, node.input), inputs, strict=True)
            if key != "P"
        ]
        del node.input[:]
        node.input.extend(key for key, _ in kept)
        got = run(node, [value for _, value in kept])
        assert any(
            not np.allclose(value, want, rtol=1e-3)
            for value, want in zip(got.values(), outputs, strict=True)
        )
