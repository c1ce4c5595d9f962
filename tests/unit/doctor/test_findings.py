import time

import pytest

from gateway.check import Probe
from gateway.config import RunnerConfig
from gateway.doctor.findings import hint, named, problem, report
from gateway.doctor.pool import differences
from gateway.doctor.runners import Examined, Look, findings_of

OWN = "the-gateway"
HOUR_MS = 3_600_000


def examined(name="gpu-0", *, status="ok", version="0.33.0", **facts):
    config = RunnerConfig(name=name, endpoint=f"http://{name}")
    return Examined(config, Probe(name, config.endpoint, (), status, "why", version), **facts)


def looks(running=(), pending=(), later=None):
    first = Look(dict(running), dict(pending))
    return (first, later or first)


def whats(found):
    return [finding.what for finding in found]


def test_a_good_runner():
    queue = looks(running={"a": (OWN, int(time.time() * 1000))}, pending={"b": (OWN, None)})
    assert list(findings_of(examined(seconds=0.01, skew_seconds=1.0, looks=queue), OWN)) == []


@pytest.mark.parametrize("status", ["unreachable", "401", "not ComfyUI"])
def test_what_cannot_be_asked_is_one_problem(status):
    (finding,) = findings_of(examined(status=status), OWN)
    assert (finding.severity, finding.runner, finding.what) == ("problem", "gpu-0", f"{status}: why")
    assert ("headers" in finding.advice) is (status == "401")


@pytest.mark.parametrize(
    ("facts", "severity", "what"),
    [
        ({"seconds": 2.5}, "hint", "answers GET /prompt after 2.5 s"),
        ({"skew_seconds": -90.0}, "hint", "its clock is 90 s behind"),
        ({"websocket": "503"}, "problem", "HTTP works, the websocket does not: 503"),
        ({"looks": looks(pending={"a": (OWN, None)})}, "problem", "1 prompts wait in its queue, none runs"),
        ({"looks": looks(running={"a": (OWN, 0)})}, "hint", "prompt a, submitted"),
        ({"looks": looks(running={"a": ("another", None)})}, "hint", "1 prompts in its queue are not this gateway's"),
    ],
)
def test_what_is_wrong_with_a_runner(facts, severity, what):
    (finding,) = findings_of(examined(**facts), OWN)
    assert (finding.severity, finding.runner) == (severity, "gpu-0")
    assert finding.what.startswith(what)


def test_a_queue_that_moves_is_no_dead_worker():
    moving = looks(pending={"a": (OWN, None), "b": (OWN, None)}, later=Look({}, {"b": (OWN, None)}))
    assert list(findings_of(examined(looks=moving), OWN)) == []


def test_without_a_gateway_of_its_own_every_prompt_is_foreign():
    (finding,) = findings_of(examined(looks=looks(running={"a": (None, None)})), None)
    assert "not this gateway's" in finding.what


def combo(*options):
    return {"input": {"required": {"name": [list(options), {}]}}, "output": ["MODEL"], "name": "Loader"}


def test_the_runners_together():
    first = examined("a", object_info={"Loader": combo("x.safetensors", "only.gguf", "euler"), "Same": {}})
    second = examined("b", version="0.3.64", object_info={"Loader": combo("x.safetensors"), "Same": {}, "Extra": {}})
    assert whats(differences([first, second, examined("down", status="401")])) == [
        "the runners have different versions of ComfyUI (0.3.64: b; 0.33.0: a)",
        "only it has 1 node classes: Extra",
        "only it has 1 model files: only.gguf",
    ]


def test_node_classes_defined_differently():
    other = {"input": {"required": {"other": ["INT", {}]}}, "output": ["IMAGE"], "name": "Loader"}
    found = list(
        differences([examined("a", object_info={"Loader": combo()}), examined("b", object_info={"Loader": other})])
    )
    assert whats(found) == ["1 node classes have other inputs or outputs on a and b: Loader"]


def test_one_runner_is_compared_with_nobody():
    assert list(differences([examined("a", object_info={"Loader": combo("only.safetensors")})])) == []


def test_the_report_tells_problems_first_and_what_to_do():
    text = report([hint("late", "w", "d"), problem("gone", "no jobs", "start it", "gpu-0")], 1)
    assert text.index("problem: gpu-0: gone") < text.index("hint: late")
    assert "why it matters: no jobs\n  what to do: start it" in text
    assert text.endswith("1 runners asked: 1 problems, 1 hints.")


def test_names():
    assert named([str(number) for number in range(7)]) == "0, 1, 2, 3, 4 and 2 more"
