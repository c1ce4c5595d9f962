"""Scenes, a line each: jobs, websockets, queue and history at every stage of a job. A newcomer adds a line.

Jobs are known by the name that `submit` gives them (`{a}` in paths and bodies), clients by the name of `connect`. At the
end of every scene runners go on, everything ends, and what each client heard is compared: no line needs to say so.
"""

# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from typing import Any

from differential.graphs import (
    ONLY_HERE,
    anywhere,
    here,
    load,
    load_anywhere,
    node,
    partly_valid,
    preview,
    sampled,
    to_websocket,
    two_outputs,
)
from differential.intended import NEW
from differential.requests import Case, get
from differential.stage import (
    FLAGS,
    asks,
    connect,
    disconnect,
    files,
    go,
    hear,
    held,
    hold,
    out_of_memory,
    posts,
    rest,
    scene,
    send,
    submit,
)
from differential.stories import PICTURE, image

UUID = "0f0f0f0f-1111-4222-8333-{:012d}"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
HELLO = {"type": "feature_flags", "data": FLAGS}
EXTRA = {"extra_pnginfo": {"workflow": {"id": "wf-{scene}", "nodes": []}}}
A = connect("A")
LOOK = asks("/queue", "/prompt", "/history")
JOBS = asks(get("/api/jobs", versions=(NEW,)))


def invalid(graph: Any, **more: Any) -> Any:
    """A prompt that is refused leaves nothing."""
    return (A, submit("a", graph, **more), asks("/queue", "/history"))


PROMPTS = [
    scene("a prompt runs", A, submit("a", here(1)), rest, asks("/history/{a}", "/history", "/queue"), files("a")),
    scene("a prompt anywhere", A, submit("a", anywhere(1)), rest, asks("/history/{a}"), files("a")),
    scene("under api", A, asks(Case("POST", "/api/prompt", {"prompt": {}})), submit("a", here(1)), rest, LOOK),
    scene("a rerun is cached", A, submit("a", here(1)), rest, submit("b", here(1)), rest, asks("/history"), files("b")),
    scene("a rerun in part", A, submit("a", here(1)), rest, submit("b", two_outputs(1)), rest, asks("/history")),
    scene("another prefix", A, submit("a", here(1)), rest, submit("b", here(1) | {"3": node("SaveImage", images=["4", 0], filename_prefix="{scene}/sub/x")}), rest, files("b")),
    scene("the next number", A, submit("a", here(1)), rest, submit("b", here(2)), rest, files("a"), files("b")),
    scene("free forgets the cache", A, submit("a", here(1)), rest, posts("/free", {"free_memory": True}), submit("b", here(1)), rest, files("b")),
    scene("a preview", A, submit("a", preview(1)), rest, asks("/history/{a}")),
    scene("a preview again", A, submit("a", preview(1)), rest, submit("b", preview(1)), rest, submit("c", preview(2))),
    scene("a picture by websocket", A, submit("a", to_websocket(1)), rest, asks("/history/{a}")),
    scene("a picture by websocket, with flags", connect("A", flags=FLAGS), submit("a", to_websocket(1))),
    scene("a batch of samples", A, submit("a", sampled(1)), rest, asks("/history/{a}"), files("a")),
    scene("a failing node", A, submit("a", here(1, fail_at=1)), rest, asks("/history/{a}")),
    scene("failing at once", A, submit("a", here(1, fail_at=0)), rest, asks("/history/{a}")),
    scene("failing, then fine", A, submit("a", here(1, fail_at=1)), rest, submit("b", here(1)), rest, asks("/history")),
    scene("out of memory", A, out_of_memory("ProgressProbe"), submit("a", here(1)), rest, asks("/history/{a}")),
    scene("out of memory while saving", A, out_of_memory("SaveImage"), submit("a", here(1)), rest, submit("b", here(1))),
    scene("an output outside", A, submit("a", here(1) | {"3": node("SaveImage", images=["4", 0], filename_prefix="../x")})),
    scene("two outputs", A, submit("a", two_outputs(1)), rest, asks("/history/{a}"), files("a")),
    scene("a partial target", A, submit("a", two_outputs(1), partial_execution_targets=["5"]), rest, asks("/history/{a}")),
    scene("partial targets", A, submit("a", two_outputs(1), partial_execution_targets=["5", "3"]), rest, asks("/history/{a}")),
    scene("no partial targets", A, submit("a", two_outputs(1), partial_execution_targets=[])),
    scene("an unknown partial target", A, submit("a", two_outputs(1), partial_execution_targets=["77"])),
    scene("a partial target that is no output", A, submit("a", two_outputs(1), partial_execution_targets=["2"])),
    scene("partly valid", A, submit("a", partly_valid(1)), rest, asks("/history/{a}")),
    scene("a note that nothing needs", A, submit("a", here(1, **{"9": node("ImageInvert", image=["1", 0])})), rest, asks("/history/{a}")),
    scene("a circle", A, submit("a", here(1, **{"7": node("ImageInvert", image=["8", 0]), "8": node("ImageInvert", image=["7", 0])})), rest, asks("/history/{a}")),
    scene("with a title", A, submit("a", here(1, **{"2": here(1)["2"] | {"_meta": {"title": "Probe"}}})), rest, asks("/history/{a}")),
    scene("without a client", A, submit("a", here(1), by=None), rest, asks("/history/{a}"), files("a")),
    scene("for a client that is not there", A, submit("a", here(1), by="Nobody"), rest, asks("/history/{a}")),
    scene("failing without a client", A, submit("a", here(1, fail_at=0), by=None), rest, asks("/history/{a}")),
    scene("a client id in extra_data", A, submit("a", here(1), by=None, extra_data={"client_id": "{scene}-A"}), rest, asks("/history/{a}")),
    scene("two client ids", A, connect("B"), submit("a", here(1), extra_data={"client_id": "{scene}-B"})),
    scene("a client id that is a number", A, submit("a", here(1), by=None, client_id=5), rest, asks("/history")),
    scene("a client id that is null", A, submit("a", here(1), by=None, client_id=None), rest, asks("/history")),
    scene("extra_data with a workflow", A, submit("a", here(1), extra_data=EXTRA), rest, asks("/history/{a}"), files("a")),
    scene("extra_data with secrets", A, submit("a", here(1), extra_data={"auth_token_comfy_org": "t", "api_key_comfy_org": "k", "x": 1}), rest, asks("/history/{a}")),
    scene("secrets in the queue", A, hold(), submit("a", here(1), extra_data={"api_key_comfy_org": "k"}), held, asks("/queue"), versions=(NEW,)),
    scene("extra_data of its own", A, submit("a", here(1), extra_data={"deep": {"x": [1, None, 2.5, "ü"]}}), rest, asks("/history/{a}")),
    scene("extra_data with a time", A, submit("a", here(1), extra_data={"create_time": 5}), rest, asks("/history/{a}")),
    scene("usage source", A, asks(Case("POST", "/prompt", {"prompt": here(1), "client_id": "{scene}-A", "prompt_id": UUID.format(1)}, headers={"Comfy-Usage-Source": "tests"})), rest, asks("/history")),
    scene("extra_data null", A, submit("a", here(1), extra_data=None), versions=(NEW,)),
    scene("extra_data a list", A, submit("a", here(1), extra_data=[1]), versions=(NEW,)),
    scene("extra_data a text", A, submit("a", here(1), extra_data="x"), versions=(NEW,)),
    scene("extra_data a number", A, submit("a", here(1), extra_data=3), versions=(NEW,)),
    scene("an id of its own", A, submit("a", here(1), prompt_id=UUID.format(2)), rest, asks("/history/{a}")),
    scene("an id that is null", A, submit("a", here(1), prompt_id=None), versions=(NEW,)),
    scene("an id in capitals", A, submit("a", here(1), prompt_id=UUID.format(3).upper().replace("0F", "AB")), rest, asks("/history")),
    scene("an id that is a text", A, submit("a", here(1), prompt_id="my-{scene}"), rest, asks("/history")),
    scene("an empty id", A, submit("a", here(1), prompt_id=""), rest, asks("/history")),
    scene("an id that is a number", A, submit("a", here(1), prompt_id=7), rest, asks("/history")),
    scene("an id that is a list", A, submit("a", here(1), prompt_id=["x"]), rest, asks("/history")),
    scene("an id of 200 letters", A, submit("a", here(1), prompt_id="x" * 200), rest, asks("/history")),
    scene("an id twice", A, submit("a", here(1), prompt_id=UUID.format(4)), rest, submit("b", here(2), prompt_id=UUID.format(4))),
    scene("number 7", A, submit("a", here(1), number=7), rest, asks("/history/{a}")),
    scene("number -1.5", A, submit("a", here(1), number=-1.5), rest, asks("/history/{a}")),
    scene("number as a text", A, submit("a", here(1), number="12"), rest, asks("/history/{a}")),
    scene("number that is none", A, submit("a", here(1), number="x")),
    scene("number null", A, submit("a", here(1), number=None)),
    scene("number and front", A, submit("a", here(1), number=3, front=True), rest, asks("/history/{a}")),
    scene("front", A, submit("a", here(1)), rest, submit("b", here(2), front=True), rest, asks("/history/{b}")),
]

INVALID = [
    scene("no graph", *invalid({})),
    scene("a graph that is a list", *invalid([])),
    scene("a graph that is a text", *invalid("x")),
    scene("a graph that is null", *invalid(None)),
    scene("no prompt", A, posts("/prompt", {}, {"client_id": "x"}, [], ["prompt"], "prompt", 5, None)),
    scene("no JSON", A, posts("/prompt", b"", b"{", b"\xff", b"nonsense")),
    scene("a node that is a text", *invalid(here(1, **{"7": "x"}))),
    scene("no class", *invalid(here(1, **{"7": {"inputs": {}}}))),
    scene("an unknown class", *invalid(here(1, **{"2": node("NoSuchNode", image=["1", 0])}))),
    scene("an unknown class beside", *invalid(here(1, **{"7": node("NoSuchNode")}))),
    scene("no outputs", *invalid({"1": here(1)["1"]})),
    scene("a missing input", *invalid(here(1) | {"3": node("SaveImage", images=["4", 0])})),
    scene("a missing link", *invalid(here(1) | {"3": node("SaveImage", filename_prefix="x")})),
    scene("a missing input above", *invalid(here(1) | {"2": node("ProgressProbe", image=["1", 0])})),
    scene("too large", *invalid(here(1) | {"1": node("EmptyImage", width=10**6, height=64, batch_size=1, color=0)})),
    scene("too small", *invalid(here(1) | {"1": node("EmptyImage", width=0, height=64, batch_size=1, color=0)})),
    scene("no number", *invalid(here(1) | {"1": node("EmptyImage", width="x", height=64, batch_size=1, color=0)})),
    scene("a number as a text", A, submit("a", here(1) | {"1": node("EmptyImage", width="64", height=64, batch_size=1, color=0)})),
    scene("a link to nowhere", *invalid(here(1) | {"4": node(ONLY_HERE, image=["77", 0])})),
    scene("a link of three", *invalid(here(1) | {"4": node(ONLY_HERE, image=["2", 0, 1])})),
    scene("a link to an output that is not there", *invalid(here(1) | {"4": node(ONLY_HERE, image=["2", 5])})),
    scene("another type", *invalid(sampled(1) | {"6": node("SaveImage", images=["4", 0], filename_prefix="x")})),
    scene("a value that is not listed", *invalid(sampled(1) | {"1": node("CheckpointLoaderSimple", ckpt_name="none.ckpt")})),
    scene("a picture that is not there", *invalid(load("none.png"))),
    scene("a picture elsewhere", *invalid(load("../../etc/passwd"))),
    scene("a circle under the output", *invalid(here(1) | {"4": node(ONLY_HERE, image=["4", 0])})),
    scene("two faults", *invalid(partly_valid(1) | {"3": node("SaveImage", images=["4", 0])})),
    scene("invalid while busy", A, hold(), submit("x", here(1)), submit("y", here(2)), submit("z", here(3)), held, *invalid(here(4) | {"3": node("SaveImage")})[1:]),
    scene("no class while busy", A, hold(), submit("x", here(1)), submit("y", here(2)), held, submit("a", here(1, **{"7": node("NoSuchNode")}))),
    scene("too large a body", A, posts("/prompt", b" " * 300_000)),
    scene("too large a prompt", A, submit("a", here(1), extra_data={"x": "y" * 300_000}), LOOK),
]

WEBSOCKETS = [
    scene("hello", A),
    scene("hello without an id", connect("A", query="")),
    scene("hello with an empty id", connect("A", query="clientId=")),
    scene("hello under api", asks(get("/api/ws")), A),
    scene("flags", connect("A", flags=FLAGS)),
    scene("no flags", connect("A", flags={})),
    scene("flags twice", A, send("A", HELLO, HELLO)),
    scene("junk before flags", A, send("A", "junk", HELLO)),
    scene("JSON before flags", A, send("A", {"type": "other"}, HELLO)),
    scene("a list before flags", A, send("A", [1], HELLO)),
    scene("bytes before flags", A, send("A", b"\x00\x00\x00\x01", HELLO)),
    scene("flags that are none", A, send("A", {"type": "feature_flags"})),
    scene("flags that are a list", A, send("A", {"type": "feature_flags", "data": []})),
    scene("flags without previews", connect("A", flags={"supports_preview_metadata": False}), submit("a", here(1, steps=3))),
    scene("previews without flags", A, submit("a", here(1, steps=3))),
    scene("previews with flags", connect("A", flags=FLAGS), submit("a", here(1, steps=3))),
    scene("previews with flags too late", A, send("A", "junk", HELLO), submit("a", here(1, steps=3))),
    scene("two clients", A, connect("B", flags=FLAGS), submit("a", here(1)), rest, submit("b", here(2), by="B")),
    scene("two clients by turns", A, connect("B"), hold(), submit("a", here(1)), submit("b", here(2), by="B"), submit("c", here(3)), held, LOOK),
    scene("a client that only listens", A, connect("B", query=""), submit("a", here(1, fail_at=1))),
    scene("a second socket", A, connect("A"), submit("a", here(1))),
    scene("a second socket while it runs", A, hold(3), submit("a", here(1)), held, connect("A"), hear),
    scene("gone before the end", A, connect("B"), hold(3), submit("a", here(1)), held, disconnect("A"), go, rest, asks("/history/{a}")),
    scene("gone before the start", A, connect("B"), disconnect("A"), submit("a", here(1)), rest, asks("/history/{a}")),
    scene("back while it runs", A, hold(3), submit("a", here(1)), held, disconnect("A"), connect("A"), hear),
    scene("back while it runs, with flags", connect("A", flags=FLAGS), hold(3), submit("a", here(1)), held, disconnect("A"), connect("A", flags=FLAGS), hear),
    scene("back after the end", A, hold(3), submit("a", here(1)), held, disconnect("A"), go, rest, connect("A"), hear),
    scene("back while nothing runs", A, submit("a", here(1)), rest, disconnect("A"), connect("A"), hear),
    scene("late, while another's job runs", A, hold(3), submit("a", here(1)), held, connect("B"), hear),
    scene("frames of each step", A, hold(0), submit("a", here(1)), held, hear, hold(1), held, hear, hold(1), held, hear),
    scene("frames of each step, with flags", connect("A", flags=FLAGS), hold(2), submit("a", here(1)), held, hear, hold(1), held, hear),
    scene("a log that is read", A, asks(Case("PATCH", "/internal/logs/subscribe", {"clientId": "{scene}-A", "enabled": True})), submit("a", here(1)), rest, asks(Case("PATCH", "/internal/logs/subscribe", {"clientId": "{scene}-A", "enabled": False})), submit("b", here(1))),
]

HELD = (A, hold(2), submit("a", here(1, steps=4)), held)  # a runs
BUSY = (A, hold(2), submit("a", here(1)), submit("b", here(2)), submit("c", here(3)), held)  # a runs; b and c wait

QUEUE = [
    scene("nothing", LOOK),
    scene("one runs", *HELD, hear, LOOK, asks("/history/{a}"), go, rest, LOOK, asks("/history/{a}")),
    scene("one runs, two wait", *BUSY, LOOK, go, rest, LOOK),
    scene("three of two clients", A, connect("B", flags=FLAGS), hold(2), submit("a", here(1)), submit("b", here(2), by="B"), submit("c", here(3), by="B"), held, LOOK),
    scene("interrupt", *HELD, posts("/interrupt", {}), rest, asks("/history/{a}"), LOOK),
    scene("interrupt without a body", *HELD, asks(Case("POST", "/interrupt")), rest, asks("/history/{a}")),
    scene("interrupt without JSON", *HELD, posts("/interrupt", b"{"), rest, asks("/history/{a}")),
    scene("interrupt by id", *HELD, posts("/interrupt", {"prompt_id": "{a}"}), rest, asks("/history/{a}")),
    scene("interrupt another id", *HELD, posts("/interrupt", {"prompt_id": UNKNOWN}), go, rest, asks("/history/{a}")),
    scene("interrupt an empty id", *HELD, posts("/interrupt", {"prompt_id": ""}), go, rest, asks("/history/{a}")),
    scene("interrupt what waits", *BUSY, posts("/interrupt", {"prompt_id": "{b}"}), go, rest, asks("/history")),
    scene("interrupt, the next goes on", *BUSY, posts("/interrupt", {}), go, rest, asks("/history")),
    scene("interrupt under api", *HELD, posts("/api/interrupt", {}), rest, asks("/history/{a}")),
    scene("interrupt twice", *HELD, posts("/interrupt", {}, {}), go, rest, submit("b", here(2)), rest, asks("/history")),
    scene("interrupt nothing", A, posts("/interrupt", {}), submit("a", here(1)), rest, asks("/history/{a}")),
    scene("interrupt without a client", A, hold(2), submit("a", here(1), by=None), held, posts("/interrupt", {}), rest, asks("/history/{a}")),
    scene("interrupt, heard by another", *HELD, connect("B"), posts("/interrupt", {})),
    scene("delete what waits", *BUSY, posts("/queue", {"delete": ["{b}"]}), LOOK, asks("/history/{b}"), go, rest, asks("/history")),
    scene("delete both", *BUSY, posts("/queue", {"delete": ["{b}", "{c}"]}), LOOK, go, rest, asks("/history")),
    scene("delete what runs", *HELD, posts("/queue", {"delete": ["{a}"]}), LOOK, go, rest, asks("/history/{a}")),
    scene("delete what has ended", A, submit("a", here(1)), rest, posts("/queue", {"delete": ["{a}"]}), asks("/history/{a}")),
    scene("delete what is unknown", *BUSY, posts("/queue", {"delete": [UNKNOWN, "x", 5]}), LOOK),
    scene("clear", *BUSY, posts("/queue", {"clear": True}), LOOK, go, rest, asks("/history")),
    scene("clear and delete", *BUSY, posts("/queue", {"clear": True, "delete": ["{b}", "{a}"]}), LOOK),
    scene("clear, then more", *BUSY, posts("/queue", {"clear": True}), submit("d", here(4)), LOOK, go, rest, asks("/history")),
    scene("clear without a queue", A, posts("/queue", {"clear": True}), LOOK),
    scene("clear false", *BUSY, posts("/queue", {"clear": False}), asks("/prompt")),
    scene("queue without JSON", posts("/queue", b"{", b"", [], "x", 5, None)),
    scene("delete that is a text", *BUSY, posts("/queue", {"delete": "{b}"}), asks("/prompt")),
    scene("delete null", posts("/queue", {"delete": None}), posts("/history", {"delete": None})),
    scene("history without JSON", posts("/history", b"{", b"", [], "x", 5, None)),
    scene("in front", *BUSY, submit("d", here(4), front=True), LOOK, go, rest, asks("/history")),
    scene("by number", *HELD, submit("b", here(2), number=5), submit("c", here(3), number=2.5), LOOK, go, rest, asks("/history")),
    scene("front and number", *HELD, submit("b", here(2)), submit("c", here(3), front=True), submit("d", here(4), number=-5), LOOK, go, rest, asks("/history")),
    scene("in front when alone", *HELD, submit("b", here(2), front=True), LOOK, go, rest, asks("/history")),
    scene("a failure, the next goes on", A, hold(2), submit("a", here(1, fail_at=1)), submit("b", here(2)), held, go, rest, asks("/history")),
    scene("history is deleted", A, submit("a", here(1)), rest, submit("b", here(2)), rest, posts("/history", {"delete": ["{a}"]}), LOOK, asks("/history/{a}")),
    scene("history is cleared", A, submit("a", here(1)), rest, posts("/history", {"clear": True}), LOOK, asks("/history/{a}")),
    scene("history is cleared while one runs", *HELD, posts("/history", {"clear": True, "delete": ["{a}"]}), go, rest, LOOK),
    scene("a file outlives its history", A, submit("a", here(1)), rest, posts("/history", {"clear": True}), asks("/view?filename={scene}_00001_.png&preview=jpeg", Case("HEAD", "/view?filename={scene}_00001_.png"))),
    scene("history by pages", A, submit("a", here(1)), rest, submit("b", here(2)), rest, submit("c", here(3)), rest, asks(*(f"/history?{query}" for query in ("max_items=2", "max_items=2&offset=0", "max_items=1&offset=1", "offset=1", "offset=9", "max_items=0", "max_items=-1", "max_items=9&offset=-1", "max_items=", "offset=x")))),
]

ENDED = (A, submit("a", here(1), extra_data=EXTRA), rest, submit("b", here(2, fail_at=1)), rest, submit("c", preview(3)), rest)
MODERN = {"versions": (NEW,)}
QUERIES = (
    "status=completed", "status=failed", "status=cancelled", "status=pending", "status=in_progress",
    "status=completed,failed", "status=completed,%20failed", "status=,", "status=", "status=bogus,other",
    "limit=1", "limit=1&offset=1", "limit=1&offset=9", "limit=", "limit=x", "limit=-1", "limit=1.5", "offset=x", "offset=-1",
    "sort_by=created_at", "sort_by=execution_duration&status=failed", "sort_by=bogus", "sort_by=", "sort_order=asc", "sort_order=desc",
    "sort_order=bogus", "sort_by=created_at&sort_order=asc&limit=2", "workflow_id=wf-{scene}", "workflow_id=none", "workflow_id=",
    "sort=x&unknown=1",
)  # fmt: skip

JOBS_API = [
    scene("jobs, none", asks("/api/jobs", f"/api/jobs/{UNKNOWN}", "/api/jobs/x"), **MODERN),
    *(scene(f"jobs by {query}", *ENDED, asks(f"/api/jobs?{query}"), **MODERN) for query in QUERIES),
    scene("jobs in every state", *ENDED, hold(2), submit("d", here(4)), submit("e", here(5)), held, asks("/api/jobs?sort_order=asc", "/api/jobs?status=in_progress", "/api/jobs?status=pending", "/api/jobs/{d}", "/api/jobs/{e}"), **MODERN),
    scene("jobs in detail", *ENDED, asks("/api/jobs/{a}", "/api/jobs/{b}", "/api/jobs/{c}"), **MODERN),
    scene("a job interrupted", *HELD, posts("/interrupt", {}), rest, asks("/api/jobs", "/api/jobs/{a}"), **MODERN),
    scene("a job deleted", *BUSY, posts("/queue", {"delete": ["{b}"]}), asks("/api/jobs", "/api/jobs/{b}"), **MODERN),
    scene("jobs after the history", *ENDED, posts("/history", {"clear": True}), asks("/api/jobs", "/api/jobs/{a}"), **MODERN),
    scene("cancel what runs", *HELD, posts("/api/jobs/{a}/cancel", {}), rest, asks("/history/{a}", "/api/jobs"), **MODERN),
    scene("cancel what waits", *BUSY, posts("/api/jobs/{b}/cancel", {}), LOOK, go, rest, asks("/history"), **MODERN),
    scene("cancel what waits last", *BUSY, posts("/api/jobs/{c}/cancel", {}), LOOK, go, rest, asks("/history"), **MODERN),
    scene("cancel what has ended", A, submit("a", here(1)), rest, posts("/api/jobs/{a}/cancel", {}), asks("/history/{a}"), **MODERN),
    scene("cancel what is unknown", posts(f"/api/jobs/{UNKNOWN}/cancel", {}), posts("/api/jobs/x/cancel", {}), **MODERN),
    scene("cancel twice", *HELD, posts("/api/jobs/{a}/cancel", {}), rest, posts("/api/jobs/{a}/cancel", {}), **MODERN),
    scene("cancel many", *BUSY, posts("/api/jobs/cancel", {"job_ids": ["{a}", "{c}", UNKNOWN]}), go, rest, asks("/history"), **MODERN),
    scene("cancel none", posts("/api/jobs/cancel", {"job_ids": []}, {}, [], {"job_ids": "x"}, {"job_ids": [5]}, {"job_ids": [None]}, b"{", None), **MODERN),
    scene("cancel by other methods", asks(get(f"/api/jobs/{UNKNOWN}/cancel"), Case("PUT", "/api/jobs/cancel")), **MODERN),
    scene("jobs over an old runner", asks("/api/jobs"), versions=("0.3.64",)),
]

UPLOAD = asks(image("{scene}.png"))
NEXT = asks("/view?filename={scene}_00001_.png&preview=jpeg")
FILES = [
    scene("an upload runs", A, UPLOAD, submit("a", load("{scene}.png")), rest, asks("/history/{a}"), files("a")),
    scene("an upload runs anywhere", A, UPLOAD, submit("a", load_anywhere("{scene}.png")), rest, asks("/history/{a}"), files("a")),
    scene("an upload in a folder", A, asks(image("{scene}.png", subfolder="deep/er")), submit("a", load("deep/er/{scene}.png")), rest, files("a")),
    scene("a temporary upload", A, asks(image("{scene}.png", type="temp")), submit("a", load("{scene}.png [temp]")), rest, files("a")),
    scene("an upload as an output", A, asks(image("{scene}.png", type="output")), submit("a", load("{scene}.png [output]")), rest, files("a")),
    scene("an upload changes", A, UPLOAD, submit("a", load("{scene}.png")), rest, asks(image("{scene}.png", PICTURE + b" ", overwrite="true")), submit("b", load("{scene}.png")), rest, files("b")),
    scene("an upload twice", A, UPLOAD, UPLOAD, asks(image("{scene}.png", PICTURE + b" ")), submit("a", load("{scene} (1).png"))),
    scene("a name with blanks", A, asks(image("{scene} ü (x).png")), submit("a", load("{scene} ü (x).png")), rest, files("a")),
    scene("no picture", A, asks(image("{scene}.png", b"text")), submit("a", load("{scene}.png")), rest, asks("/history/{a}")),
    scene("an output as an input", A, submit("a", here(1)), rest, submit("b", load("{scene}_00001_.png [output]")), rest, asks("/history/{b}"), files("b")),
    scene("an output as an input anywhere", A, submit("a", anywhere(1)), rest, submit("b", load_anywhere("{scene}_00001_.png [output]")), rest, files("b")),
    scene("an output as an input, again", A, submit("a", here(1)), rest, submit("b", load("{scene}_00001_.png [output]")), rest, submit("c", load("{scene}_00001_.png [output]")), rest, asks("/history/{c}")),
    scene("an output that is not there", A, submit("a", load("{scene}_00009_.png [output]"))),
    scene("an output in a folder", A, submit("a", here(1) | {"3": node("SaveImage", images=["4", 0], filename_prefix="{scene}/x")}), rest, submit("b", load("{scene}/x_00001_.png [output]")), rest, files("b")),
    scene("an upload replaces an output", A, submit("a", here(1)), rest, asks(image("{scene}_00001_.png", type="output", overwrite="true")), files("a"), submit("b", load("{scene}_00001_.png [output]")), rest, files("b")),
    scene("views of an output", A, submit("a", here(1)), rest, *(asks(f"/view?filename={{scene}}_00001_.png{query}") for query in ("&type=output&preview=webp;90", "&type=input", "&type=temp", "&subfolder=x", "&type=output&channel=a", "&preview=jpeg;50"))),
    scene("parts of an output", A, submit("a", here(1)), rest, asks(get("/view?filename={scene}_00001_.png", Range="bytes=1-3"), get("/view?filename={scene}_00001_.png", Range="bytes=99999-"), Case("HEAD", "/api/view?filename={scene}_00001_.png"))),
    scene("counters anywhere", A, submit("a", anywhere(1)), rest, submit("b", anywhere(2)), rest, submit("c", anywhere(3)), rest, files("a"), files("b"), files("c")),
    scene("listed inputs", A, UPLOAD, asks("/object_info/LoadImage")),
]

AT_ONCE = [
    scene("three at once", A, submit("a", anywhere(1)), submit("b", anywhere(2)), submit("c", anywhere(3)), rest, asks("/queue"), apart=True),
    scene("three at once, with flags", connect("A", flags=FLAGS), submit("a", anywhere(1)), submit("b", anywhere(2)), submit("c", anywhere(3)), rest, apart=True),
    scene("three of three clients", A, connect("B"), connect("C", flags=FLAGS), submit("a", anywhere(1)), submit("b", anywhere(2), by="B"), submit("c", anywhere(3), by="C"), rest, apart=True),
    scene("one of three fails", A, submit("a", anywhere(1)), submit("b", anywhere(2) | {"2": here(2, fail_at=1)["2"]}), submit("c", anywhere(3)), rest, asks("/history/{b}"), apart=True),
    scene("a rerun anywhere", A, submit("a", anywhere(1)), rest, submit("b", anywhere(1)), rest, asks("/history/{b}"), files("b")),
]

FAMILIES = {
    "prompts": PROMPTS,
    "invalid": INVALID,
    "websockets": WEBSOCKETS,
    "queue": QUEUE,
    "jobs": JOBS_API,
    "files": FILES,
    "at once": AT_ONCE,
}
SCENES = [each for family in FAMILIES.values() for each in family]
