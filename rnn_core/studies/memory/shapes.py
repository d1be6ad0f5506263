"""The arrays that a network returns, compared with torch's."""

from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import recurrent
from rnn_core.reporting.figures import Say
from rnn_core.studies.memory.cell import HIDDEN, STEPS, recurrent_params
from rnn_core.studies.study import Trained

SHOWN = 3  # sequences in the table; no other axis has this length


class Row(NamedTuple):
    """One array that a network returns.

    Attributes:
        network: its name.
        array: `output`, `h_n` or `c_n`.
        shape: of the array here.
        torch_shape: of torch's array; None without torch.
        difference: largest one of the values; None without torch or if the shapes differ.
    """

    network: str
    array: str
    shape: tuple[int, ...]
    torch_shape: tuple[int, ...] | None
    difference: float | None


def compared(name: str, trained: Trained, x: Array) -> list[Row]:
    """Compare what a network returns for x (N, T, I) with torch's with the same parameters."""
    model = trained.variant.model
    params = recurrent_params(trained)
    output, (h_n, c_n), _ = recurrent(
        params,
        x[None],
        cell="lstm",
        num_layers=model.num_layers,
        bidirectional=model.bidirectional,
    )
    ours = {"output": output[0], "h_n": h_n[0], "c_n": c_n[0]}
    theirs: Params = {}
    if find_spec("torch") is not None:
        from rnn_core.nn.torch_bridge import reference

        theirs = reference(model, params, x)
    return [_row(name, array, value, theirs.get(array)) for array, value in ours.items()]


def _row(network: str, array: str, ours: Array, theirs: Array | None) -> Row:
    if theirs is None:
        return Row(network, array, ours.shape, None, None)
    if ours.shape != theirs.shape:
        return Row(network, array, ours.shape, theirs.shape, None)
    return Row(network, array, ours.shape, theirs.shape, float(np.abs(ours - theirs).max()))


def markdown(table: list[Row], say: Say) -> str:
    """Return the table in Markdown, with the meaning of the axes below it."""
    here = say("here", "이 프로젝트")
    apart = say("largest difference", "가장 큰 차이")
    axes = say(
        f"N = {SHOWN} sequences, T = {STEPS} steps, H = {HIDDEN} units, D directions, L layers: "
        "output (N, T, D·H), h_n and c_n (D·L, N, H).",
        f"시퀀스 N = {SHOWN}개, 시점 T = {STEPS}개, 유닛 H = {HIDDEN}개, 방향 D, 층 L: "
        "output (N, T, D·H), h_n과 c_n (D·L, N, H).",
    )
    lines = [
        f"| {say('network', '신경망')} | | {here} | torch | {apart} |",
        "|---|---|---|---|---|",
        *map(_line, table),
        "",
        axes,
    ]
    if not any(row.torch_shape for row in table):
        lines.append(say("torch is not installed.", "torch가 설치되어 있지 않다."))
    return "\n".join([*lines, ""])


def _line(row: Row) -> str:
    difference = "–" if row.difference is None else f"{row.difference:.1e}"
    return (
        f"| {row.network} | {row.array} | {row.shape} | {row.torch_shape or '–'} | {difference} |"
    )
