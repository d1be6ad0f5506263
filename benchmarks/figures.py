"""Figures of the measured ratios and growth, drawn from the files in `results`."""

import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm

from benchmarks.rounds import RESULTS, engine_name
from rnn_core.reporting.figures import BLUE, GREY, ORANGE, canvas, canvases, style

COMPARED = ("seed-loop", "torch", "universe", "peers")
COLOURS = {True: BLUE, False: ORANGE}
LABELS = {True: "the kernel", False: engine_name(False)}
PLACES: dict[bool, dict[str, Any]] = {  # of a ratio next to its point
    True: {"ha": "left", "xytext": (6, 0)},
    False: {"ha": "right", "xytext": (-6, 0)},
}


def draw() -> None:
    """Write `speed.svg`, `growth.svg` and `grid.svg`, each if there is something to show."""
    compared = [row for name in COMPARED for row in rows(name)]
    grown = rows("growth")
    with style():
        if compared:
            speed(compared)
        if grown:
            growth(grown)
        if sampled := rows("grid"):
            grid(sampled)


def rows(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def speed(compared: list[dict[str, Any]]) -> None:
    """Draw the others' times in multiples of ours, one line each, on a logarithmic scale."""
    lines = list(dict.fromkeys(line_name(row) for row in compared))
    figure, axes = canvas("Time of others, in multiples of ours", height=1.2 + 0.32 * len(lines))
    for with_kernel in COLOURS:
        points = [
            (row["ratio"], lines.index(line_name(row)))
            for row in compared
            if row["kernel"] == with_kernel
        ]
        draw_ratios(axes, points, with_kernel)
    axes.axvline(1, color=GREY, linestyle="--", linewidth=1)
    axes.set(xscale="log", yticks=range(len(lines)), yticklabels=lines)
    axes.xaxis.set_major_formatter("{x:g} ×")
    axes.margins(x=0.1)
    axes.invert_yaxis()
    axes.legend(title="ours by", labelcolor="linecolor", frameon=False)
    figure.savefig(RESULTS / "speed.svg")


def draw_ratios(axes: Any, points: list[tuple[float, int]], with_kernel: bool) -> None:
    colour = COLOURS[with_kernel]
    for ratio, line in points:
        axes.annotate(
            f"{ratio:.3g}",
            (ratio, line),
            textcoords="offset points",
            va="center",
            color=colour,
            **PLACES[with_kernel],
        )
    axes.plot(*zip(*points, strict=True), "o", color=colour, label=LABELS[with_kernel])


def line_name(row: dict[str, Any]) -> str:
    return f"{row['against']}: {row['case']}"


def growth(grown: list[dict[str, Any]]) -> None:
    """Draw time and memory by size, on logarithmic scales."""
    cases = list(dict.fromkeys(row["case"] for row in grown))
    figure, plots = canvases("Time of an epoch and peak memory, by size", 2, 2, height=7)
    for axes, case in zip(plots.flat, cases, strict=True):
        for row in grown:
            if row["case"] == case:
                draw_growth(axes, row)
        if case == "memory":
            axes.set_xlabel("models")
            axes.set_ylim(0, 1.5 * max(axes.get_ylim()))
        else:
            axes.set_xlabel(case)
            axes.set_yscale("log")
        axes.legend(labelcolor="linecolor", frameon=False)
    figure.savefig(RESULTS / "growth.svg")


def draw_growth(axes: Any, row: dict[str, Any]) -> None:
    power = "" if row["exponent"] is None else f", power {row['exponent']:.2f}"
    label = f"{LABELS[row['kernel']]}{power}"
    axes.semilogx(row["sizes"], row["median"], "o-", color=COLOURS[row["kernel"]], label=label)
    axes.set_ylabel(row["unit"])


def grid(sampled: list[dict[str, Any]]) -> None:
    """Draw the geometric mean of torch's times in multiples of ours, by network and hidden size."""
    table = pd.DataFrame(sampled)
    directions = table["directions"].map({1: "one direction", 2: "both directions"})
    table["network"] = table["cell"] + ", " + table["layers"].astype(str) + " × " + directions
    table["log"] = np.log10(table["ratio"])
    shown = 10 ** table.pivot_table("log", "network", "hidden", sort=True)
    figure, axes = canvas(
        "Time of torch, in multiples of ours: means of a sample", height=1.5 + 0.3 * len(shown)
    )
    axes.grid(visible=False)
    axes.imshow(shown, cmap="RdYlGn", norm=LogNorm(0.1, 10), aspect="auto", interpolation="nearest")
    for (y, x), ratio in np.ndenumerate(shown.to_numpy()):
        if np.isfinite(ratio):
            axes.annotate(f"{ratio:.3g}", (x, y), ha="center", va="center")
    axes.set(
        xlabel="hidden units",
        xticks=range(shown.shape[1]),
        xticklabels=shown.columns,
        yticks=range(len(shown)),
        yticklabels=shown.index,
    )
    figure.savefig(RESULTS / "grid.svg")
