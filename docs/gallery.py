"""Run every lesson at full size and write what came out: `docs/studies.md`, its figures, and the table in the README.

Run it from the checkout with `make gallery`.
"""

import re
from pathlib import Path

from flows.study import Outcome, study
from flows.tracking.records import drawn
from rnn_core.studies import LESSONS

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- lessons: written by make gallery -->\n", "<!-- end of lessons -->"


def chapter(outcome: Outcome) -> str:
    """A heading, the findings, every figure and the numbers of one lesson."""
    graphs = [(outcome.name, file) for file in drawn(outcome.finding.files)]
    pictures = [
        f"![{name}: {file}](images/studies/{name}/{file})"
        for name, file in _pictures(outcome) + graphs
    ]
    metrics = ", ".join(f"`{name}` {value:.4g}" for name, value in outcome.finding.metrics.items())
    tables = [text for name, text in outcome.finding.files.items() if name.endswith(".md")]
    seconds = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in outcome.seconds.items())
    numbers = f"{metrics}. Training: {seconds}."
    return "\n\n".join(
        [f"## {outcome.name}", " ".join(outcome.finding.sentences), *pictures, *tables, numbers]
    )


def row(outcome: Outcome) -> str:
    """The lesson in the README: its first figure and two sentences."""
    name, file = _pictures(outcome)[0]
    picture = f'<img src="docs/images/studies/{name}/{file}" alt="{name}" width="360">'
    return f"| `{name}`<br>{picture} | {' '.join(outcome.finding.sentences[:2])} |"


def _pictures(outcome: Outcome) -> list[tuple[str, str]]:
    return [(outcome.name, file) for file in outcome.finding.figures]


def main() -> None:
    """Run the lessons, one after the other."""
    outcomes = []
    for name in LESSONS:
        outcome = study(name=name)
        folder = DOCS / "images" / "studies" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, figure in outcome.finding.figures.items():
            figure.savefig(folder / file)
        for file, graph in drawn(outcome.finding.files).items():
            (folder / file).write_text(graph, encoding="utf-8")
        outcomes.append(outcome)
    head = "# The lessons, as they came out\n\nEvery sentence and number is computed by the run that drew the figures."
    page = "\n\n".join([head, *map(chapter, outcomes)])
    (DOCS / "studies.md").write_text(page + "\n", encoding="utf-8")
    table = "\n".join(["| lesson | what came out |", "|---|---|", *map(row, outcomes)])
    readme = README.read_text(encoding="utf-8")
    written = re.sub(f"(?s){BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table}\n\n{END}", readme)
    README.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
