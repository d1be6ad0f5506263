"""The figures of what was measured: ratios and growth, drawn from the files in `results`."""

import json
from typing import Any

from benchmarks.rounds import RESULTS
from rnn_core.reporting.figures import BLUE, GREY, ORANGE, canvas, canvases, style

COMPARED = ("seed-loop", "torch", "universe", "peers")
COLOURS = {True: BLUE, False: ORANGE}
NAMES = {True: "the kernel", False: "NumPy"}


def draw() -> None:
    """Write `speed.svg` and `growth.svg`, each if there is something to show."""
    compared = [row for name in COMPARED for row in rows(name)]
    with style():
        if compared:
            speed(compared)
        if grown := rows("growth"):
            growth(grown)


def rows(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def speed(compared: list[dict[str, Any]]) -> None:
    """How many times as long the others take, a line for each, on a logarithmic scale."""
    lines = list(dict.fromkeys(named(row) for row in compared))
    figure, axes = canvas("Time of others, in multiples of ours", height=1.2 + 0.32 * len(lines))
    for own, colour in COLOURS.items():
        points = [
            (row["ratio"], lines.index(named(row))) for row in compared if row["kernel"] == own
        ]
        place: Any = {"ha": "left", "xytext": (6, 0)} if own else {"ha": "right", "xytext": (-6, 0)}
        for point in points:
            axes.annotate(
                f"{point[0]:.3g}",
                point,
                textcoords="offset points",
                va="center",
                color=colour,
                **place,
            )
        axes.plot(*zip(*points, strict=True), "o", color=colour, label=NAMES[own])
    axes.axvline(1, color=GREY, linestyle="--", linewidth=1)
    axes.set(xscale="log", yticks=range(len(lines)), yticklabels=lines)
    axes.xaxis.set_major_formatter("{x:g} ×")
    axes.margins(x=0.1)
    axes.invert_yaxis()
    axes.legend(title="ours by", labelcolor="linecolor", frameon=False)
    figure.savefig(RESULTS / "speed.svg")


def named(row: dict[str, Any]) -> str:
    return f"{row['against']}: {row['case']}"


def growth(grown: list[dict[str, Any]]) -> None:
    """Time and memory by size, on logarithmic scales."""
    cases = list(dict.fromkeys(row["case"] for row in grown))
    figure, plots = canvases("Time of an epoch and peak memory, by size", 2, 2, height=7)
    for axes, case in zip(plots.flat, cases, strict=True):
        for row in (row for row in grown if row["case"] == case):
            power = "" if row["exponent"] is None else f", power {row['exponent']:.2f}"
            line = f"{NAMES[row['kernel']]}{power}"
            axes.semilogx(
                row["sizes"], row["median"], "o-", color=COLOURS[row["kernel"]], label=line
            )
        axes.set(xlabel="models" if case == "memory" else case, ylabel=row["unit"])
        if case == "memory":
            axes.set_ylim(0, 1.5 * max(axes.get_ylim()))
        else:
            axes.set_yscale("log")
        axes.legend(labelcolor="linecolor", frameon=False)
    figure.savefig(RESULTS / "growth.svg")
