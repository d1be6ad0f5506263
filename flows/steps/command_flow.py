"""A flow whose parameters are the fields of a configuration class."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar, get_type_hints

from prefect import flow
from prefect.flows import Flow
from prefect.utilities.hashing import file_hash
from pydantic.fields import FieldInfo

from flows.steps.prefect_runs import close_tracked_run
from rnn_core.commands import Command, Daily
from rnn_core.errors import RnnflowError
from rnn_core.nn.memory import tune_process
from rnn_core.safe_text import safe

Config = TypeVar("Config", bound=Command)
Result = TypeVar("Result")


def command_flow(
    config_class: type[Config],
    *,
    first: Sequence[str] = (),
    flow_run_name: str | Callable[[], str] | None = None,
) -> Callable[[Callable[[Config], Result]], Flow[..., Result]]:
    """Make a flow of a function that takes a configuration.

    The flow takes a parameter for each field. Its types and defaults, and the descriptions on the
    run form of a deployment, are those of the fields. `now` is the current time unless it is given.
    A run tunes its process: a worker starts one for each run, without `flows.command_line`.

    Args:
        config_class: The configuration.
        first: The first parameters of the form; those shared by all commands are at its end.
        flow_run_name: A template of parameters, or a function, that names a flow run.
    """

    def make(function: Callable[[Config], Result]) -> Flow[..., Result]:
        names = _parameter_order(config_class, first)
        signature = _signature(config_class, names, function)

        @wraps(function)
        def from_parameters(*args: Any, **kwargs: Any) -> Result:
            tune_process()
            values = signature.bind(*args, **kwargs).arguments
            values["now"] = values.get("now") or datetime.now(UTC)
            with without_secrets():
                return function(config_class(**values))

        # Prefect reads these three
        from_parameters.__signature__ = signature  # type: ignore[attr-defined]
        from_parameters.__annotations__ = _annotations(signature)
        from_parameters.__doc__ = _docstring(config_class, names, function)
        return flow(
            flow_run_name=flow_run_name,
            version=file_hash(inspect.getfile(function)),
            on_cancellation=[close_tracked_run],
            on_crashed=[close_tracked_run],
            persist_result=False,
        )(from_parameters)

    return make


@contextmanager
def without_secrets() -> Iterator[None]:
    """Raise an error of another library that holds a password as one of ours, which does not.

    Prefect writes errors of flows and tasks into their states.
    """
    try:
        yield
    except RnnflowError:
        raise
    except Exception as error:
        text = str(error)
        if safe(text) == text:
            raise
        raise RnnflowError(f"{type(error).__name__}: {' '.join(text.split())}") from None


def _parameter_order(config_class: type[Command], first: Sequence[str]) -> list[str]:
    fields = list(config_class.model_fields)
    last = [name for name in reversed(Daily.model_fields) if name in fields]
    between = [name for name in fields if name not in (*first, *last)]
    return [*first, *between, *last]


def _signature(
    config_class: type[Command], names: Sequence[str], function: Callable[..., Any]
) -> inspect.Signature:
    types = get_type_hints(config_class)  # plain: bounds and validators are the configuration's
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=_default(config_class.model_fields[name]),
            annotation=types[name],
        )
        for name in names
    ]
    returned = inspect.signature(function).return_annotation
    return inspect.Signature(parameters, return_annotation=returned)


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return inspect.Parameter.empty
    return field.get_default(call_default_factory=True)


def _annotations(signature: inspect.Signature) -> dict[str, Any]:
    types = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return types | {"return": signature.return_annotation}


def _docstring(
    config_class: type[Command], names: Sequence[str], function: Callable[..., Any]
) -> str:
    fields = config_class.model_fields
    descriptions = [f"    {name}: {fields[name].description}" for name in names]
    purpose = inspect.cleandoc(config_class.__doc__ or "")
    result = inspect.cleandoc(function.__doc__ or "")
    return "\n\n".join([purpose, result, "\n".join(["Args:", *descriptions])])
