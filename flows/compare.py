"""Flow `compare`: two runs side by side. Run it with `python -m flows.compare --runs A B`.

It looks at what was evaluated before: it trains nothing, registers nothing and is no further look.
"""

from dataclasses import dataclass

from prefect.runtime import flow_run as this_run
from rich.console import JustifyMethod
from rich.table import Table

from flows import command_line
from flows.steps.command_flow import command_flow
from flows.steps.prefect_runs import publish
from flows.tracking import answers, calls, compared, runs
from rnn_core import commands
from rnn_core.errors import ConfigError
from rnn_core.evaluation import comparison as evaluated
from rnn_core.evaluation.comparison import Comparison
from rnn_core.reporting import side_by_side as pages
from rnn_core.reporting.side_by_side import Rows, Side


@dataclass(frozen=True)
class Compared:
    """The comparison of two runs, what is known about each, and where the page and the run are."""

    a: Side
    b: Side
    comparison: Comparison
    page: str
    how_to_open: str

    def tables(self) -> list[Table]:
        """Return the tables for the terminal; one without rows is left out."""
        texts = {
            "settings that differ": pages.settings_rows(self.a, self.b),
            "what else differs": pages.facts_rows(self.a, self.b, self.comparison),
        }
        numbers = {
            "on the common days": pages.loss_rows(self.comparison),
            "": pages.accuracy_rows(self.comparison),
        }
        return [
            *(_table(title, rows) for title, rows in texts.items() if rows),
            *(_table(title, rows, justify="right") for title, rows in numbers.items()),
        ]


@command_flow(commands.Compare, flow_run_name="compare")
def compare(config: commands.Compare) -> Compared:
    """Return the comparison of the two runs."""
    run_a, run_b = (compared.find(name) for name in config.runs)
    if run_a.info.run_id == run_b.info.run_id:
        raise ConfigError(f"runs: {' and '.join(config.runs)} are the same run")
    comparison = evaluated.compare(*(calls.read(run) for run in (run_a, run_b)))
    return _recorded(config, compared.side(run_a), compared.side(run_b), comparison)


def _recorded(config: commands.Compare, a: Side, b: Side, comparison: Comparison) -> Compared:
    """Record the comparison in MLflow and as an artifact of Prefect."""
    tags = {"runs.a": a.run_id, "runs.b": b.run_id}
    subject = " and ".join(config.runs)
    with runs.start("compare", subject, config, tags, str(this_run.id)) as run_id:
        images = pages.comparison_figures(comparison)
        page = pages.comparison_page(a, b, comparison, images)
        answers.log_comparison(run_id, comparison, images, page)
    headline = answers.headline(comparison)
    publish(f"{headline}\n\n[Run]({runs.url(run_id)})", key="compare")
    where = runs.address(run_id, "report.html")
    return Compared(a, b, comparison, page=where, how_to_open=runs.how_to_open(run_id))


def main(config: commands.Compare) -> None:
    """Run the flow in this process and print how the two runs differ."""
    done = compare(**dict(config))
    command_line.say(f"A: {done.a.title}, run {done.a.run_id}")
    command_line.say(f"B: {done.b.title}, run {done.b.run_id}")
    for table in done.tables():
        command_line.show(table)
    command_line.say(f"{done.comparison.headline}: {done.comparison.reason}")
    command_line.say(f"page: {done.page}")
    command_line.say(f"MLflow: {done.how_to_open}")


def _table(title: str, rows: Rows, justify: JustifyMethod = "left") -> Table:
    """Return a table of rows; `justify` holds for all columns but the first."""
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, justify=justify if number else "left")
    for row in rows:
        table.add_row(*row.values())
    return table


if __name__ == "__main__":
    command_line.run(commands.Compare, main)
