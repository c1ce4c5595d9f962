import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import jobs_api
from gateway.comfyui.jobs_api import JobsQuery, JobsQueryError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["filename", "format", "text", "type"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
RECORDED_LISTS = [
    "jobs /api/jobs",
    "jobs /api/jobs?status=pending",
    "jobs /api/jobs?status=in_progress&limit=1",
    "jobs_completed",
    "jobs_failed",
    "jobs_cancelled",
    "jobs_sorted",
]


def query_of(recorded: dict[str, Any]) -> dict[str, str]:
    _, _, text = recorded["request"]["path"].partition("?")
    return dict(pair.split("=") for pair in text.split("&") if pair)


def entry_of(outputs: Any, messages: list[Any] | None = None, status: str = "success") -> dict[str, Any]:
    return {
        "prompt": [1, "id", {}, {}, []],
        "outputs": outputs,
        "status": {"status_str": status, "completed": True, "messages": messages or []},
        "meta": {},
    }


def row_of(**outputs: list[Any]) -> dict[str, Any]:
    return jobs_api.from_history(entry_of({"9": outputs}), "id")


@pytest.mark.parametrize("scenario", RECORDED_LISTS)
def test_rows_of_recorded_entries_are_the_recorded_rows(new: dict[str, Any], history_in: Any, scenario: str) -> None:
    entries = history_in(new)
    for recorded in new[scenario]["json"]["jobs"]:
        if recorded["id"] in entries and recorded["status"] not in ("pending", "in_progress"):
            row = jobs_api.from_history(entries[recorded["id"]], recorded["id"])
            assert json.dumps(row) == json.dumps(recorded)


def test_all_three_ends_were_compared(new: dict[str, Any], history_in: Any) -> None:
    entries = history_in(new)
    statuses = {jobs_api.from_history(entry, "id")["status"] for entry in entries.values()}
    assert statuses == {"completed", "failed", "cancelled"}


def test_rows_of_the_recorded_queue(new: dict[str, Any]) -> None:
    queue = new["queue_running_and_pending"]["json"]
    rows = [jobs_api.pending_row(i[1], i[0], i[3], status="in_progress") for i in queue["queue_running"]]
    rows += [jobs_api.pending_row(item[1], item[0], item[3]) for item in queue["queue_pending"]]
    recorded = {row["id"]: row for row in new["jobs /api/jobs"]["json"]["jobs"]}
    assert [json.dumps(row) for row in rows] == [json.dumps(recorded[row["id"]]) for row in rows]
    pending = jobs_api.select(rows, jobs_api.parse_query({"status": "pending"}))
    assert pending == new["jobs /api/jobs?status=pending"]["json"]
    running = jobs_api.select(rows, jobs_api.parse_query({"status": "in_progress", "limit": "1"}))
    assert running == new["jobs /api/jobs?status=in_progress&limit=1"]["json"]
    assert rows[0] == new["jobs /api/jobs/{running}"]["json"]
    assert new["jobs /api/jobs/00000000-0000-4000-8000-000000000000"]["json"] == jobs_api.JOB_NOT_FOUND


def test_selecting_among_recorded_rows_gives_them_in_the_recorded_order(new: dict[str, Any]) -> None:
    rows = new["jobs /api/jobs"]["json"]["jobs"]
    assert jobs_api.select(reversed(rows), JobsQuery())["jobs"] == rows
    for scenario in ("jobs_completed", "jobs_failed", "jobs_cancelled", "jobs_sorted"):
        recorded = new[scenario]["json"]
        query = jobs_api.parse_query(query_of(new[scenario]))
        assert jobs_api.select(recorded["jobs"], query)["jobs"] == recorded["jobs"]
        assert query.limit == recorded["pagination"]["limit"]


def test_recorded_detail(new: dict[str, Any], history_in: Any) -> None:
    recorded = new["job_completed_detail"]["json"]
    assert json.dumps(jobs_api.detail(history_in(new)[recorded["id"]], recorded["id"])) == json.dumps(recorded)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            {"status": "x,pending,Y"},
            "Invalid status value(s): x, y. Valid values: pending, in_progress, completed, failed, cancelled",
        ),
        ({"sort_by": "name"}, "sort_by must be 'created_at' or 'execution_duration'"),
        ({"sort_order": "up"}, "sort_order must be 'asc' or 'desc'"),
        ({"limit": "0"}, "limit must be a positive integer"),
        ({"limit": "-4"}, "limit must be a positive integer"),
        ({"limit": "many"}, "limit must be an integer"),
        ({"limit": ""}, "limit must be an integer"),
        ({"offset": "x"}, "offset must be an integer"),
    ],
)
def test_refused_queries(query: dict[str, str], message: str) -> None:
    with pytest.raises(JobsQueryError) as refused:
        jobs_api.parse_query(query)
    assert refused.value.body == {"error": message}


def test_recorded_refusals(new: dict[str, Any]) -> None:
    for scenario in ("jobs /api/jobs?status=bogus", "jobs /api/jobs?limit=0"):
        with pytest.raises(JobsQueryError) as refused:
            jobs_api.parse_query(query_of(new[scenario]))
        assert refused.value.body == new[scenario]["json"]
    with pytest.raises(JobsQueryError) as refused:
        jobs_api.cancel_ids(new["jobs_cancel_many_empty"]["request"]["json"])
    assert refused.value.body == new["jobs_cancel_many_empty"]["json"]


def test_queries_are_lower_cased_and_trimmed() -> None:
    query = jobs_api.parse_query(
        {"status": " Pending,,FAILED ", "sort_order": "ASC", "offset": "-3", "workflow_id": ""}
    )
    assert query == JobsQuery(statuses=frozenset({"pending", "failed"}), sort_order="asc")
    assert jobs_api.parse_query({"status": ""}) == JobsQuery()
    assert jobs_api.parse_query({"status": ","}).statuses == frozenset()


def test_ids_to_cancel() -> None:
    assert jobs_api.cancel_ids({"job_ids": ["a", "b"]}) == ["a", "b"]
    with pytest.raises(JobsQueryError) as refused:
        jobs_api.cancel_ids({"job_ids": ["a", "", 5, {"x": 1}]})
    assert refused.value.body == {"error": "job_ids contains invalid id(s)", "invalid_ids": ["", "5", "{'x': 1}"]}


def test_pages() -> None:
    rows = [jobs_api.pending_row(str(number), number, {"create_time": number}) for number in range(5)]
    answer = jobs_api.select(rows, JobsQuery(limit=2, offset=1))
    assert [row["id"] for row in answer["jobs"]] == ["3", "2"]
    assert answer["pagination"] == {"offset": 1, "limit": 2, "total": 5, "has_more": True}
    assert jobs_api.select(rows, JobsQuery(limit=2, offset=3))["pagination"]["has_more"] is False
    beyond = jobs_api.select(rows, JobsQuery(offset=9))
    assert beyond == {"jobs": [], "pagination": {"offset": 9, "limit": None, "total": 5, "has_more": False}}


def test_workflows_are_told_apart() -> None:
    extra_data = {"extra_pnginfo": {"workflow": {"id": "w"}}, "create_time": 1}
    rows = [jobs_api.pending_row("a", 1, extra_data), jobs_api.pending_row("b", 2, {})]
    assert rows[0]["workflow_id"] == "w"
    assert [row["id"] for row in jobs_api.select(rows, JobsQuery(workflow_id="w"))["jobs"]] == ["a"]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 10), st.none() | st.integers(1, 10))
def test_falling_order_is_that_of_a_stable_sort(times: list[int], offset: int, limit: int | None) -> None:
    rows = [{"id": str(place), "status": "pending", "create_time": time} for place, time in enumerate(times)]
    wanted = sorted(rows, key=lambda row: row["create_time"], reverse=True)
    shown = jobs_api.select(rows, JobsQuery(sort_order="desc", offset=offset, limit=limit))["jobs"]
    assert shown == wanted[offset : None if limit is None else offset + limit]


def test_equal_rows_keep_their_order() -> None:
    rows = [jobs_api.pending_row(name, 1, {}) for name in "abc"]
    for order in ("asc", "desc"):
        assert jobs_api.select(rows, JobsQuery(sort_order=order))["jobs"] == rows


def test_queue_position_and_reason() -> None:
    row = jobs_api.pending_row("a", 1, {}, queue_position=3, queue_reason="capacity")
    assert (row["queue_position"], row["queue_reason"]) == (3, "capacity")


SAVED = {"filename": "s.png", "subfolder": "", "type": "output"}
TEMP = {"filename": "t.png", "subfolder": "", "type": "temp"}
NOTE = {"filename": "n.TXT", "subfolder": "", "type": "output"}
LATENT = {"filename": "l.latent", "subfolder": "", "type": "output"}


@pytest.mark.parametrize(
    ("outputs", "counts", "preview"),
    [
        ({"images": [TEMP, SAVED]}, (2, 2), SAVED | {"nodeId": "9", "mediaType": "images"}),
        ({"text": ["hello"], "files": [NOTE], "images": [TEMP]}, (2, 2), TEMP | {"nodeId": "9", "mediaType": "images"}),
        ({"text": ["hello"], "files": [NOTE]}, (1, 1), NOTE | {"nodeId": "9", "mediaType": "files"}),
        ({"text": ["hello", "more"]}, (0, 0), {"content": "hello", "nodeId": "9", "mediaType": "text"}),
        (
            {"text": ["x" * 1025]},
            (0, 0),
            {"content": "x" * 1024, "truncated": True, "nodeId": "9", "mediaType": "text"},
        ),
        ({"latents": [LATENT]}, (1, 0), None),
        (
            {"gifs": [SAVED | {"format": "video/mp4"}]},
            (1, 1),
            SAVED | {"format": "video/mp4", "nodeId": "9", "mediaType": "gifs"},
        ),
        ({"gifs": [SAVED]}, (1, 0), None),
        (
            {"result": ["m.GLB", "camera", None]},
            (1, 1),
            {"filename": "m.GLB", "type": "output", "subfolder": "", "mediaType": "3d", "nodeId": "9"},
        ),
        ({"animated": [True, SAVED]}, (0, 0), None),
        ({"images": "odd"}, (0, 0), None),
    ],
)
def test_outputs_are_counted_and_the_best_is_shown(outputs: Any, counts: tuple[int, int], preview: Any) -> None:
    row = row_of(**outputs)
    assert (row["outputs_count"], row["previewable_outputs_count"]) == counts
    assert row.get("preview_output") == preview


def test_details_show_models_as_files() -> None:
    entry = entry_of({"9": {"result": ["m.glb", None, "x"], "animated": [None]}, "8": None})
    assert jobs_api.detail(entry, "id")["outputs"] == {
        "9": {
            "result": [{"filename": "m.glb", "type": "output", "subfolder": "", "mediaType": "3d"}, "x"],
            "animated": [None],
        },
        "8": None,
    }


def test_ends() -> None:
    start, failed = ["execution_start", {"timestamp": 1}], ["execution_error", {"timestamp": 5, "node_id": "2"}]
    interrupted = ["execution_interrupted", {"timestamp": 7}]
    row = jobs_api.from_history(entry_of({}, [start, failed], "error"), "id")
    assert (row["status"], row["execution_start_time"], row["execution_end_time"]) == ("failed", 1, 5)
    assert row["execution_error"] == failed[1]
    assert jobs_api.from_history(entry_of({}, [start, interrupted], "error"), "id")["status"] == "cancelled"
    assert jobs_api.from_history(entry_of({}, ["odd", [1], ["x", None]], "odd"), "id")["status"] == "completed"


@given(st.dictionaries(st.sampled_from(["prompt", "outputs", "status", "meta"]), JSON), JSON)
def test_odd_entries_do_not_raise(entry: dict[str, Any], extra_data: Any) -> None:
    rows = [
        jobs_api.from_history(entry, "id"),
        jobs_api.from_history({"prompt": [1, "id", {}, extra_data, []], "outputs": {"1": entry}}, "id"),
        jobs_api.pending_row("id", 1, extra_data),
    ]
    jobs_api.detail(entry, "id")
    assert jobs_api.select(rows, JobsQuery(sort_by="execution_duration"))["pagination"]["total"] == 3
    assert len(jobs_api.select(rows, JobsQuery())["jobs"]) == 3
