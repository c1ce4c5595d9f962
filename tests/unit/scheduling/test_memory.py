"""What is taken to be loaded on a runner, learned from jobs on runners that keep by least recent use."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.scheduling.memory import MODELS_MOST, Memory, kept


class RealRunner:
    """Keeps so many models, and loads each for eight seconds."""

    def __init__(self, keeps, seconds=8.0):
        self.keeps, self.seconds, self.loaded = keeps, seconds, []

    def run(self, models):
        missing = [model for model in models if model not in self.loaded]
        self.loaded = [*(model for model in self.loaded if model not in models), *sorted(models)][-self.keeps :]
        return dict.fromkeys(missing, self.seconds)


@pytest.mark.parametrize("keeps", [1, 2, 3, 4])
def test_how_many_a_runner_keeps_is_found_by_using_more_in_turns(keeps):
    memory, real = Memory(), RealRunner(keeps)
    for model in "abcd" * 2 + "abcdcbcbabcdcbcb" * 3:
        memory.ran("gpu-0", frozenset({model}), real.run({model}))
    assert memory.keeps("gpu-0") == keeps
    assert list(memory.warm("gpu-0")) == real.loaded
    assert memory.load("a") == pytest.approx(8.0)


@given(some.lists(some.sampled_from("abc"), min_size=1, max_size=40))
def test_the_model_used_last_is_always_taken_to_be_there(models):
    memory, real = Memory(), RealRunner(2)
    for model in models:
        memory.ran("gpu-0", frozenset({model}), real.run({model}))
        assert memory.warm("gpu-0")[-1] == model


def test_loading_that_only_the_sampler_shows():
    memory = Memory()
    memory.ran("gpu-0", frozenset({"a"}), {}, 6.0)
    assert memory.load("a") == 6.0
    memory.ran("gpu-0", frozenset({"b"}), {}, 6.0)
    memory.ran("gpu-0", frozenset({"a"}), {}, 6.0)
    assert memory.keeps("gpu-0") == 1


def test_a_lora_throws_no_checkpoint_out():
    memory = Memory()
    memory.put_load("base", 8.0)
    memory.put_load("lora-1", 0.5)
    memory.put_load("lora-2", 0.5)
    for lora in ("lora-1", "lora-2", "lora-1"):
        memory.ran("gpu-0", frozenset({"base", lora}), {})
    memory.runners["gpu-0"].keeps = 1
    assert set(memory.warm("gpu-0")) == {"base", "lora-1", "lora-2"}
    after = memory.after("gpu-0", [frozenset({"other"})])
    assert "base" not in after
    assert after[-1] == "other"


def test_a_set_of_heavy_models_counts_as_all_of_them():
    memory = Memory()
    memory.ran("gpu-0", frozenset({"unet", "t5", "clip"}), {"unet": 9.0, "t5": 8.0, "clip": 7.0})
    assert memory.keeps("gpu-0") == 3
    assert set(memory.warm("gpu-0")) == {"unet", "t5", "clip"}


def test_what_was_used_is_forgotten_and_what_was_learned_is_not():
    memory = Memory()
    memory.ran("gpu-0", frozenset({"a"}), {"a": 8.0})
    memory.took("gpu-0", 0.5, 1.0)
    memory.forget("gpu-0")
    assert (memory.warm("gpu-0"), memory.speed("gpu-0", 1.0), memory.load("a")) == ((), 2.0, 8.0)
    assert memory.speed("gpu-1", 1.5) == 1.5


def test_memory_is_bounded_and_tells_what_it_let_go():
    memory = Memory()
    for number in range(MODELS_MOST + 10):
        memory.put_load(f"model-{number}", 2.0)
    assert len(memory.loads) == MODELS_MOST
    assert memory.forgotten == {f"model-{number}" for number in range(10)}
    assert memory.load("never seen") == pytest.approx(2.0)


@pytest.mark.parametrize(("keeps", "there"), [(1, ["c"]), (2, ["vae", "b", "c"]), (3, ["a", "vae", "b", "c"])])
def test_light_ones_stay_with_the_heavy_ones_that_were_used_after_them(keeps, there):
    assert kept(["a", "vae", "b", "c"], keeps, {"a": 8.0, "b": 8.0, "c": 8.0, "vae": 0.3}) == there


def test_a_runner_of_which_it_is_not_known_keeps_what_most_of_the_others_do():
    memory = Memory()
    for name, keeps in (("gpu-0", 1), ("gpu-1", 1), ("gpu-2", 3)):
        real = RealRunner(keeps)
        for model in "abcd" * 3 + "abcdcbcbabcdcbcb" * 3:
            memory.ran(name, frozenset({model}), real.run({model}))
    for model in "ab":
        memory.ran("new", frozenset({model}), {model: 8.0})
    assert (memory.keeps("new"), memory.warm("new")) == (1, ("b",))
    memory.ran("new", frozenset({"a"}), {})
    assert (memory.keeps("new"), memory.warm("new")) == (2, ("b", "a")), "what is seen of itself counts"
    again = Memory()
    for name, known in memory.runners.items():
        again.put_runner(name, known)
    assert again.keeps("newer") == 1


def test_together_they_must_have_room():
    memory = Memory()
    memory.ran("gpu-0", frozenset("abc"), dict.fromkeys("abc", 8.0))
    assert memory.keeps("gpu-0") == 3
    assert set(memory.warm("gpu-0")) == set("abc")
