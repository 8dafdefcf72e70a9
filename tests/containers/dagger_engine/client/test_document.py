"""Documents of chains of fields, as the reference implementation of GraphQL reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from graphql import FieldNode, InlineFragmentNode, OperationDefinitionNode, parse, value_from_ast_untyped
from hypothesis import given
from hypothesis import strategies as st

from containers.dagger_engine.client.document import (
    Argument,
    EnumValue,
    Field,
    Reference,
    literal,
    references,
    write,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True)
VALUES = st.recursive(
    TEXTS | st.integers(-(2**31), 2**31 - 1) | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
)


def fields(document: str) -> dict[str, Any]:
    """Return the fields of a document by their keys, each with its name, arguments and fields."""
    (operation,) = parse(document).definitions
    assert isinstance(operation, OperationDefinitionNode)
    return _selected(operation)


def _selected(node: Any) -> dict[str, Any]:  # noqa: ANN401 - any node that has a selection set
    found: dict[str, Any] = {}
    for selection in node.selection_set.selections if node.selection_set else ():
        if isinstance(selection, InlineFragmentNode):
            assert selection.type_condition
            return {f"... on {selection.type_condition.name.value}": _selected(selection)}
        assert isinstance(selection, FieldNode)
        key = selection.alias.value if selection.alias else selection.name.value
        assert key not in found
        arguments = {one.name.value: value_from_ast_untyped(one.value) for one in selection.arguments or ()}
        found[key] = (selection.name.value, arguments, _selected(selection))
    return found


@given(VALUES)
def test_every_value_is_read_as_it_was(value: Argument) -> None:
    document, _ = write([Field("one", {"value": value})])
    assert fields(document) == {"one": ("one", {"value": value}, {})}


@pytest.mark.parametrize(
    "text", ["", '"', "\\", '"""', "\x00\x1f\x7f\x85\u2028\ufeff", "a\r\nb\t", "\U0001f600\\u0041"]
)
def test_text_with_special_characters(text: str) -> None:
    document, _ = write([Field("one", {"value": text})])
    assert fields(document) == {"one": ("one", {"value": text}, {})}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (EnumValue("ANY"), "ANY"),
        (Reference("Directory-1"), '"Directory-1"'),
        ([{"backend": 80, "frontend": 80}], "[{backend: 80, frontend: 80}]"),
        (True, "true"),
        (("a", "b"), '["a", "b"]'),
    ],
)
def test_values_that_are_written_in_their_own_way(value: Argument, text: str) -> None:
    assert literal(value) == text


def test_a_chain_is_nested() -> None:
    leaf = Field("stdout", before=Field("withExec", {"args": ["true"]}, Field("container")))
    assert write([leaf]) == (
        '{ container { withExec(args: ["true"]) { stdout } } }',
        [("container", "withExec", "stdout")],
    )


def test_an_object_by_its_id_has_its_type() -> None:
    leaf = Field("sync", before=Field("node", {"id": "x"}, on="Container"))
    assert write([leaf]) == ('{ node(id: "x") { ... on Container { sync } } }', [("node", "sync")])


def test_chains_with_the_same_beginning_share_it() -> None:
    shared = Field("container")
    tree = Field("directory", {"path": "/"}, shared)
    leaves = [Field("sync", before=shared), Field("id", before=tree), Field("entries", before=tree)]
    assert write(leaves) == (
        '{ container { sync directory(path: "/") { id entries } } }',
        [("container", "sync"), ("container", "directory", "id"), ("container", "directory", "entries")],
    )


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), min_size=1, max_size=5))
def test_other_fields_of_one_name_have_keys_of_their_own(chains: Sequence[Sequence[str]]) -> None:
    leaves = []
    for number, names in enumerate(chains):
        leaf: Field | None = None
        for name in names:
            leaf = Field(name, {"number": number}, leaf)
        assert leaf is not None
        leaves.append(leaf)
    document, paths = write(leaves)
    found = fields(document)
    for number, path in enumerate(paths):
        below: Mapping[str, Any] = found
        for name, key in zip(chains[number], path, strict=True):
            read, arguments, below = below[key]
            assert (read, arguments) == (name, {"number": number})


def test_only_objects_without_an_id_are_to_be_queried_each_once() -> None:
    known, first, second = Reference("id"), Reference(), Reference()
    shared = Field("a", {"source": first, "other": known})
    leaves = [Field("b", {"sources": [second, first]}, shared), Field("c", before=shared)]
    assert references(leaves) == [first, second]
