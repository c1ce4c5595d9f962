"""Told as stories: a job's frames are written `a:start`, and so is what the client is told."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import frames, messages
from gateway.sessions.focus import TAKES_UP, Focus, is_end

ROOMY = {"frames_most": 10_000, "bytes_most": 10_000_000}
KINDS = {
    "start": "execution_start",
    "cached": "execution_cached",
    "state": "progress_state",
    "progress": "progress",
    "executed": "executed",
    "success": "execution_success",
    "custom": "my-node",
}


def frame(line):
    """`a:start`, `a:end`, `a:jpeg`, `a:state2` …: the number tells frames of a kind apart."""
    job, kind = line.split(":")
    word = kind.rstrip("0123456789")
    if word == "end":
        return messages.executing(None, job)
    if word == "node":
        return messages.executing(kind, job)
    if word == "text":
        return frames.progress_text_frame(frames.ProgressText("1", kind, job))
    if word in ("jpeg", "png"):
        metadata = {"image_type": f"image/{word}", "prompt_id": job, "kind": kind}
        return frames.preview_frame_with_metadata(b"", metadata)
    return messages.make(KINDS[word], {"prompt_id": job, "kind": kind})


def line(told):
    """The other way round."""
    if isinstance(told, bytes):
        if frames.event_of(told) == frames.BinaryEvent.TEXT:
            text = frames.decode_progress_text(told, has_prompt_id=True)
            return f"{text.prompt_id}:{text.text}"
        metadata = frames.decode_preview(told).metadata
        return f"{metadata['prompt_id']}:{metadata['kind']}"
    job = told.data["prompt_id"]
    if is_end(told):
        return f"{job}:end"
    return f"{job}:{told.data['node' if told.type == 'executing' else 'kind']}"


def hear(focus, *story):
    """What is told in answer to each line, one after the other; `a:lost` loses the job."""
    told = []
    for each in story:
        job, kind = each.split(":")
        told += focus.lost(job) if kind == "lost" else focus.hear(job, frame(each))
    return [line(each) for each in told]


def whole(job):
    return [f"{job}:{kind}" for kind in ("start", "cached", "node1", "state", "executed", "success", "end")]


class TestTurns:
    def test_one_job_passes(self):
        assert hear(Focus(**ROOMY), *whole("a"), *whole("b")) == [*whole("a"), *whole("b")]

    def test_another_job_is_kept_until_the_end_and_then_live(self):
        focus = Focus(**ROOMY)
        assert hear(focus, "a:start", "b:start", "b:node1", "a:node1") == ["a:start", "a:node1"]
        assert "b" in focus
        assert hear(focus, "a:success", "a:end") == ["a:success", "a:end", "b:start", "b:node1"]
        assert focus.live == "b"
        assert hear(focus, "b:jpeg", "b:end") == ["b:jpeg", "b:end"]
        assert focus.live is None

    def test_those_that_have_ended_are_told_before_the_next_that_runs(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start", "b:start", *whole("c"), "d:start", *whole("e"))
        assert hear(focus, "a:end") == ["a:end", *whole("c"), *whole("e"), "b:start"]
        assert hear(focus, "b:end") == ["b:end", "d:start"]

    def test_previews_of_kept_jobs_are_dropped_and_results_kept(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start", "b:start", "b:node1", "b:jpeg1", "b:png1", "b:png2", "b:jpeg2")
        assert hear(focus, "a:end") == ["a:end", "b:start", "b:node1", "b:png1", "b:png2"]

    def test_progress_of_kept_jobs_is_the_newest_of_its_kind_at_its_own_place(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start", "b:start", "b:state1", "b:progress1", "b:text1", "b:node2")
        hear(focus, "b:state2", "b:text2", "b:executed1", "b:progress2", "b:executed2")
        assert hear(focus, "a:end") == [
            "a:end", "b:start", "b:node2", "b:state2", "b:text2", "b:executed1", "b:progress2", "b:executed2"
        ]  # fmt: skip

    def test_texts_of_two_nodes_do_not_replace_each_other(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start")
        for node in ("1", "2", "1"):
            focus.hear("b", frames.progress_text_frame(frames.ProgressText(node, "x", "b")))
        assert focus.kept_frames == 2

    def test_what_comes_after_the_end_is_dropped(self):
        focus = Focus(**ROOMY)
        assert hear(focus, *whole("a"), "a:executed", "b:start") == [*whole("a"), "b:start"]
        assert hear(focus, *whole("c"), "b:end") == ["b:end", *whole("c")]
        assert hear(focus, "c:executed", "d:start") == ["d:start"]

    def test_nothing_is_kept_of_what_was_told(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start", *whole("b"), "c:state1", "c:state2", "a:end", "c:end")
        assert (focus.kept_frames, focus.kept_bytes) == (0, 0)

    def test_drain(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start", "b:start", "c:start", "b:end")
        assert [line(each) for each in focus.drain()] == ["b:start", "b:end", "c:start"]
        assert (focus.live, focus.kept_frames, focus.kept_bytes) == (None, 0, 0)


class TestLosses:
    def test_the_live_job_gives_its_turn_away_and_begins_anew(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start", "b:start", "a:node1")
        assert hear(focus, "a:lost") == ["b:start"]
        assert hear(focus, "a:start", "a:node2") == []
        assert hear(focus, "b:end") == ["b:end", "a:start", "a:node2"]
        assert hear(focus, "a:end") == ["a:end"]

    def test_the_only_job_begins_anew_at_once(self):
        focus = Focus(**ROOMY)
        assert hear(focus, "a:start", "a:lost", *whole("a")) == ["a:start", *whole("a")]

    def test_a_kept_job_is_told_once(self):
        focus = Focus(**ROOMY)
        assert hear(focus, "a:start", "b:start", "b:executed", "b:lost", "a:end") == ["a:start", "a:end"]
        assert focus.live is None
        assert hear(focus, *whole("b")) == whole("b")

    def test_a_lost_job_can_end_without_beginning_again(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start", "b:start", "a:lost")
        assert hear(focus, "a:success", "a:end") == []
        assert hear(focus, "b:end") == ["b:end", "a:success", "a:end"]

    def test_of_a_job_unknown_or_ended(self):
        focus = Focus(**ROOMY)
        assert hear(focus, "a:lost", *whole("b"), "b:lost") == whole("b")

    def test_an_attempt_that_begins_again_unannounced(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start", "a:start", "b:start", "b:start")
        assert hear(focus, "a:end") == ["a:end", "b:start", "b:start"]


class TestBounds:
    def test_the_oldest_kept_is_thinned(self):
        focus = Focus(frames_most=8, bytes_most=10_000_000)
        hear(focus, "a:start", "b:start", "b:cached", "b:node1", "b:custom", "b:png", "b:node2", "b:state", "c:start")
        assert focus.kept_frames == 8
        assert hear(focus, "c:node1") == []
        assert hear(focus, "b:success", "b:end", "a:end") == [
            "a:end", "b:start", "b:node1", "b:png", "b:success", "b:end", "c:start", "c:node1"
        ]  # fmt: skip

    def test_the_turn_changes_when_thinning_does_not_do(self):
        focus = Focus(frames_most=4, bytes_most=10_000_000)
        hear(focus, "a:start", "a:cached", "a:node1", "a:state1", "a:executed1", "a:node2", "a:state2")
        told = hear(focus, "b:start", "b:executed1", "b:executed2", "b:executed3", "b:executed4")
        assert told == ["b:start", "b:executed1", "b:executed2", "b:executed3", "b:executed4"]
        assert focus.live == "b"
        assert hear(focus, "b:end") == ["b:end", "a:start", "a:cached", "a:state2", "a:node2"]
        assert hear(focus, "a:end") == ["a:end"]

    def test_ended_jobs_are_told_and_the_live_one_goes_on(self):
        focus = Focus(frames_most=4, bytes_most=10_000_000)
        hear(focus, "a:start", "a:node1")
        told = hear(focus, *whole("b")[-3:], *whole("c")[-3:])
        assert told == [*whole("b")[-3:], "a:start", "a:node1"]
        assert focus.live == "a"
        assert hear(focus, "a:end") == ["a:end", *whole("c")[-3:]]

    def test_a_frame_larger_than_all_bounds(self):
        focus = Focus(frames_most=100, bytes_most=1_000)
        hear(focus, "a:start", "b:start")
        picture = frames.preview_frame(bytes(2_000), "image/png")
        told = focus.hear("b", picture)
        assert told[1] is picture
        assert focus.live == "b"
        assert focus.kept_bytes < 1_000

    def test_of_several_the_one_with_the_most_is_told(self):
        focus = Focus(frames_most=6, bytes_most=10_000_000)
        hear(focus, "a:start", "b:start", "c:start")
        told = hear(focus, *(f"c:executed{number}" for number in range(10)))
        assert told[:5] == ["c:start", "c:executed0", "c:executed1", "c:executed2", "c:executed3"]
        assert (focus.live, focus.kept_frames) == ("c", 2)

    def test_bounds_may_become_tighter(self):
        focus = Focus(**ROOMY)
        hear(focus, "a:start", *whole("b"), "c:start", "c:custom")
        told = [line(each) for each in focus.bound(frames_most=3, bytes_most=10_000_000)]
        assert told == ["b:start", "b:executed", "b:success", "b:end", "a:start"]


def interleavings(*traces):
    """Every order in which these can come."""
    if sum(map(bool, traces)) < 2:
        yield [frame for trace in traces for frame in trace]
        return
    first, second = traces
    total = len(first) + len(second)
    for places in combinations(range(total), len(first)):
        one, two = iter(first), iter(second)
        yield [next(one if place in places else two) for place in range(total)]


def is_serial(told):
    """Each job from its start to its end before the next one starts."""
    live = None
    for each in told:
        job, kind = each.split(":")
        if live is None and kind != "start":
            return False
        if live not in (None, job):
            return False
        live = None if kind == "end" else job
    return live is None


def test_every_interleaving_of_two_jobs():
    first, second = (
        [f"{job}:{kind}" for kind in ("start", "node1", "state", "executed", "success", "end")] for job in "ab"
    )
    for story in interleavings(first, second):
        told = hear(Focus(**ROOMY), *story)
        assert is_serial(told)
        assert sorted(told) == sorted(story)
        assert [each for each in told if each[0] == "a"] == first
        assert [each for each in told if each[0] == "b"] == second


MIDDLE = ["node", "state", "progress", "executed", "custom", "jpeg", "png", "text"]


@st.composite
def stories(draw, *, losses):
    """Interleaved traces of some jobs; a lost job's trace begins anew."""
    traces = {}
    for job in "abcd"[: draw(st.integers(1, 4))]:
        trace, number = [], 0
        for attempt in range(draw(st.integers(0, 2)) if losses else 0, -1, -1):
            trace.append(f"{job}:start{attempt}")
            for kind in draw(st.lists(st.sampled_from(MIDDLE), max_size=8)):
                number += 1
                trace.append(f"{job}:{kind}{number}")
            trace += [f"{job}:lost"] if attempt else [*draw(st.sampled_from([[f"{job}:success"], []])), f"{job}:end"]
        traces[job] = trace
    turns = draw(st.permutations([job for job, trace in traces.items() for _ in trace]))
    rests = {job: iter(trace) for job, trace in traces.items()}
    return [next(rests[job]) for job in turns]


def essential(story):
    """What may be neither dropped nor replaced by what is newer."""
    return [
        each for each in story if each.split(":")[1].rstrip("0123456789") not in ("jpeg", "state", "progress", "text")
    ]


def of(job, lines):
    return [each for each in lines if each.startswith(f"{job}:")]


@given(stories(losses=False))
def test_any_interleaving_is_told_as_a_serial_run(story):
    focus = Focus(**ROOMY)
    told = hear(focus, *story)
    assert is_serial([each.replace("start0", "start") for each in told])
    assert Counter(essential(told)) == Counter(essential(story))
    assert set(told) <= set(story)
    for job in "abcd":
        assert of(job, essential(told)) == of(job, essential(story))
        in_order = iter(of(job, story))
        assert all(each in in_order for each in of(job, told))
        for kind in ("state", "progress"):
            assert [each for each in of(job, told) if kind in each][-1:] == [
                each for each in of(job, story) if kind in each
            ][-1:]
    assert (focus.live, focus.kept_frames, focus.kept_bytes) == (None, 0, 0)


@given(stories(losses=True))
def test_with_losses_each_turn_begins_with_a_start_and_every_job_ends_once(story):
    focus = Focus(**ROOMY)
    told = hear(focus, *story)
    assert belong_to_the_last_start(told)
    for job in "abcd":
        last_attempt = of(job, story)[-1 - of(job, story)[::-1].index(f"{job}:start0") :] if of(job, story) else []
        assert of(job, essential(told))[-len(essential(last_attempt)) or len(told) :] == essential(last_attempt)
        assert len([each for each in told if each == f"{job}:end"]) == bool(last_attempt)
    assert (focus.live, focus.kept_frames, focus.kept_bytes) == (None, 0, 0)


@given(stories(losses=True), st.integers(0, 12), st.integers(0, 2_000))
def test_bounds_hold_and_nothing_that_matters_is_lost(story, frames_most, bytes_most):
    focus = Focus(frames_most=frames_most, bytes_most=bytes_most)
    told = []
    for each in story:
        told += hear(focus, each)
        assert focus.kept_frames <= frames_most + 3 * len(TAKES_UP)
        assert focus.kept_bytes <= bytes_most + 3 * len(TAKES_UP) * 150
    assert belong_to_the_last_start(told)
    lasting = [each for each in told if each.split(":")[1].startswith(("executed", "success", "end", "png"))]
    assert len(lasting) == len(set(lasting))
    for job in "abcd":
        last_attempt = of(job, story)[-1 - of(job, story)[::-1].index(f"{job}:start0") :] if of(job, story) else []
        wanted = [each for each in last_attempt if each.split(":")[1].startswith(("executed", "success", "end", "png"))]
        assert of(job, lasting)[-len(wanted) or len(lasting) :] == wanted
    assert (focus.live, focus.kept_frames, focus.kept_bytes) == (None, 0, 0)


def belong_to_the_last_start(told):
    """Whoever tracks one job, that of the last start, takes no frame for another's."""
    live = None
    for each in told:
        job, kind = each.split(":")
        live = job if kind.startswith("start") else live
        if job != live:
            return False
    return True


@pytest.mark.parametrize("count", [2_000])
def test_thousands_of_short_jobs_behind_a_long_one(count):
    focus = Focus(frames_most=1_000, bytes_most=10_000_000)
    told = hear(focus, "long:start", "long:node1")
    for number in range(count):
        told += hear(focus, *whole(f"job-{number}"))
        assert focus.kept_frames <= 1_000
    told += hear(focus, "long:end")
    assert [each for each in told if each.endswith(":end")][-1].startswith("job-")
    assert len({each for each in told if each.endswith(":end")}) == count + 1
    assert belong_to_the_last_start(told)
