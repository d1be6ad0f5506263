"""The figure of an audit: how often skill is found, by the direction that was planted."""

from matplotlib.ticker import PercentFormatter

from rnn_core.evaluation.audit import Findings
from rnn_core.evaluation.metrics import CHANCE
from rnn_core.evaluation.significance import ALPHA
from rnn_core.reporting.figures.drawing import BLUE, DARK_GREY, DASHED, RED, Figure, canvas, label


def power_curve(findings: Findings, title: str) -> Figure:
    """Return the share of surrogates with skill by the planted probability, ½ being none."""
    subject = f"{title}: skill found in surrogates, {findings.test_days:,} test days"
    figure, axes = canvas(subject, sides=(0.9, 0.7))
    by_edge = {CHANCE: findings.false_skill, **dict(sorted(findings.power.items()))}
    axes.axhline(ALPHA, **DASHED)
    axes.plot(list(by_edge), [count.rate for count in by_edge.values()], color=BLUE)
    for edge, count in by_edge.items():
        low, high = count.interval
        reach = [[count.rate - low], [high - count.rate]]
        colour = RED if edge == CHANCE else BLUE
        axes.errorbar([edge], [count.rate], reach, color=colour, fmt="o", capsize=3)
    right = max(by_edge) + 0.005
    label(axes, f"{ALPHA:.0%}", right, ALPHA, DARK_GREY)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(
        xlabel="chance that a day moves as the day before did; 50 % is no direction",
        ylabel="series with skill (95 % interval)",
        xlim=(CHANCE - 0.005, right),
        ylim=(0, 1.02),
    )
    axes.set_xticks(list(by_edge))
    return figure
