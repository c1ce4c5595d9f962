"""When the gateway loads a model by itself, how often it tries, and when it lets be."""

import json

import pytest
from support.room import PlayedRunner, jobs_room

from gateway.config.scheduling import KeptModel
from gateway.jobs.submission import Answer
from gateway.jobs.warming import PAUSES, Warming
from gateway.scheduling.memory import RunnerMemory

A, B = "a.safetensors", "b.safetensors"
OK = Answer(200, b"{}", job="x")
FAILED = Answer(503, b"nothing")


def kept(folder, *models):
    found = []
    for model in models:
        path = folder / model
        path.write_text(json.dumps({"1": {"class_type": "Loader", "inputs": {"name": model, "seed": 1}}}))
        found.append(KeptModel(model=model, workflow=path))
    return found


@pytest.fixture
async def warming(room, tmp_path):
    return looking_after(room, kept(tmp_path, A))


def looking_after(room, models, answer=FAILED):
    sent = []

    async def submit(request, owner):
        sent.append(request)
        return answer

    found = Warming(models, room.registry, room.dispatcher, submit, room.clock)
    found.sent = sent
    return found


def loaded(room, runner, *models, keeps=1):
    room.dispatcher.scheduler.memory.runners[runner] = RunnerMemory(recent=list(models), keeps=keeps)


def turn(room, *, up):
    room.runner.is_ready, room.runner.health.reason = up, f"up: {up}"


def state(warming):
    return warming.told()[0]["state"]


async def test_nothing_is_done_where_a_runner_has_it(room, warming):
    loaded(room, "gpu-0", A)
    await warming.look()
    assert (state(warming), warming.sent) == ("loaded", [])
    assert warming.told()[0]["runners"] == ["gpu-0"]


async def test_what_a_lost_runner_had_is_not_loaded(room, warming):
    loaded(room, "gpu-0", A)
    turn(room, up=False)
    await warming.look()
    assert (state(warming), warming.sent) == ("waiting", []), "no runner could load it"
    turn(room, up=True)
    room.dispatcher.scheduler.memory.forget("gpu-0")
    await warming.look()
    assert len(warming.sent) == 1


async def test_a_busy_runner_is_not_asked(room, warming):
    await room.running("somebodys")
    await warming.look()
    assert (state(warming), warming.sent) == ("waiting", [])


async def test_it_is_tried_so_often_and_again_when_a_runner_is_connected(room, warming):
    for tries, pause in enumerate(PAUSES, start=1):
        await warming.look()
        assert (len(warming.sent), state(warming)) == (tries, "pausing")
        room.clock.seconds += pause - 1
        await warming.look()
        assert len(warming.sent) == tries, "not before the pause is over"
        room.clock.seconds += 1
    for _ in range(3):
        await warming.look()
        room.clock.seconds += max(PAUSES)
    assert (len(warming.sent), state(warming)) == (len(PAUSES) + 1, "given_up")
    warming.runner_connected()
    await warming.look()
    assert len(warming.sent) == len(PAUSES) + 2


async def test_a_job_that_ends_without_loading_it_is_a_failure(room, tmp_path):
    warming = looking_after(room, kept(tmp_path, A), OK)
    await warming.look()
    assert state(warming) == "loading"
    await warming.look()
    assert (state(warming), warming.told()[0]["tries"]) == ("pausing", 1)
    loaded(room, "gpu-0", A)
    await warming.look()
    assert (state(warming), warming.told()[0]["tries"]) == ("loaded", 0)


async def test_each_try_has_a_seed_of_its_own_and_the_lowest_priority(room, warming):
    for pause in PAUSES[:2]:
        await warming.look()
        room.clock.seconds += pause
    first, second = (request["prompt"]["1"]["inputs"] for request in warming.sent)
    assert first["name"] == second["name"] == A
    assert first["seed"] != second["seed"]
    assert all(request["extra_data"]["gateway"]["priority"] == -100 for request in warming.sent)


async def test_no_other_model_to_be_kept_is_thrown_out_for_it(tmp_path):
    async with jobs_room(tmp_path, PlayedRunner("gpu-0")) as room:
        room.dispatcher.scheduler.memory.loads |= {A: 5.0, B: 5.0}
        warming = looking_after(room, kept(tmp_path, A, B), OK)
        loaded(room, "gpu-0", B, keeps=1)
        await warming.look()
        assert (state(warming), warming.sent) == ("waiting", [])
        loaded(room, "gpu-0", B, keeps=2)
        await warming.look()
        assert len(warming.sent) == 1


async def test_the_workflow_has_to_name_the_model(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps({"1": {"class_type": "Loader", "inputs": {"name": A}}}))
    with pytest.raises(ValueError, match=r"names b\.safetensors"):
        KeptModel(model=B, workflow=tmp_path / "w.json")
    (tmp_path / "w.json").write_text(json.dumps({"nodes": []}))
    with pytest.raises(ValueError, match="no workflow in API format"):
        KeptModel(model=A, workflow=tmp_path / "w.json")
    with pytest.raises(ValueError, match="cannot be read"):
        KeptModel(model=A, workflow=tmp_path / "none.json")
