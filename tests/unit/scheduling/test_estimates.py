"""How long jobs are expected to take."""

import random

import pytest

from gateway.comfyui.catalogue import parse
from gateway.scheduling.estimates import KINDS_MOST, Estimates
from gateway.scheduling.models import is_loader, is_model_file
from gateway.scheduling.profile import Profile, profile_of

MODELS = frozenset({"a.safetensors"})


def test_a_kind_that_was_seen_is_expected_to_take_as_long_again_and_nine_of_ten_lie_within():
    rng, estimates, profile = random.Random(1), Estimates(), Profile("kind", 100.0)
    taken = [10 * rng.lognormvariate(0, 0.2) for _ in range(500)]
    within = 0
    for place, seconds in enumerate(taken):
        estimate = estimates.estimate(profile, MODELS)
        within += place >= 100 and estimate.low <= seconds <= estimate.high
        estimates.learn(profile, MODELS, seconds)
    assert estimates.estimate(profile, MODELS).seconds == pytest.approx(10, rel=0.2)
    assert 0.78 <= within / 400 <= 0.97


def test_more_steps_take_longer_in_proportion_until_that_size_was_seen_itself():
    estimates = Estimates()
    for _ in range(5):
        estimates.learn(Profile("kind", 100.0), MODELS, 10.0)
    assert estimates.estimate(Profile("kind", 200.0), MODELS).seconds == pytest.approx(20.0)
    for _ in range(5):
        estimates.learn(Profile("kind", 200.0), MODELS, 13.0)
    assert estimates.estimate(Profile("kind", 200.0), MODELS).seconds == pytest.approx(13.0)
    assert estimates.estimate(Profile("kind", 100.0), MODELS).seconds == pytest.approx(10.0)


def test_another_model_and_another_kind_fall_back_to_what_is_nearest():
    estimates = Estimates()
    for _ in range(4):
        estimates.learn(Profile("kind"), MODELS, 8.0)
    assert estimates.estimate(Profile("kind"), frozenset({"b"})).seconds == pytest.approx(8.0)
    assert estimates.estimate(Profile("other"), MODELS).seconds == pytest.approx(8.0)
    assert Estimates().estimate(Profile("kind"), MODELS).count == 0
    assert Estimates().typical == 0.0


def test_kinds_are_bounded():
    estimates = Estimates()
    for number in range(KINDS_MOST):
        estimates.learn(Profile(str(number)), MODELS, 1.0)
    assert len(estimates._averages) == KINDS_MOST
    assert estimates.forgotten
    assert not estimates.forgotten & estimates.changed


INFO = {
    "Loader": {"input": {"required": {"ckpt_name": [["a.safetensors", "b.safetensors"]]}}, "output": ["MODEL", "CLIP"]},
    "Upscaler": {"input": {"required": {"model_name": [["x.pth"]]}}, "output": ["UPSCALE_MODEL"]},
    "Image": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}, "output": ["IMAGE"]},
    "Sampler": {
        "input": {
            "required": {"sampler_name": [["euler", "heun"]], "seed": ["INT"], "steps": ["INT"], "text": ["STRING"]}
        },
        "output": ["LATENT"],
    },
}


def graph(**inputs):
    given = {"seed": 1, "steps": 20, "text": "x", "sampler_name": "euler", "model": ["1", 0]} | inputs
    return {
        "1": {"class_type": "Loader", "inputs": {"ckpt_name": given.pop("ckpt_name", "a.safetensors")}},
        "2": {"class_type": "Sampler", "inputs": given},
    }


def test_seeds_texts_and_files_make_no_other_kind_and_a_sampler_does():
    catalogue = parse(INFO)
    plain = profile_of(graph(), catalogue)
    assert profile_of(graph(seed=7, text="y", ckpt_name="b.safetensors"), catalogue) == plain
    assert profile_of(graph(steps=40), catalogue).kind == plain.kind
    assert profile_of(graph(steps=40), catalogue).size == 2 * plain.size
    assert profile_of(graph(sampler_name="heun"), catalogue).kind != plain.kind


@pytest.mark.parametrize(
    "inputs", [{"steps": -1}, {"steps": "many"}, {"steps": 1e300}, {"width": True, "height": None}]
)
def test_any_graph_has_a_size(inputs):
    assert 1 <= profile_of(graph(**inputs), parse(INFO)).size <= 1e15


def test_loaders_give_out_models_and_choose_files():
    classes = parse(INFO).classes
    assert [name for name in classes if is_loader(classes[name])] == ["Loader", "Upscaler"]
    assert [is_model_file(value) for value in ("a.safetensors", "A.CKPT", "euler", 3, None)] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_what_was_asked_before_is_told_by_what_has_been_learned_since():
    estimates, profile = Estimates(), Profile("kind", 1.0)
    assert estimates.estimate(profile, frozenset()).count == 0
    estimates.learn(profile, frozenset(), 4.0)
    assert estimates.estimate(profile, frozenset()).seconds == pytest.approx(4.0)
    for _ in range(100):
        estimates.learn(profile, frozenset(), 8.0)
    assert estimates.estimate(profile, frozenset()).seconds == pytest.approx(8.0)
    again = Estimates()
    again.estimate(profile, frozenset())
    again.put("", estimates.get(""))
    assert again.estimate(profile, frozenset()).seconds == pytest.approx(8.0)
