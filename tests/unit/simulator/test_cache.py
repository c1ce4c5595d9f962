from typing import Any

from gateway.simulator.cache import CacheEntry, ExecutionCache


def graph(value: Any, first: str = "1", second: str = "2") -> dict[str, Any]:
    return {
        first: {"class_type": "A", "inputs": {"value": value}},
        second: {"class_type": "B", "inputs": {"a": [first, 0]}},
    }


def run(cache: ExecutionCache, prompt: dict[str, Any], fingerprint: str | None = None) -> list[str]:
    """Run a prompt; gives the nodes that were cached."""
    cache.begin_prompt(prompt, lambda _: fingerprint)
    cached = cache.cached(prompt)
    for node_id in prompt:
        cache.put(node_id, CacheEntry((), None))
    return cached


def test_the_same_graph_is_cached_whatever_its_nodes_are_called() -> None:
    cache = ExecutionCache(0)
    assert run(cache, graph(1)) == []
    assert run(cache, graph(1, "7", "8")) == ["7", "8"]


def test_a_change_reaches_everything_after_it() -> None:
    cache = ExecutionCache(0)
    run(cache, graph(1))
    changed = graph(1)
    changed["2"]["inputs"]["more"] = 1
    assert run(cache, changed) == ["1"]
    assert run(cache, graph(2)) == []


def test_what_a_node_reads_counts_as_an_input() -> None:
    cache = ExecutionCache(0)
    run(cache, graph(1), "old content")
    assert run(cache, graph(1), "new content") == []


def test_only_so_many_nodes_of_older_prompts_are_kept() -> None:
    for spare, cached in ((0, []), (2, ["1", "2"])):
        cache = ExecutionCache(spare)
        run(cache, graph(1))
        run(cache, graph(2))
        assert run(cache, graph(2)) == ["1", "2"]
        cache = ExecutionCache(spare)
        run(cache, graph(1))
        run(cache, graph(2))
        run(cache, graph(1))
        cache.begin_prompt(graph(1), lambda _: None)
        assert cache.cached(graph(1)) == ["1", "2"]
        run(cache, graph(3))
        assert len(run(cache, graph(1))) == len(cached)


def test_circles_and_dead_links_are_never_cached() -> None:
    cache = ExecutionCache(0)
    circle = {"1": {"class_type": "A", "inputs": {"a": ["2", 0]}}, "2": {"class_type": "A", "inputs": {"a": ["1", 0]}}}
    dead = {"1": {"class_type": "A", "inputs": {"a": ["9", 0]}}}
    for prompt in (circle, dead):
        assert run(cache, prompt) == []
        assert run(cache, prompt) == []
