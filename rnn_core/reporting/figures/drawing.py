"""What all figures are drawn on: colours, fonts, languages and empty plots of one look."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes as Axes
from matplotlib.figure import Figure as Figure
from matplotlib.font_manager import fontManager

BLUE, ORANGE, RED, PURPLE, GREY, _ = mpl.color_sequences[
    "petroff6"
]  # told apart with colour-vision deficiency too
HIT, MISS = BLUE, ORANGE
Figures: TypeAlias = dict[str, Figure]
"""Figures by file name."""

Say: TypeAlias = Callable[[str, str], str]
"""Chooses between a text in English and the same in Korean."""

Sides: TypeAlias = tuple[float, float]
"""Inches left and right of a plot; where they are not given, what stands there is measured, which takes time."""

HANGUL_FONTS = ("NanumGothic", "Noto Sans CJK KR", "Noto Sans KR", "Malgun Gothic", "AppleGothic")
COIN_TOSS = float(np.log(2))
WIDTH, ABOVE, BELOW = (
    8.0,
    0.4,
    0.65,
)  # inches; above a plot is its title, below it are its ticks and their label
X_LABEL, Y_LABEL = (
    0.36,
    0.3,
)  # inches from the lower and the left edge of a figure with `sides`: where labels end
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titley": 1.0,  # where it stands anyway; looked for, it takes a tenth of the time
    "figure.dpi": 120,
    "font.size": 11,
}


def rendered(figures: Figures) -> dict[str, bytes]:
    """The figures as PNG, by file name."""

    def png(figure: Figure) -> bytes:
        buffer = BytesIO()
        figure.savefig(
            buffer, format="png", pil_kwargs={"compress_level": 3}
        )  # a seventh larger, in half the time
        return buffer.getvalue()

    return {name: png(figure) for name, figure in figures.items()}


def english(english: str, korean: str) -> str:
    """Chooses English."""
    return english


def korean(english: str, korean: str) -> str:
    """Chooses Korean."""
    return korean


@cache
def hangul_font() -> str | None:
    """The name of a font with Hangul: the one that koreanize-matplotlib brings, else one of the system's, if any."""
    package = find_spec("koreanize_matplotlib")
    for folder in (package and package.submodule_search_locations) or ():
        for file in sorted(Path(folder).rglob("NanumGothic*.ttf")):
            fontManager.addfont(file)
    there = {font.name for font in fontManager.ttflist}
    return next((name for name in HANGUL_FONTS if name in there), None)


def mark_sessions(axes: Axes, sessions: "pd.Index[Any]") -> None:
    """At most six dates, evenly, along an x axis on which sessions, or the first ones of folds, are one apart."""
    marks = range(0, len(sessions), -(-len(sessions) // 6))
    axes.set_xticks(marks, [f"{sessions[mark]:%Y-%m-%d}" for mark in marks])


def label(axes: Axes, text: str, x: float, y: float, colour: Any) -> None:
    """Name a line at its right end."""
    axes.annotate(
        text, (x, y), xytext=(6, 0), textcoords="offset points", color=colour, va="center"
    )


def canvas(title: str, height: float = 4.5, sides: Sides | None = None) -> tuple[Figure, Axes]:
    """A figure of one plot; with `sides` it takes half the time to render."""
    figure, ((axes,),) = canvases(title, height=height, constrained=not sides)
    if sides:
        wide, high = WIDTH - sum(sides), height - ABOVE - BELOW
        left, bottom = sides[0] / WIDTH, BELOW / height
        figure.subplots_adjust(left, bottom, left + wide / WIDTH, bottom + high / height)
        # Labels that find their own places ask all ticks again, to stand clear of them.
        axes.xaxis.set_label_coords(0.5, (X_LABEL - BELOW) / high)
        axes.yaxis.set_label_coords((Y_LABEL - sides[0]) / wide, 0.5)
    return figure, axes


def canvases(
    title: str, rows: int = 1, columns: int = 1, height: float = 4.5, constrained: bool = True
) -> tuple[Figure, Any]:
    """A figure of rows × columns plots, and the array of them; `constrained`, Matplotlib finds the room for each."""
    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained" if constrained else None)
        axes = figure.subplots(rows, columns, squeeze=False)
        if axes.size == 1:
            axes[0, 0].set_title(title, fontsize=12)
        else:
            figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return figure, axes


def style() -> AbstractContextManager[None]:
    """What all figures have in common; what holds Hangul is to be drawn under it, for its font."""
    hangul = hangul_font()
    return mpl.rc_context(STYLE | ({"font.family": ["DejaVu Sans", hangul]} if hangul else {}))
