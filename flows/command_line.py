"""Run a flow from the shell: the options are the config tree, and an error is one line."""

import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn, TypeVar, get_origin

from httpx import HTTPError
from pydantic import AliasChoices, BaseModel, Field, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows import RUN_LOGGERS, WITHOUT_TRACEBACK
from rnn_core import errors
from rnn_core.errors import RnnflowError
from rnn_core.nn.memory import tune_process
from rnn_core.safe_text import safe

Config = TypeVar("Config", bound=BaseModel)
OUR_ERROR = re.compile(
    "|".join(rf"\b{name}\b" for name, value in vars(errors).items() if isinstance(value, type))
)
BACKGROUND_LOGGERS = ("prefect.events", "prefect._internal.concurrency")
FAILED = 1
BAD_OPTIONS = 2
SIGNALLED = 128  # plus the number of the signal, as shells have it
# Pydantic's errors whose message has the value already, or that have none
WITHOUT_VALUE = {
    "assertion_error",
    "missing",
    "union_tag_invalid",
    "union_tag_not_found",
    "value_error",
}


class _CommandLine(BaseSettings):
    """Options by the dotted names of the tree; environment variables are not read."""

    model_config = SettingsConfigDict(
        nested_model_default_partial_update=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_parse_none_str="null",
    )

    verbose: bool = Field(
        False, validation_alias=AliasChoices("v", "verbose"), description="Show tracebacks"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def run(
    config_class: type[Config],
    main: Callable[[Config], None],
    first: Callable[[Config], None] = lambda config: None,
    *,
    asks_prefect: bool = True,
) -> None:
    """Parse the command line into `config_class` and call `main`.

    Exits with 1 after an error of this project, with 2 after bad options, with 143 after SIGTERM.
    `first` is called before `main`, to import Prefect if the module of `main` does not: the
    handlers of Prefect's console must exist by then, to leave out the errors that are printed here.
    `asks_prefect` is False for what starts Prefect's server itself.
    """
    signal.signal(signal.SIGTERM, _end_in_order)
    tune_process()
    sys.excepthook = _report
    threading.excepthook = lambda args: _report(args.exc_type, args.exc_value)
    config, verbose = _parsed(config_class)
    first(config)
    if asks_prefect:
        _refuse_absent_server()
    if verbose:
        for name in RUN_LOGGERS:
            logging.getLogger(name).removeFilter(WITHOUT_TRACEBACK)
        main(config)
        return
    try:
        if asks_prefect:
            _run_with_prefect(main, config)
        else:
            main(config)
    except RnnflowError as error:
        _exit(FAILED, str(error))


def _refuse_absent_server() -> None:
    """Exit if Prefect's server does not answer; without one, keep a copy of an older database."""
    from flows.steps import prefect_server  # imports Prefect

    if reason := prefect_server.why_absent():
        _exit(FAILED, prefect_server.absent(reason))
    try:
        if copy := prefect_server.copy_of_own_database():
            say(f"Prefect's database is of an older release and is migrated; its copy is {copy}")
    except RnnflowError as error:
        _exit(FAILED, str(error))


def _run_with_prefect(main: Callable[[Config], None], config: Config) -> None:
    """Call `main`; exit with one line if Prefect's server is lost meanwhile."""
    from flows.steps import prefect_server

    for handler in logging.getLogger().handlers:  # Prefect's console
        handler.addFilter(_is_news)
    _silence_reports_of_a_lost_server()
    try:
        with prefect_server.few_retries():
            main(config)
    except RnnflowError:
        raise
    except Exception as error:
        reason = prefect_server.why_absent()
        line = prefect_server.lost(reason) if reason else prefect_server.refused(error)
        if not line:
            raise
        _exit(FAILED, line)


class _Terminal(Console):
    """Prints text as it is: nothing in a name or a file is markup, an emoji or a control code."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text of a line, a cell or a title."""
        return super().render_str(safe(text), **options | {"markup": False, "emoji": False})


def show(table: Table) -> None:
    """Print a table."""
    _Terminal(soft_wrap=True).print(table)


def say(line: str) -> None:
    """Print a line."""
    _Terminal(soft_wrap=True).print(line, highlight=False)


def _parsed(config_class: type[Config]) -> tuple[Config, bool]:
    """Return the configuration on the command line, and whether to show tracebacks."""
    options_class: Any = create_model(config_class.__name__, __base__=(_CommandLine, config_class))
    options_class.__doc__ = config_class.__doc__
    try:
        words = _with_option_each(sys.argv[1:], _options_of_several(config_class))
        options: Any = CliApp.run(options_class, words, cli_exit_on_error=False)
    except SettingsError as error:
        _exit(BAD_OPTIONS, str(error).removeprefix("error parsing CLI: "))
    except ValidationError as error:
        _exit(BAD_OPTIONS, "; ".join(_in_words(problem) for problem in error.errors()))
    values = {name: getattr(options, name) for name in config_class.model_fields}
    return config_class.model_validate(values), options.verbose


def _options_of_several(config_class: type[BaseModel]) -> set[str]:
    fields = config_class.model_fields.items()
    return {f"--{name}" for name, field in fields if get_origin(field.annotation) is tuple}


def _with_option_each(words: Sequence[str], options: Collection[str]) -> list[str]:
    """Repeat those options before each further value: `--runs A B` becomes `--runs A --runs B`.

    An empty value, as in `--edges=`, becomes an empty list.
    """
    repeated: list[str] = []
    option = ""
    for word in words:
        if word.startswith("-"):
            option = word.partition("=")[0]
        elif option in options and repeated[-1] != option:
            repeated.append(option)
        is_empty = option in options and word in ("", f"{option}=")
        repeated.append(f"{word}[]" if is_empty else word)
    return repeated


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for a report of an error that `run` prints in one line at the end.

    Dask sets the levels of its loggers itself when it is imported, which is later.
    """
    if record.name.startswith("distributed") and record.levelno < logging.CRITICAL:
        return False
    if record.exc_info and isinstance(record.exc_info[1], HTTPError):
        return False
    message = record.getMessage()
    return "Retry" in message or not OUR_ERROR.search(message)


def _silence_reports_of_a_lost_server() -> None:
    """Leave out what the threads of Prefect say of all that no server takes."""
    logging.raiseExceptions = False
    for name in BACKGROUND_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _in_words(problem: Any) -> str:
    """Return an error of Pydantic with the option and the value it got, each once."""
    name = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if problem["type"] not in WITHOUT_VALUE:
        message = f"{message} (got {problem['input']!r})"
    return message if message.startswith(name) else f"{name}: {message}"


def _end_in_order(number: int, _: Any) -> NoReturn:
    """Leave every block that is open, so that files, servers and runs are closed."""
    os.write(2, b"error: ended by SIGTERM\n")  # print may be interrupted by this very signal
    sys.exit(SIGNALLED + number)


def _exit(code: int, message: str) -> NoReturn:
    print(f"error: {safe(message)}", file=sys.stderr)
    sys.exit(code)


def _report(kind: type[BaseException], error: BaseException | None, *_: object) -> None:
    """Print the traceback of an error that nobody expected, without passwords."""
    lines = traceback.format_exception(error) if error else [kind.__name__]
    sys.stderr.write(safe("".join(lines)))
