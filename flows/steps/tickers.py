"""Work on many tickers, where one that fails does not stop the others."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from prefect import get_run_logger
from prefect.runtime import flow_run

from flows.steps.prefect_runs import announce
from rnn_core.errors import RnnflowError
from rnn_core.safe_text import safe

LONGEST_REASON = 500  # characters
LONGEST_TEXT = 5000  # characters of an event

T = TypeVar("T")


class Outcomes(dict[str, T]):
    """The result of each ticker that succeeded; `failed` has the reason of each that did not."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: dict[str, str] = {}

    def attempt(self, ticker: str, work: Callable[[], T]) -> None:
        """Keep what `work` returns for a ticker; if it raises, keep and log the reason."""
        try:
            self[ticker] = work()
        except Exception as error:  # noqa: BLE001 - the others must go on, whatever it was
            reason = " ".join(safe(f"{type(error).__name__}: {error}").split())
            self.failed[ticker] = reason[:LONGEST_REASON]
            get_run_logger().error("%s failed: %s", ticker, self.failed[ticker])

    def announce_failures(self) -> None:
        """Emit `rnnflow.failure` with every reason, if there is one."""
        if self.failed:
            text = "; ".join(f"{ticker}: {reason}" for ticker, reason in self.failed.items())
            announce("failure", str(flow_run.flow_name), text[:LONGEST_TEXT])

    def refuse_if_all_failed(self) -> None:
        """Raise an error that names the first reason if no ticker succeeded."""
        if self.failed and not self:
            ticker, reason = next(iter(self.failed.items()))
            raise RnnflowError(
                f"all {len(self.failed)} tickers failed, the first of them {ticker}: {reason}"
            )


def for_each(tickers: Iterable[str], work: Callable[[str], T]) -> Outcomes[T]:
    """Return what `work` returns for each ticker; raise the error of a single ticker as it is."""
    outcomes = Outcomes[T]()
    names = list(tickers)
    if len(names) == 1:
        outcomes[names[0]] = work(names[0])
        return outcomes
    for ticker in names:
        outcomes.attempt(ticker, partial(work, ticker))
    outcomes.announce_failures()
    outcomes.refuse_if_all_failed()
    return outcomes
