"""Run every study at full size, and write `docs/studies.md`, its figures and the README's table.

Run it from the checkout with `make gallery`.
"""

import re
from pathlib import Path

from flows.study import Outcome, study
from flows.tracking.answers import drawn
from rnn_core.studies import STUDIES

DOCS = Path(__file__).parent
IMAGES = DOCS / "images" / "studies"
PAGE = DOCS / "studies.md"
README = DOCS.parent / "README.md"
BEGIN = "<!-- lessons: written by make gallery -->\n"
END = "<!-- end of lessons -->"


def chapter(outcome: Outcome) -> str:
    """Return the chapter of a study: its sentences, every figure, tables and numbers."""
    name = outcome.name
    finding = outcome.finding
    files = [*finding.figures, *drawn(finding.files)]
    pictures = [f"![{name}: {file}](images/studies/{name}/{file})" for file in files]
    tables = [text for file, text in finding.files.items() if file.endswith(".md")]
    metrics = ", ".join(f"`{metric}` {value:.4g}" for metric, value in finding.metrics.items())
    seconds = ", ".join(f"{variant} {time:.1f} s" for variant, time in outcome.seconds.items())
    numbers = f"{metrics}. Training: {seconds}."
    return "\n\n".join([f"## {name}", " ".join(finding.sentences), *pictures, *tables, numbers])


def row(outcome: Outcome) -> str:
    """Return the row of a study in the README: its first figure and two sentences."""
    name = outcome.name
    file = next(iter(outcome.finding.figures))
    picture = f'<img src="docs/images/studies/{name}/{file}" alt="{name}" width="360">'
    return f"| `{name}`<br>{picture} | {' '.join(outcome.finding.sentences[:2])} |"


def write_figures(outcome: Outcome) -> None:
    """Write the figures and graphs of a study."""
    folder = IMAGES / outcome.name
    folder.mkdir(parents=True, exist_ok=True)
    for file, figure in outcome.finding.figures.items():
        figure.savefig(folder / file)
    for file, graph in drawn(outcome.finding.files).items():
        (folder / file).write_text(graph, encoding="utf-8")


def write_page(outcomes: list[Outcome]) -> None:
    """Write `docs/studies.md`."""
    blocks = [
        "# The studies and their results",
        "The run that drew the figures computed every sentence and number.",
        *map(chapter, outcomes),
    ]
    PAGE.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def write_table(outcomes: list[Outcome]) -> None:
    """Write the table in the README, between the two markers."""
    table = "\n".join(["| study | result |", "|---|---|", *map(row, outcomes)])
    readme = README.read_text(encoding="utf-8")
    written = re.sub(f"(?s){BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table}\n\n{END}", readme)
    README.write_text(written, encoding="utf-8")


def main() -> None:
    """Run the studies, one after the other."""
    outcomes = []
    for name in STUDIES:
        outcome = study(name=name)
        write_figures(outcome)
        outcomes.append(outcome)
    write_page(outcomes)
    write_table(outcomes)


if __name__ == "__main__":
    main()
