"""Build the signatures of the module's functions from the declared settings.

The SDK reads a function by `inspect.signature` and `typing.get_type_hints`, which honor `__signature__` and
`__annotations__`: https://docs.python.org/3/library/inspect.html#inspect.signature
"""

import inspect
from collections.abc import Callable, Collection, Coroutine, Iterable
from inspect import Parameter
from typing import Annotated, Any, TypeVar, get_type_hints

import dagger
from dagger import Doc, function

from pipeline.config.settings import SETTINGS
from pipeline.config.table import Setting
from pipeline.dagger_module.errors import ModuleError
from pipeline.dagger_module.invocation import Invocation
from pipeline.store.run_options import Selection

T = TypeVar("T")


def _parameter(name: str, kind: Any, doc: str) -> Parameter:  # noqa: ANN401 - a type
    """Return a parameter that can be left out: a flag is false then, everything else `None`."""
    optional = kind if kind is bool else kind | None
    default = False if kind is bool else None
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[optional, Doc(doc)])


def setting_parameters(settings: Iterable[Setting], *, publishing: bool = False) -> tuple[Parameter, ...]:
    """Return the parameters of the settings that all functions take, or of those for publishing only."""
    return tuple(
        _parameter(
            item.name,
            item.kind if item.kind in {bool, int} else str,
            item.help_with_default.replace(".  [", " [").removesuffix("."),
        )
        for item in settings
        if item.module and item.module.publishing == publishing
    )


SOURCE_PARAMETERS = (
    _parameter("plan", dagger.File, "The plan, a file in Markdown or JSON [default: the repository's plan.md]"),
    _parameter(
        "plan_path",
        str,
        "The plan by its path in the repository, a file or a directory, such as specs/003-login/tasks.md; its "
        "dialect is known by that path, and so are the documents beside it",
    ),
    _parameter(
        "source",
        dagger.Directory,
        "The repository, with its .git [default: the one that this is called from]",
    ),
)
SELECTION_PARAMETERS = (
    _parameter("start_batch", int, "The first batch to run"),
    _parameter("end_batch", int, "The last batch to run"),
    _parameter("task", list[str], "Run this task and what it builds on; can be repeated"),
    _parameter("only", list[str], "Run this task without what it builds on; can be repeated"),
)
SECRET_PARAMETER = _parameter(
    "secret", list[dagger.Secret], "A variable that tasks get as a secret, such as env:OPENAI_API_KEY"
)
SHARED_PARAMETERS = (
    *SOURCE_PARAMETERS,
    *SELECTION_PARAMETERS,
    *setting_parameters(SETTINGS.values()),
    SECRET_PARAMETER,
)


def _given(value: object) -> object:
    """Return the value of a flag; `None` for one that was not set, so that it overrides no other source."""
    return None if value is False else value


def _one_plan(file: dagger.File | None, path: str | None) -> dagger.File | str | None:
    """Return the plan that is named, as a file or by its path.

    Raises:
        ModuleError: Both are named.
    """
    if file is not None and path:
        raise ModuleError("two plans are named, with --plan and with --plan-path; name one")
    return file or path


def plan_function(
    *more: Parameter, only: Collection[str] = ()
) -> Callable[[Callable[..., Coroutine[Any, Any, T]]], Callable[..., Coroutine[Any, Any, T]]]:
    """Return a decorator that makes a function of the module of a method that takes an `Invocation`.

    The function has the shared parameters, or those of them that `only` names, then the method's own
    keyword-only ones, then `more` settings. The engine never caches its result, only those of the tasks.
    """
    shared = [item for item in SHARED_PARAMETERS if not only or item.name in only]

    def decorate(method: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Coroutine[Any, Any, T]]:
        own = [item for item in inspect.signature(method).parameters.values() if item.kind is item.KEYWORD_ONLY]
        parameters = [*shared, *own, *more]

        async def call(self: object, ws: dagger.Workspace, **arguments: Any) -> T:  # noqa: ANN401 - by the signature
            invocation = await Invocation.open(
                arguments.pop("source", None) or ws,
                _one_plan(arguments.pop("plan", None), arguments.pop("plan_path", None)),
                selection=Selection.of(
                    arguments.pop("start_batch", None),
                    arguments.pop("end_batch", None),
                    tasks=arguments.pop("task", None) or (),
                    only=arguments.pop("only", None) or (),
                ),
                secrets=arguments.pop("secret", None) or (),
                flags={name: _given(arguments.pop(name)) for name in [*arguments] if name in SETTINGS},
            )
            return await method(self, invocation, **arguments)

        call.__name__, call.__qualname__ = method.__name__, method.__qualname__
        call.__doc__, call.__module__ = method.__doc__, method.__module__
        head = [*inspect.signature(call).parameters.values()][:2]
        call.__annotations__ = {
            **{item.name: item.annotation for item in (head[1], *parameters)},
            "return": get_type_hints(method)["return"],
        }
        call.__signature__ = inspect.Signature([*head, *parameters])  # type: ignore[attr-defined]  # read by `inspect`
        made: Callable[..., Coroutine[Any, Any, T]]
        made = function(cache="never")(call)  # type: ignore[call-overload]  # no overload has `cache`
        return made

    return decorate
