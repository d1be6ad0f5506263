"""What all figures share: colours, fonts, the two languages and empty plots in one style."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes as Axes
from matplotlib.figure import Figure as Figure
from matplotlib.font_manager import fontManager

# Also distinguishable with a colour-vision deficiency
BLUE, ORANGE, RED, PURPLE, GREY, _ = mpl.color_sequences["petroff6"]
HIT = BLUE
MISS = ORANGE
DARK_GREY = "0.35"  # of notes in a plot
DASHED: Any = {"color": GREY, "linestyle": "--", "linewidth": 1}  # a line to compare with

Figures: TypeAlias = dict[str, Figure]
"""Figures by file name."""

Say: TypeAlias = Callable[[str, str], str]
"""Chooses between a text in English and the same in Korean."""

Sides: TypeAlias = tuple[float, float]
"""Inches left and right of a plot; without them Matplotlib measures the labels, which is slow."""

HANGUL_FONTS = ("NanumGothic", "Noto Sans CJK KR", "Noto Sans KR", "Malgun Gothic", "AppleGothic")
MOST_DATES = 6  # on an axis
WIDTH = 8.0  # inches
ABOVE = 0.4  # inches above a plot, for its title
BELOW = 0.65  # inches below a plot, for its ticks and their label
X_LABEL = 0.36  # inches from the lower edge of a figure with `sides` to the top of its x label
Y_LABEL = 0.3  # inches from its left edge to the right side of its y label
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titley": 1.0,  # the place it has anyway; to search for it takes a tenth of the time
    "figure.dpi": 120,
    "font.size": 11,
}


def canvas(title: str, height: float = 4.5, sides: Sides | None = None) -> tuple[Figure, Axes]:
    """Return a figure of one empty plot; with `sides` it renders in half the time."""
    figure, ((axes,),) = canvases(title, height=height, constrained=not sides)
    if sides:
        left, right = sides
        plot_width = WIDTH - left - right
        plot_height = height - ABOVE - BELOW
        figure.subplots_adjust(
            left / WIDTH,
            BELOW / height,
            left / WIDTH + plot_width / WIDTH,
            BELOW / height + plot_height / height,
        )
        # Labels that place themselves measure all ticks again, to keep clear of them
        axes.xaxis.set_label_coords(0.5, (X_LABEL - BELOW) / plot_height)
        axes.yaxis.set_label_coords((Y_LABEL - left) / plot_width, 0.5)
    return figure, axes


def canvases(
    title: str, rows: int = 1, columns: int = 1, height: float = 4.5, constrained: bool = True
) -> tuple[Figure, Any]:
    """Return a figure of empty plots, and the array (rows, columns) of their axes.

    If `constrained`, Matplotlib computes the room that each plot needs.
    """
    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained" if constrained else None)
        axes = figure.subplots(rows, columns, squeeze=False)
        if axes.size == 1:
            axes[0, 0].set_title(title, fontsize=12)
        else:
            figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return figure, axes


def style() -> AbstractContextManager[None]:
    """Return the context of the common style; text with Hangul must be drawn in it."""
    hangul = hangul_font()
    fonts = {"font.family": ["DejaVu Sans", hangul]} if hangul else {}
    return mpl.rc_context(STYLE | fonts)


@cache
def hangul_font() -> str | None:
    """Return the name of a font with Hangul, or None if there is none.

    The font of koreanize-matplotlib is preferred to those of the system.
    """
    package = find_spec("koreanize_matplotlib")
    for folder in (package and package.submodule_search_locations) or ():
        for file in sorted(Path(folder).rglob("NanumGothic*.ttf")):
            fontManager.addfont(file)
    installed = {font.name for font in fontManager.ttflist}
    return next((name for name in HANGUL_FONTS if name in installed), None)


def english(english: str, korean: str) -> str:
    """Return the English text."""
    return english


def korean(english: str, korean: str) -> str:
    """Return the Korean text."""
    return korean


def label(axes: Axes, text: str, x: float, y: float, colour: Any) -> None:
    """Write the name of a line at its right end (x, y)."""
    axes.annotate(
        text, (x, y), xytext=(6, 0), textcoords="offset points", color=colour, va="center"
    )


def mark_sessions(axes: Axes, sessions: "pd.Index[Any]") -> None:
    """Write at most six evenly spaced dates on an x axis whose unit is one session."""
    step = -(-len(sessions) // MOST_DATES)
    marks = range(0, len(sessions), step)
    axes.set_xticks(marks, [f"{sessions[mark]:%Y-%m-%d}" for mark in marks])


def rendered(figures: Figures) -> dict[str, bytes]:
    """Return the figures as PNG, by file name."""
    return {name: _png(figure) for name, figure in figures.items()}


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    # This level makes the file a seventh larger in half the time
    figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 3})
    return buffer.getvalue()
