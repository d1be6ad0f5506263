"""A flow from the shell: the config tree is the command line, and an error is one line."""

import logging
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

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

from flows import RUN_LOGGERS, WITHOUT_TRACEBACK
from rnn_core import errors
from rnn_core.errors import RnnflowError
from rnn_core.nn.memory import tune_process

Config = TypeVar("Config", bound=BaseModel)
OUR_ERROR = re.compile(
    "|".join(rf"\b{name}\b" for name in dir(errors) if name.endswith(("Error", "Unavailable")))
)


class _CommandLine(BaseSettings):
    """Options by the dotted names of the tree, from the command line alone: no environment variable is read."""

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
) -> None:
    """Parse the command line into `config_class` and call `main`; exit 1 for an error of ours, 2 for bad options.

    `first` is called before it, to import Prefect where the module of `main` does not: what Prefect's console is to
    leave out can be told only when it is there.
    """
    tune_process()
    options_class: Any = create_model(config_class.__name__, __base__=(_CommandLine, config_class))
    options_class.__doc__ = config_class.__doc__
    try:
        options: Any = CliApp.run(options_class, sys.argv[1:], cli_exit_on_error=False)
    except SettingsError as error:
        _exit(2, str(error).removeprefix("error parsing CLI: "))
    except ValidationError as error:
        _exit(2, "; ".join(_said(problem) for problem in error.errors()))
    config = config_class.model_validate(
        {name: getattr(options, name) for name in config_class.model_fields}
    )
    first(config)
    for name in RUN_LOGGERS:
        if options.verbose:
            logging.getLogger(name).removeFilter(WITHOUT_TRACEBACK)
    for handler in () if options.verbose else logging.getLogger().handlers:  # Prefect's console
        handler.addFilter(_is_no_error_of_ours)
    try:
        main(config)
    except RnnflowError as error:
        if options.verbose:
            raise
        _exit(1, str(error))


def show(table: Table) -> None:
    """Print a table."""
    Console(soft_wrap=True).print(table)


def say(line: str) -> None:
    """Print a line."""
    Console(soft_wrap=True).print(line, highlight=False, markup=False)


def _is_no_error_of_ours(record: logging.LogRecord) -> bool:
    """False where Prefect reports an error that `run` says itself, in one line, at the end."""
    message = record.getMessage()
    return "Retry" in message or not OUR_ERROR.search(message)


def _said(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" + (
        "" if problem["type"] == "missing" else f" (received {problem['input']!r})"
    )


def _exit(code: int, message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
