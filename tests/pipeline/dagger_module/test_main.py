"""The Dagger module without an engine: its registered functions and arguments."""

import inspect
from typing import Annotated, get_args, get_origin, get_type_hints

import dagger
import pytest
from dagger import Doc

from pipeline.dagger_module.errors import ModuleError
from pipeline.dagger_module.invocation import Invocation
from pipeline.dagger_module.main import READING, Patchyard
from pipeline.store.run_options import Selection

FUNCTIONS = ("run", "patches", "changes", "check")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_documented(name: str) -> None:
    hints = get_type_hints(getattr(Patchyard, name), include_extras=True)
    for argument, hint in hints.items():
        if argument in {"return", "ws"}:
            continue
        assert get_origin(hint) is Annotated, argument
        assert any(isinstance(extra, Doc) for extra in get_args(hint)[1:]), argument


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_optional(name: str) -> None:
    parameters = inspect.signature(getattr(Patchyard, name)).parameters
    needed = [item.name for item in parameters.values() if item.default is inspect.Parameter.empty]
    assert needed == ["self", "ws"]  # the caller's workspace comes by itself


def test_the_functions_that_run_a_plan_take_the_same_arguments() -> None:
    shared = list(inspect.signature(Patchyard.patches).parameters)
    assert list(inspect.signature(Patchyard.changes).parameters) == shared
    assert list(inspect.signature(Patchyard.run).parameters)[: len(shared)] == shared
    assert [name for name in shared if name in inspect.signature(Patchyard.check).parameters] == list(
        inspect.signature(Patchyard.check).parameters
    )
    assert "source" in inspect.signature(Patchyard.check).parameters


def test_entry_point_is_the_main_object() -> None:
    from importlib.metadata import entry_points  # noqa: PLC0415 - the one place that asks

    (entry,) = entry_points(group="dagger.mod", name="main_object")
    assert entry.load() is Patchyard


def test_sdk_reads_the_built_signatures() -> None:
    functions = Patchyard.__dagger_object_type__.functions  # type: ignore[attr-defined]  # set by the SDK
    assert sorted(functions) == sorted(FUNCTIONS)
    for name, function in functions.items():
        assert function.doc == inspect.getdoc(getattr(Patchyard, name))
        assert function.cache_policy == "never"
        for argument in function.parameters.values():
            assert argument.name == "ws" or argument.doc, argument.name
            assert argument.name == "ws" or argument.is_nullable or argument.resolved_type is bool
    assert functions["check"].check
    assert functions["run"].return_type is str
    assert functions["changes"].return_type is dagger.Changeset
    parameters = functions["run"].parameters
    assert parameters["pool_size"].resolved_type == (int | None)
    assert parameters["secret"].resolved_type == (list[dagger.Secret] | None)
    publishing = {"github_token", "github_api", "draft", "auto_merge", "github", "pull_request"}
    assert {"ws", *publishing} <= set(parameters)


@pytest.mark.anyio
async def test_sdk_binds_arguments_to_the_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[object, object, dict[str, object]]] = []

    class Opened:
        async def patches(self) -> str:
            return "the patches"

    async def open_invocation(source: object, plan: object, **arguments: object) -> Opened:
        opened.append((source, plan, arguments))
        return Opened()

    monkeypatch.setattr(Invocation, "open", open_invocation)
    patchyard = Patchyard()
    function = Patchyard.__dagger_object_type__.get_bound_function(patchyard, "patches")  # type: ignore[attr-defined]  # likewise
    bound = function.bind_arguments(ws="the workspace", pool_size=0, task=["1.1"], keep_going=True)
    assert await function.wrapped(*bound.args, **bound.kwargs) == "the patches"
    ((source, plan, arguments),) = opened
    flags = arguments["flags"]
    assert isinstance(flags, dict)
    chosen = Selection(tasks=("1.1",), with_needed=True)
    assert (source, plan, arguments["selection"]) == ("the workspace", None, chosen)
    assert {name: value for name, value in flags.items() if value is not None} == {
        "pool_size": 0,
        "keep_going": True,
    }


def test_how_a_plan_is_read_can_be_said_to_every_function() -> None:
    for name in FUNCTIONS:
        given = set(inspect.signature(getattr(Patchyard, name)).parameters)
        assert {"plan", "plan_path", *READING} <= given


@pytest.mark.anyio
async def test_two_plans_are_refused() -> None:
    function = Patchyard.__dagger_object_type__.get_bound_function(Patchyard(), "check")  # type: ignore[attr-defined]  # likewise
    bound = function.bind_arguments(ws="the workspace", plan="a file", plan_path="specs/1")
    with pytest.raises(ModuleError, match="two plans are named"):
        await function.wrapped(*bound.args, **bound.kwargs)


def test_no_default_of_an_argument_overrides_a_setting() -> None:
    for name in FUNCTIONS:
        parameters = list(inspect.signature(getattr(Patchyard, name)).parameters.values())[2:]
        assert {item.name: item.default for item in parameters if item.default not in {None, False}} == {}
