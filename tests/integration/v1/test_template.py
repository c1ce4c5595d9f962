"""``/v1/template``: every documented call with its errors, versions, and runs."""

import asyncio
import json

import pytest
from support.client import Client
from support.graphs import save_graph
from support.owners import ACCESS, admin_of, client_of
from support.pools import gateway_over
from support.v1 import NOWHERE, TIME, UNLIMITED, UUID4, asking_graph, call, outputs_of, refusal, until, v1_pool

HEAD = {"id", "user_id", "name", "description", "created_at", "updated_at"}
OURS = {"version"}
OF_ONE = [
    ("GET", "/v1/template/{id}"),
    ("GET", "/v1/template/{id}/versions"),
    ("PUT", "/v1/template/{id}"),
    ("DELETE", "/v1/template/{id}"),
    ("POST", "/v1/template/{id}/run"),
]


def fields(**changes):
    whole = {"name": "Portrait", "description": "A face.", "body": ("body.json", json.dumps(asking_graph()).encode())}
    return {name: value for name, value in (whole | changes).items() if value is not None}


async def make(client, **changes):
    return await call(client, "POST", "/v1/template", 201, fields=fields(**changes))


class TestKeeping:
    async def test_the_documented_example(self, client):
        made = await make(client)
        assert set(made) == HEAD | OURS | {"body"}
        assert UUID4.fullmatch(made["id"])
        assert made["user_id"] == (await client.get("/v1/user"))["id"]
        assert TIME.fullmatch(made["created_at"])
        assert made["updated_at"] == made["created_at"]
        assert (made["name"], made["description"], made["version"]) == ("Portrait", "A face.", 1)
        assert made["body"] == asking_graph()
        assert await call(client, "GET", f"/v1/template/{made['id']}") == made

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"name": None}, "name is required"),
            ({"name": ""}, "name cannot be empty"),
            ({"name": "x" * 101}, "name is longer than 100 characters"),
            ({"description": None}, "description is required"),
            ({"description": ""}, "description cannot be empty"),
            ({"description": "x" * 501}, "description is longer than 500 characters"),
            ({"body": None}, "body is required"),
            ({"body": ("b.json", b"{")}, "body is not valid JSON"),
            ({"body": ("b.json", b"3")}, "body must be a JSON object"),
            ({"body": ("b.json", b'{"nodes": [], "links": []}')}, "editor's format"),
            ({"body": ("b.json", b'{"1": {"class_type": "A", "inputs": {"x": "$file(a/b)"}}}')}, "$file(a/b)"),
        ],
    )
    async def test_what_is_wrong_is_told(self, client, changes, message):
        assert message in await refusal(client, "POST", "/v1/template", 400, fields=fields(**changes))
        assert (await client.get("/v1/template")) == {"templates": [], "total": 0}

    async def test_the_longest_are_taken(self, client):
        made = await make(client, name="x" * 100, description="y" * 500)
        assert (len(made["name"]), len(made["description"])) == (100, 500)

    async def test_the_limit_is_403(self, tmp_path):
        config = {"workflows": {"max_templates": 2}}
        async with v1_pool(tmp_path, 1, config=config) as pool, Client.connected(pool.base) as client:
            first = await make(client)
            await make(client)
            assert "Template limit" in await refusal(client, "POST", "/v1/template", 403, fields=fields())
            await call(client, "DELETE", f"/v1/template/{first['id']}")
            await make(client)

    async def test_a_key_makes_it_once(self, client):
        headers = {"Idempotency-Key": "t-1"}
        first = await call(client, "POST", "/v1/template", 201, fields=fields(), headers=headers)
        assert await call(client, "POST", "/v1/template", 201, fields=fields(), headers=headers) == first
        assert (await client.get("/v1/template"))["total"] == 1

    async def test_the_list_is_in_pages_newest_first_without_bodies(self, client):
        for number in range(12):
            await make(client, name=f"t{number}")
        first = await client.get("/v1/template")
        assert [each["name"] for each in first["templates"]] == [f"t{number}" for number in range(11, 1, -1)]
        assert (set(first["templates"][0]), first["total"]) == (HEAD | OURS, 12)
        last = await client.get("/v1/template", page=2, per_page=11)
        assert ([each["name"] for each in last["templates"]], last["total"]) == (["t0"], 12)

    @pytest.mark.parametrize("query", ["page=0", "per_page=0", "per_page=101", "per_page=x"])
    async def test_a_query_out_of_range_is_refused(self, client, query):
        await refusal(client, "GET", f"/v1/template?{query}", 400)

    @pytest.mark.parametrize("method, path", OF_ONE)
    async def test_one_that_is_not_there_is_404(self, client, method, path):
        assert await refusal(client, method, path.format(id=NOWHERE), 404) == "requested entity not found"

    @pytest.mark.parametrize("method, path", OF_ONE)
    async def test_what_is_no_id_is_400(self, client, method, path):
        assert "UUID" in await refusal(client, method, path.format(id="7"), 400)

    async def test_deleted_it_is_gone_with_its_versions(self, client):
        path = f"/v1/template/{(await make(client))['id']}"
        await call(client, "PUT", path, fields={"name": "other"})
        assert await call(client, "DELETE", path) is None
        for more in ("", "?version=1", "/versions"):
            await call(client, "GET", path + more, 404)
        await call(client, "DELETE", path, 404)


class TestVersions:
    async def test_an_update_changes_what_it_names_and_makes_a_version(self, client):
        made = await make(client)
        path = f"/v1/template/{made['id']}"
        named = await call(client, "PUT", path, fields={"name": "Landscape"})
        assert named == made | {"name": "Landscape", "version": 2, "updated_at": named["updated_at"]}
        body = ("b.json", json.dumps(save_graph(5)).encode())
        rewritten = await call(client, "PUT", path, fields={"body": body, "description": "A view."})
        assert (rewritten["name"], rewritten["description"], rewritten["version"]) == ("Landscape", "A view.", 3)
        assert rewritten["body"] == save_graph(5)
        assert await call(client, "GET", path) == rewritten
        assert await call(client, "GET", f"{path}?version=1") == made
        assert await call(client, "GET", f"{path}?version=2") == named
        versions = await call(client, "GET", f"{path}/versions")
        assert [(each["version"], each["name"]) for each in versions] == [
            (3, "Landscape"),
            (2, "Landscape"),
            (1, "Portrait"),
        ]
        assert all(set(each) == HEAD | OURS for each in versions)
        assert (await client.get("/v1/template"))["templates"][0]["name"] == "Landscape"

    async def test_an_update_that_changes_nothing_makes_none(self, client):
        made = await make(client)
        for same in ({}, {"name": "Portrait"}, fields()):
            assert await call(client, "PUT", f"/v1/template/{made['id']}", fields=same or None) == made

    async def test_updates_at_once_are_versions_one_after_the_other(self, client):
        path = f"/v1/template/{(await make(client))['id']}"
        made = await asyncio.gather(*(call(client, "PUT", path, fields={"name": f"n{n}"}) for n in range(20)))
        assert sorted(each["version"] for each in made) == list(range(2, 22))
        newest = max(made, key=lambda each: each["version"])
        assert await call(client, "GET", path) == newest

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"name": ""}, "name cannot be empty"),
            ({"name": "x" * 101}, "name is longer"),
            ({"description": "x" * 501}, "description is longer"),
            ({"body": ("b.json", b"{")}, "body is not valid JSON"),
            ({"body": ("b.json", b'{"1": {}}')}, "no class_type"),
        ],
    )
    async def test_what_is_wrong_is_told(self, client, changes, message):
        made = await make(client)
        path = f"/v1/template/{made['id']}"
        assert message in await refusal(client, "PUT", path, 400, fields=changes)
        assert await call(client, "GET", path) == made

    @pytest.mark.parametrize("version, status", [("0", 400), ("x", 400), ("2", 404), (str(2**31 - 1), 404)])
    async def test_a_version_that_is_not_there(self, client, version, status):
        path = f"/v1/template/{(await make(client))['id']}"
        await call(client, "GET", f"{path}?version={version}", status)
        values = {"$prefix": "x", "version": version}
        await call(client, "POST", f"{path}/run", status, fields=values)

    async def test_they_survive_a_restart(self, tmp_path):
        async with gateway_over(tmp_path, [], config=UNLIMITED) as pool, Client.connected(pool.base) as client:
            path = f"/v1/template/{(await make(client))['id']}"
            changed = await call(client, "PUT", path, fields={"name": "changed"})
        async with gateway_over(tmp_path, [], config=UNLIMITED) as pool, Client.connected(pool.base) as client:
            assert await call(client, "GET", path) == changed
            await make(client, name="newer")
            assert [each["name"] for each in (await client.get("/v1/template"))["templates"]] == ["newer", "changed"]


class TestRunning:
    async def test_a_run_is_a_workflow(self, client):
        template = await make(client)
        values = {"$prefix": "ran", "name": "my run"}
        told = await call(client, "POST", f"/v1/template/{template['id']}/run", 201, fields=values)
        assert (told["name"], told["status"], told["tags"]) == ("my run", "accepted", [])
        workflow = await until(client, told["id"], "completed")
        assert (workflow["template_id"], workflow["template_version"]) == (template["id"], 1)
        assert workflow["workflow_params"] == [["$text(prefix)", "ran"]]
        assert workflow["workflow_json"] == asking_graph()
        assert len(await outputs_of(client, told["id"])) == 2

    async def test_its_name_is_the_templates_where_none_is_given(self, client):
        template = await make(client, body=("b.json", json.dumps(save_graph(1)).encode()))
        told = await call(client, "POST", f"/v1/template/{template['id']}/run", 201)
        assert told["name"] == "Portrait"
        await until(client, told["id"], "completed")

    async def test_an_earlier_version_can_be_run(self, client):
        path = f"/v1/template/{(await make(client))['id']}"
        await call(client, "PUT", path, fields={"body": ("b.json", json.dumps(save_graph(1)).encode())})
        told = await call(client, "POST", f"{path}/run", 201, fields={"version": "1", "$prefix": "old"})
        assert (await until(client, told["id"], "completed"))["template_version"] == 1
        assert "unknown field $prefix" in await refusal(client, "POST", f"{path}/run", 400, fields={"$prefix": "x"})

    async def test_a_workflow_outlives_its_template(self, client):
        path = f"/v1/template/{(await make(client))['id']}"
        told = await call(client, "POST", f"{path}/run", 201, fields={"$prefix": "x"})
        await call(client, "DELETE", path)
        await until(client, told["id"], "completed")
        again = await call(client, "POST", f"/v1/workflow/{told['id']}/rerun", 201)
        await until(client, again["id"], "completed")

    @pytest.mark.parametrize(
        "values, message",
        [
            ({}, "missing field $prefix: the workflow has $text(prefix)"),
            ({"$prefix": "x", "$other": "y"}, "unknown field $other"),
            ({"$prefix": "x", "version": "one"}, "version must be a whole number"),
            ({"$prefix": "x", "name": "x" * 201}, "name is longer than 200 characters"),
        ],
    )
    async def test_what_is_wrong_is_told(self, client, values, message):
        template = await make(client)
        assert message in await refusal(
            client, "POST", f"/v1/template/{template['id']}/run", 400, fields=values or None
        )
        assert (await client.get("/v1/workflow"))["total"] == 0


class TestWhoseTheyAre:
    async def test_anothers_is_not_there_and_an_admin_reaches_it(self, tmp_path):
        async with (
            v1_pool(tmp_path, 1, config=ACCESS) as pool,
            client_of(pool, "ann") as ann,
            client_of(pool, "bob") as bob,
            admin_of(pool) as admin,
        ):
            made = await make(ann)
            for method, path in OF_ONE:
                await refusal(bob, method, path.format(id=made["id"]), 404)
            assert await bob.get("/v1/template") == {"templates": [], "total": 0}
            assert await call(admin, "GET", f"/v1/template/{made['id']}") == made
            told = await call(admin, "POST", f"/v1/template/{made['id']}/run", 201, fields={"$prefix": "x"})
            await until(admin, told["id"], "completed")
            await call(ann, "GET", f"/v1/workflow/{told['id']}", 404)
