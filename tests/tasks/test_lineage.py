"""Ids of tasks that start points share."""

import random

from tasks.lineage import NO_TASKS, Lineage, lineage_of


def test_a_lineage_is_like_a_tuple() -> None:
    below = Lineage(["1.1", "1.2", "1.1"])
    lineage = below.with_names(["2.1", "1.2"])
    assert lineage.names == ("2.1",)
    assert tuple(lineage) == ("1.1", "1.2", "2.1")
    assert lineage == Lineage(["1.1", "1.2", "2.1"])
    assert (len(lineage), lineage[0], lineage[-1], lineage[1:]) == (3, "1.1", "2.1", ("1.2", "2.1"))
    assert "1.2" in lineage
    assert "2.2" not in lineage
    assert lineage.isdisjoint({"2.2"})
    assert not lineage.isdisjoint({"1.1"})
    assert lineage.issuperset({"1.1", "2.1"})
    assert not NO_TASKS
    assert lineage.with_names(["1.1"]) is lineage
    assert lineage_of(lineage) is lineage
    assert hash(lineage) == hash(Lineage(lineage))


def test_lineages_are_joined_without_copies_of_what_they_share() -> None:
    below = Lineage(f"1.{number}" for number in range(1000))
    one, other = below.with_names(["2.1"]), below.with_names(["2.2", "2.3"])
    joined = one.with_all([other])
    assert joined.below is one
    assert joined.names == ("2.2", "2.3")
    assert one.with_all([one, below]) is one


def test_joins_are_those_of_lists() -> None:
    source = random.Random(7)  # noqa: S311 - a test
    names = [str(number) for number in range(12)]
    made = [NO_TASKS]
    for _ in range(300):
        one, other = source.choice(made), source.choice(made)
        more = source.sample(names, source.randint(0, 3))
        joined = one.with_all([other]).with_names(more)
        assert tuple(joined) == tuple(dict.fromkeys((*one, *other, *more)))
        made.append(joined if len(joined) < 9 else NO_TASKS)


def test_the_digest_says_what_is_in_it() -> None:
    one = Lineage(["1"]).with_names(["2"])
    assert one.digest == Lineage(["1"]).with_names(["2"]).digest
    assert one.digest != Lineage(["1", "2"]).digest
    assert one.digest != Lineage(["2"]).digest
    long = NO_TASKS
    for number in range(3000):
        long = long.with_names([str(number)])
    assert len(long.digest) == 64
