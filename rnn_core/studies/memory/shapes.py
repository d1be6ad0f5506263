"""What a network hands back, beside what torch does."""

from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import recurrent
from rnn_core.reporting.figures import (
    Say,
)
from rnn_core.studies.memory.cell import HIDDEN, STEPS, recurrent_params
from rnn_core.studies.study import (
    Trained,
)

ROUNDING = 1e-10  # what float64 leaves of two ways to add up the same
SHOWN = 3  # sequences of the table of shapes: no other axis is that long


class Row(NamedTuple):
    """One array that a network hands back: its shape here and in torch, and how far the values lie apart."""

    network: str
    array: str
    shape: tuple[int, ...]
    torch_shape: tuple[int, ...] | None  # None without torch
    difference: float | None  # None without torch, or where the shapes differ


def compared(name: str, one: Trained, x: Array) -> list[Row]:
    """What a trained network hands back for x (N, T, I), beside what torch's own does with the same parameters."""
    model, params = one.variant.model, recurrent_params(one)
    options: dict[str, Any] = {"num_layers": model.num_layers, "bidirectional": model.bidirectional}
    output, (h_n, c_n), _ = recurrent(params, x[None], cell="lstm", **options)
    ours = {"output": output[0], "h_n": h_n[0], "c_n": c_n[0]}
    theirs: Params = {}
    if find_spec("torch") is not None:
        from rnn_core.nn.engines.torch_engine import reference

        theirs = reference(model, params, x)
    return [_row(name, array, value, theirs.get(array)) for array, value in ours.items()]


def _row(network: str, array: str, ours: Array, theirs: Array | None) -> Row:
    if theirs is None or ours.shape != theirs.shape:
        return Row(network, array, ours.shape, None if theirs is None else theirs.shape, None)
    return Row(network, array, ours.shape, theirs.shape, float(np.abs(ours - theirs).max()))


def markdown(table: list[Row], say: Say) -> str:
    """The shapes as a table."""
    here, there, apart = (
        say("here", "이 프로젝트"),
        "torch",
        say("largest difference", "가장 큰 차이"),
    )
    lines = [
        f"| {say('network', '신경망')} | | {here} | {there} | {apart} |",
        "|---|---|---|---|---|",
    ]
    for row in table:
        difference = "–" if row.difference is None else f"{row.difference:.1e}"
        lines.append(
            f"| {row.network} | {row.array} | {row.shape} | {row.torch_shape or '–'} | {difference} |"
        )
    axes = say(
        f"N = {SHOWN} sequences, T = {STEPS} steps, H = {HIDDEN} units, D directions, L layers: "
        "output (N, T, D·H), h_n and c_n (D·L, N, H).",
        f"시퀀스 N = {SHOWN}개, T = {STEPS}단계, 유닛 H = {HIDDEN}개, 방향 D, 층 L: "
        "output (N, T, D·H), h_n과 c_n (D·L, N, H).",
    )
    absent = say("torch is not installed.", "torch가 설치되어 있지 않다.")
    return "\n".join(
        [*lines, "", axes, *([] if any(row.torch_shape for row in table) else [absent]), ""]
    )
