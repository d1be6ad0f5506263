"""Every error this project raises on purpose.

    RnnflowError
    ├── ConfigError         a value of the configuration cannot be used
    ├── DataError           prices were found and are unfit to train on
    ├── PricesUnavailable   prices could not be fetched just now
    ├── ArrayError          an array argument has the wrong shape, type or content
    ├── TrainingError       no model could be trained
    ├── ProcessLost         a worker process died
    ├── TrackingError       the tracking server or its store cannot be used
    │   ├── NotFound        it does not know the run, version or file it is asked for
    │   └── FileDamaged     a file of a run is missing or has changed
    ├── ChampionMissing     a ticker has no champion, or it was deleted
    │   └── ChampionDamaged a file of a champion is missing or has changed
    ├── ReproductionError   a run cannot be repeated, or gives other bits
    ├── StackError          a program of the stack cannot be kept alive
    └── LedgerError         the ledger's database cannot be used or refuses a change

A message is one line: the option, what was given, what is allowed, what to do. The flows print it
without a traceback.
"""

from rnn_core.safe_text import safe


class RnnflowError(Exception):
    """Base of every error below; its message holds no password and no control character."""

    def __init__(self, message: str = "") -> None:
        super().__init__(safe(message))


class ConfigError(RnnflowError, ValueError):
    """A value of the configuration cannot be used; the message names the field."""


class DataError(RnnflowError, ValueError):
    """Prices were found and are unfit to train on; the message names the file, column or rows."""


class PricesUnavailable(RnnflowError):
    """Prices could not be fetched just now.

    Attributes:
        transient: True if asking again soon may help (a rate limit, a server error), False if not
            (no network, an unknown ticker).
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class ArrayError(RnnflowError, ValueError):
    """An array argument has the wrong shape, type or content; the message names it."""


class TrainingError(RnnflowError):
    """No model could be trained: too few rows, or every model turned non-finite."""


class ProcessLost(RnnflowError):
    """A worker process died before it returned a result."""


class TrackingError(RnnflowError):
    """The tracking server or its store cannot be used; the message names its address."""


class NotFound(TrackingError):
    """The tracking server does not know the run, version or file that it is asked for."""


class FileDamaged(TrackingError):
    """A file of a run is missing or has changed since it was written; the message names both."""


class ChampionMissing(RnnflowError):
    """A ticker has no champion, or it was deleted; the message says how to get one."""


class ChampionDamaged(ChampionMissing):
    """A file of a champion is missing or has changed; the message names it and says what to do."""


class ReproductionError(RnnflowError):
    """A run cannot be repeated, or gives other bits than it recorded; the message names the run."""


class StackError(RnnflowError):
    """A program of the stack cannot be kept alive; the message ends with its log's last lines."""


class LedgerError(RnnflowError):
    """The ledger's database cannot be used or refuses; the message names it or the ticker."""
