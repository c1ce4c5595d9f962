"""``Idempotency-Key`` on every create under /v1: sent again, at once or later, a request makes nothing again."""

import asyncio
import json

import aiohttp
import pytest
from sqlalchemy import text
from support.graphs import save_graph
from support.pools import gateway_over

from gateway.api.v1.routes import ENDPOINTS
from gateway.storage.writer import Operation

from .conftest import Api

GRAPH = json.dumps(save_graph(1))
KEY = {"Idempotency-Key": "the-key"}
CREATES = {
    "/v1/workflow": {"name": "w", "workflow_json": GRAPH},
    "/v1/template": {"name": "t", "description": "d", "body": GRAPH},
    "/v1/workflow/{workflow_id}/rerun": {},
    "/v1/template/{template_id}/run": {"name": "r"},
}


def form(fields, boundary="one"):
    """The same fields, differently written with every boundary."""
    with aiohttp.MultipartWriter("form-data", boundary=boundary) as writer:
        for name, value in sorted(fields.items(), reverse=boundary == "two"):
            part = writer.append(value)
            is_file = name in ("workflow_json", "body")
            part.set_content_disposition("form-data", name=name, **({"filename": "graph.json"} if is_file else {}))
        return writer


async def made(api):
    """Ids for the paths of what runs again."""
    workflow = await api.call("POST", "/v1/workflow", 201, data=form({"name": "w0", "workflow_json": GRAPH}))
    template = await api.call("POST", "/v1/template", 201, data=form({**CREATES["/v1/template"], "name": "t0"}))
    return {"workflow_id": workflow["id"], "template_id": template["id"]}


def test_every_create_takes_a_key():
    posts = {
        endpoint.path: any(parameter.name == "Idempotency-Key" for parameter in endpoint.parameters)
        for endpoint in ENDPOINTS
        if endpoint.method == "POST" and 201 in endpoint.answers
    }
    assert posts == dict.fromkeys(["/v1/runner", *CREATES], True)


@pytest.mark.parametrize("path", CREATES)
async def test_sent_again_it_is_answered_the_same_and_made_once(api, path):
    fields, url = CREATES[path], path.format(**await made(api))
    first = await api.call("POST", url, 201, data=form(fields), headers=KEY)
    assert "Idempotency-Replayed" not in api.last.headers
    before = [(await api.get(kind))["total"] for kind in ("/v1/workflow", "/v1/template")]
    again = await api.call("POST", url, 201, data=form(fields, boundary="two"), headers=KEY)
    assert again == first
    assert api.last.headers["Idempotency-Replayed"] == "true"
    assert [(await api.get(kind))["total"] for kind in ("/v1/workflow", "/v1/template")] == before
    other = await api.call("POST", url, 422, data=form({**fields, "name": "other"}), headers=KEY)
    assert "another request" in other


@pytest.mark.parametrize("path", CREATES)
async def test_sent_many_times_at_once_it_is_made_once(api, path):
    fields, url = CREATES[path], path.format(**await made(api))

    async def send():
        async with api.http.post(api.base + url, data=form(fields), headers=KEY) as answer:
            return answer.status, await answer.json()

    before = [(await api.get(kind))["total"] for kind in ("/v1/workflow", "/v1/template")]
    answers = await asyncio.gather(*(send() for _ in range(8)))
    assert {status for status, _ in answers} <= {201, 409}
    assert len({told["id"] for status, told in answers if status == 201}) == 1
    after = [(await api.get(kind))["total"] for kind in ("/v1/workflow", "/v1/template")]
    assert sum(after) == sum(before) + 1


@pytest.mark.parametrize("path", CREATES)
async def test_made_and_not_answered_it_is_given_back(api, path):
    """As after a crash between the making and the answer: the row of the key has no answer."""
    fields, url = CREATES[path], path.format(**await made(api))
    first = await api.call("POST", url, 201, data=form(fields), headers=KEY)
    before = [(await api.get(kind))["total"] for kind in ("/v1/workflow", "/v1/template")]
    await api.pool.rooms.db.write(Operation(text("update idempotency_keys set status = null, answer = null")))
    again = await api.call("POST", url, 201, data=form(fields), headers=KEY)
    assert again["id"] == first["id"]
    assert [(await api.get(kind))["total"] for kind in ("/v1/workflow", "/v1/template")] == before


async def test_after_a_restart_the_answer_is_known(tmp_path, spare):
    told = []
    for _ in range(2):
        async with gateway_over(tmp_path, [spare]) as pool, aiohttp.ClientSession() as http:
            api = Api(pool.base, http)
            told.append(await api.call("POST", "/v1/workflow", 201, data=form(CREATES["/v1/workflow"]), headers=KEY))
            assert (await api.get("/v1/workflow"))["total"] == 1
    assert told[0] == told[1]
