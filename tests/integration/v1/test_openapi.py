"""The OpenAPI document: it is valid, it has every route of the gateway's own, and what these answer is as it says."""

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.busy import hear_ends
from support.client import Client
from support.contract import Contract
from support.graphs import save_graph

from gateway.api.routes import application

from .conftest import gateway_api

OWN = ("/gateway/", "/v1/")


@pytest.fixture
async def contract(api):
    return Contract(await api.get("/gateway/api/openapi.json"))


async def test_the_document_is_valid(api):
    document = await api.get("/gateway/api/openapi.json")
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


async def test_it_has_every_route_of_the_gateways_own_and_no_other(api):
    routed = {
        (route.method, route.resource.canonical)
        for route in application(api.pool.rooms).router.routes()
        if route.resource is not None and route.resource.canonical.startswith(OWN)
    }
    documented = {
        (method.upper(), path)
        for path, item in (await api.get("/gateway/api/openapi.json"))["paths"].items()
        for method in item
    }
    assert documented == {(method, path) for method, path in routed if method not in ("*", "HEAD")}


async def test_every_operation_says_what_it_is_and_what_can_go_wrong(api):
    document = await api.get("/gateway/api/openapi.json")
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert any(status.startswith(("2", "3")) for status in operation["responses"])
        if operation["security"]:
            assert {"401", "403"} <= operation["responses"].keys()
    for schema in document["components"]["schemas"].values():
        assert schema.get("description")


async def test_under_a_prefix_the_document_says_so(tmp_path):
    async with gateway_api(tmp_path, config={"server": {"port": 0, "prefix": "/comfy"}}) as api:
        document = await api.get("/gateway/api/openapi.json")
        assert document["servers"] == [{"url": "/comfy/"}]


async def test_the_page_needs_nothing_else_and_names_every_route(api):
    async with api.http.get(api.base + "/gateway/api/docs") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert answer.content_type == "text/html"
    assert "default-src 'none'" in policy
    assert "<script" not in page
    assert "http://" not in page.replace("http://10.0.0.11:8188", "")
    for path, item in (await api.get("/gateway/api/openapi.json"))["paths"].items():
        assert path in page
        for operation in item.values():
            assert f'id="{operation["operationId"]}"' in page


class Asked:
    """Asks the gateway's own routes, and holds what they answer against the document."""

    def __init__(self, api, contract, token=None):
        self.api, self.contract = api, contract
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __call__(self, method, path, status=200, **more):
        headers = {**self.headers, **more.pop("headers", {})}
        url = self.api.base + path
        async with self.api.http.request(method, url, headers=headers, allow_redirects=False, **more) as answer:
            body = await answer.read()
            assert answer.status == status, (answer.status, body)
            self.contract.check(method, path.partition("?")[0], status, answer.content_type, body)
            return await answer.json() if answer.content_type == "application/json" else body.decode()


async def test_what_operators_are_told_is_as_documented(api, contract):
    ask = Asked(api, contract)
    await ask("GET", "/gateway/health")
    await ask("GET", "/gateway/ready")
    await ask("GET", "/gateway/metrics")
    await ask("GET", "/gateway/api/jobs/nothing", 404)
    simulator = api.pool.simulators[0]
    simulator.pause()
    async with Client.connected(api.base) as client:
        jobs = [await client.submit(save_graph(number)) for number in range(3)]
        await simulator.held()
        stories = [await ask("GET", f"/gateway/api/jobs/{job}") for job in jobs]
        assert stories[2]["placement"] is not None
        runner = (await ask("GET", "/gateway/api/runners"))["runners"][0]
        assert runner["running"] == jobs[0]
        api.pool.rooms.fleet.drain("gpu-0", 60)
        assert (await ask("GET", "/gateway/api/runners"))["runners"][0]["leaving"] is not None
        await ask("GET", "/gateway/ready", 503)
        simulator.resume()
        api.pool.rooms.fleet.enable("gpu-0")
        await hear_ends(client, jobs)  # what was taken back for the drain may come after what waited
    assert (await ask("GET", f"/gateway/api/jobs/{jobs[0]}"))["attempts"]


async def test_what_admins_are_told_is_as_documented(tmp_path):
    async with gateway_api(tmp_path, config={"access": {"mode": "tokens"}}) as api:
        secret = await api.pool.rooms.access.first_admin()
        headers = {"Authorization": f"Bearer {secret}"}
        async with api.http.get(api.base + "/gateway/api/openapi.json", headers=headers) as answer:
            contract = Contract(await answer.json())
        ask, anybody = Asked(api, contract, secret), Asked(api, contract)
        made = await ask("POST", "/gateway/api/tokens", 201, json={"name": "ada"})
        path = f"/gateway/api/tokens/{made['id']}"
        await ask("POST", "/gateway/api/tokens", 400, json={"name": ""})
        await ask("GET", "/gateway/api/tokens")
        await ask("GET", "/gateway/api/tokens?owner=ada")
        await ask("GET", path)
        await ask("PATCH", path, json={"weight": 2})
        await ask("PATCH", path, 400, json={"weight": 0})
        rotated = await ask("POST", path + "/rotate", 201, json={"grace_hours": 1})
        await ask("DELETE", path)
        await ask("POST", path + "/rotate", 409, json={})
        await ask("GET", "/gateway/api/tokens/nothing", 404)
        await ask("GET", "/gateway/api/audit?limit=2")
        await ask("GET", "/gateway/api/audit?limit=0", 400)
        of_ada = Asked(api, contract, rotated["token"])
        for route in ("/gateway/api/tokens", "/gateway/api/audit", "/gateway/api/runners", "/v1/runner"):
            await of_ada("GET", route, 403)
            await anybody("GET", route, 401)
        await anybody("GET", "/gateway/login")
        await anybody("POST", "/gateway/login", 401, data={"token": "wrong"})
        await anybody("POST", "/gateway/login", 303, data={"token": rotated["token"]})
        await anybody("GET", "/gateway/logout", 303)
        await anybody("POST", "/gateway/logout", 303)
