import asyncio
from typing import Any

from gateway.simulator.prompt_queue import MAX_HISTORY, PromptQueue


def item(number: float, prompt_id: str, extra_data: Any = None) -> tuple[Any, ...]:
    return (number, prompt_id, {"id": prompt_id}, {} if extra_data is None else extra_data, ["1"], {})


async def test_lower_numbers_come_first_and_older_ones_among_equals_by_id() -> None:
    changes: list[int] = []
    queue = PromptQueue(lambda: changes.append(queue.remaining))
    for number, prompt_id in ((3, "c"), (1, "b"), (-2, "a")):
        queue.put(item(number, prompt_id))
    taken = [(await queue.get())[1][1] for _ in range(3)]
    assert taken == ["a", "b", "c"]
    assert changes == [1, 2, 3, 3, 3, 3]


async def test_get_waits_for_a_prompt() -> None:
    queue = PromptQueue(lambda: None)
    waiting = asyncio.create_task(queue.get())
    queue.put(item(1, "a"))
    key, taken = await waiting
    assert queue.is_running("a")
    queue.done(key, {"outputs": {}})
    await queue.idle()
    assert queue.history["a"]["prompt"][:2] == [1, taken[1]]


async def test_deleting_the_last_one_tells_twice_as_comfyui_does() -> None:
    changes: list[int] = []
    queue = PromptQueue(lambda: changes.append(queue.remaining))
    queue.put(item(1, "a"))
    assert queue.delete("a")
    assert not queue.delete("a")
    assert changes == [1, 0, 0]


async def test_secrets_do_not_reach_the_history() -> None:
    queue = PromptQueue(lambda: None)
    queue.put(item(1, "a", {"api_key_comfy_org": "secret", "x": 1}))
    key, _ = await queue.get()
    queue.done(key, {})
    assert queue.history["a"]["prompt"][3] == {"x": 1}


async def test_pages_of_the_history() -> None:
    queue = PromptQueue(lambda: None)
    for number in range(5):
        queue.put(item(number, str(number)))
        key, _ = await queue.get()
        queue.done(key, {})
    for max_items, offset, expected in ((None, -1, "01234"), (2, -1, "34"), (2, 1, "12"), (None, 3, "34"), (9, 4, "4")):
        assert "".join(queue.history_page(max_items, offset)) == expected


async def test_the_history_is_bounded() -> None:
    queue = PromptQueue(lambda: None)
    queue.history = {str(number): {} for number in range(MAX_HISTORY + 1)}
    queue.put(item(1, "new"))
    key, _ = await queue.get()
    queue.done(key, {})
    assert len(queue.history) == MAX_HISTORY + 1
    assert "0" not in queue.history
