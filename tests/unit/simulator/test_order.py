from typing import Any

import pytest

from gateway.simulator.order import ExecutionOrder, MissingNode, is_link


def order(links: dict[str, list[str]], outputs: list[str], cached: tuple[str, ...] = ()) -> list[str]:
    """The order in which the nodes run; `links` gives per node what it needs. Names in capitals are output nodes."""
    prompt = {
        node: {"inputs": {f"in{index}": [source, 0] for index, source in enumerate(sources)}}
        for node, sources in links.items()
    }
    running = ExecutionOrder(prompt, is_cached=cached.__contains__, is_output=str.isupper)
    running.add(outputs)
    done = []
    while running:
        node = running.next()
        if node is None:
            return [*done, "circle"]
        done.append(node)
        running.done(node)
    return done


def test_what_is_needed_comes_first() -> None:
    assert order({"C": ["b"], "b": ["a"], "a": []}, ["C"]) == ["a", "b", "C"]


def test_what_no_output_needs_does_not_run() -> None:
    assert order({"A": [], "b": []}, ["A"]) == ["A"]


def test_cached_nodes_are_not_visited_and_cached_outputs_are() -> None:
    assert order({"C": ["b"], "b": ["a"], "a": []}, ["C"], cached=("b", "C")) == ["C"]


def test_outputs_that_can_run_do_not_wait_for_other_branches() -> None:
    links = {"X": ["b"], "b": ["a"], "Y": ["d"], "d": ["c"], "a": [], "c": []}
    assert order(links, ["X", "Y"]) in (
        ["a", "b", "X", "c", "d", "Y"],
        ["c", "d", "Y", "a", "b", "X"],
    )


def test_a_circle_is_noticed() -> None:
    assert order({"A": ["b"], "b": ["A"]}, ["A"]) == ["circle"]


def test_a_link_to_nowhere() -> None:
    with pytest.raises(MissingNode):
        order({"A": ["x"]}, ["A"])


@pytest.mark.parametrize(
    ("value", "link"), [(["1", 0], True), (["1", 0.0], True), (["1", True], False), ([1, 0], False), (["1"], False)]
)
def test_links(value: Any, link: bool) -> None:
    assert is_link(value) is link
