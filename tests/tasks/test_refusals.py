"""What is said of hosts that the sandbox refused."""

from tasks.outcome import Refusal
from tasks.refusals import MOST_HOSTS, OTHERS, add_up, refusals_words


def test_requests_are_added_up_by_host() -> None:
    found = add_up([Refusal("a.test", 1), Refusal("b.test", 2), Refusal("a.test", 3)])
    assert found == (Refusal("a.test", 4), Refusal("b.test", 2))
    assert refusals_words(found) == "6 requests to 2 hosts refused: a.test, b.test"
    assert refusals_words(found[1:]) == "2 requests to 1 host refused: b.test"
    assert not refusals_words(())


def test_any_number_of_hosts_takes_a_limited_room() -> None:
    found = add_up(Refusal(f"{number}.test", 1) for number in range(3 * MOST_HOSTS))
    assert len(found) == MOST_HOSTS + 1
    assert found[0] == Refusal(OTHERS, 2 * MOST_HOSTS)
    assert add_up(found) == found
    assert refusals_words(found).endswith("others, 0.test, 1.test, 2.test, 3.test, 96 more")
