"""Every route of the gateway × {no token, a wrong one, an expired one, another owner's, one's own, an admin's}.

A route that is added needs a line in `ROUTES`: its pattern, then what its own user, another user and an admin are
answered (200 each unless said otherwise; whoever presents no live token is answered with 401). Three things are checked
without being written there: a stranger reads nothing of alice's, and changes nothing of alice's, and what `shows` is
read by alice and by an admin. ``/api`` twins and methods that a path does not have are taken from the same lines.
"""

import re

from support.graphs import save_graph
from support.matrix import (
    ADMIN,
    BOTH,
    CALLERS,
    MARK,
    MINE,
    NONE,
    OWN,
    TAKEN,
    TWINS_CALLERS,
    Row,
    empty_form,
    picture_form,
    template_form,
    workflow_form,
    world,
)

from gateway.api.authentication import OPEN
from gateway.api.routes import application

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PROMPT = {"prompt": save_graph(9), "client_id": "somebody"}

ROUTES = {
    # ComfyUI's own
    "GET /ws": Row("/ws?clientId=x", 101, 101, 101, is_socket=True),
    "GET /prompt": Row("/prompt"),
    "POST /prompt": Row("/prompt", body=PROMPT),
    "GET /queue": Row("/queue", shows=BOTH),
    "POST /queue": Row("/queue", body={"clear": True, "delete": ["{waiting}"]}),
    "POST /interrupt": Row("/interrupt", body={"prompt_id": "{running}"}),
    "POST /free": Row("/free", body={}),
    "GET /history": Row("/history", shows=BOTH),
    "GET /history/{prompt_id}": Row("/history/{ended}", shows=BOTH),
    "POST /history": Row("/history", body={"clear": True, "delete": ["{ended}"]}),
    "GET /view": Row("/view?filename={picture}", other=404),
    "POST /upload/image": Row("/upload/image", body=picture_form),
    "POST /upload/mask": Row("/upload/mask", body=picture_form),
    "GET /users": Row("/users"),
    "POST /users": Row("/users", 400, 400, 400, body={"username": "default"}),
    "GET /settings": Row("/settings"),
    "POST /settings": Row("/settings", body={}),
    "GET /settings/{id}": Row("/settings/x"),
    "POST /settings/{id}": Row("/settings/x", body=1),
    "GET /userdata": Row("/userdata?dir=.", shows=MINE),
    "GET /v2/userdata": Row("/v2/userdata", shows=MINE),
    "GET /userdata/{file}": Row("/userdata/{file}", other=404, admin=404, shows=MINE),
    "POST /userdata/{file}": Row("/userdata/mine.txt", body="anew"),
    "DELETE /userdata/{file}": Row("/userdata/{file}", 204, 404, 404),
    "POST /userdata/{file}/move/{dest}": Row("/userdata/{file}/move/elsewhere", other=404, admin=404),
    "* /userdata/{path}": Row("/userdata/a/b", 405, 405, 405),
    "GET /object_info": Row("/object_info"),
    "GET /object_info/{node_class}": Row("/object_info/SaveImage"),
    "GET /system_stats": Row("/system_stats"),
    "GET /features": Row("/features"),
    "GET /node_replacements": Row("/node_replacements"),
    "GET /embeddings": Row("/embeddings"),
    "GET /models": Row("/models"),
    "GET /models/{folder}": Row("/models/checkpoints"),
    "GET /experiment/models": Row("/experiment/models"),
    "GET /experiment/models/{folder}": Row("/experiment/models/checkpoints"),
    "GET /experiment/models/preview/{folder}/{path_index}/{filename}": Row(
        "/experiment/models/preview/checkpoints/0/x", 404, 404, 404
    ),
    "GET /view_metadata/{folder_name}": Row("/view_metadata/checkpoints", 404, 404, 404),
    "GET /extensions": Row("/extensions"),
    "GET /extensions/{name}/{file}": Row("/extensions/x/y.js", 404, 404, 404),
    "GET /workflow_templates": Row("/workflow_templates"),
    "GET /api/workflow_templates/{module}/{file}": Row("/api/workflow_templates/x/y.json", 404, 404, 404),
    "GET /i18n": Row("/i18n"),
    "GET /global_subgraphs": Row("/global_subgraphs"),
    "GET /global_subgraphs/{id}": Row("/global_subgraphs/x"),
    "GET /api/assets": Row("/api/assets", 503, 503, 503),
    "POST /api/assets": Row("/api/assets", 503, 503, 503),
    "GET /api/assets/{rest}": Row("/api/assets/x", 503, 503, 503),
    "POST /api/assets/{rest}": Row("/api/assets/x", 503, 503, 503),
    "PUT /api/assets/{rest}": Row("/api/assets/x", 503, 503, 503),
    "DELETE /api/assets/{rest}": Row("/api/assets/x", 503, 503, 503),
    "GET /api/tags": Row("/api/tags", 503, 503, 503),
    "GET /api/jobs": Row("/api/jobs", shows=BOTH),
    "GET /api/jobs/{job_id}": Row("/api/jobs/{ended}", other=404, shows=BOTH),
    "GET /api/jobs/cancel": Row("/api/jobs/cancel", 404, 404, 404),
    "POST /api/jobs/cancel": Row("/api/jobs/cancel", body={"job_ids": ["{running}", "{waiting}"]}),
    "POST /api/jobs/{job_id}/cancel": Row("/api/jobs/{running}/cancel"),
    "GET /api/user": Row("/api/user"),
    "GET /api/history_v2": Row("/api/history_v2", shows=BOTH),
    "GET /api/history_v2/{prompt_id}": Row("/api/history_v2/{ended}", other=404, shows=BOTH),
    "GET /api/job/{job_id}/status": Row("/api/job/{ended}/status", other=404),
    "GET /internal/logs": Row("/internal/logs", 403, 403),
    "GET /internal/logs/raw": Row("/internal/logs/raw", 403, 403),
    "PATCH /internal/logs/subscribe": Row(
        "/internal/logs/subscribe", 403, 403, body={"clientId": "x", "enabled": False}
    ),
    "GET /internal/folder_paths": Row("/internal/folder_paths"),
    "GET /internal/files/{directory_type}": Row("/internal/files/output", shows=MINE),
    "GET /": Row("/"),
    "* /{path}": Row("/some/custom/route", 404, 404, 404, method="GET"),
    # the gateway's own
    "GET /gateway/health": Row("/gateway/health", refused=200),
    "GET /gateway/ready": Row("/gateway/ready", refused=200),
    "GET /gateway/metrics": Row("/gateway/metrics", 403, 403),
    "GET /gateway/login": Row("/gateway/login", refused=200),
    "POST /gateway/login": Row("/gateway/login", 401, 401, 401, body=lambda: {"token": "wrong"}, headers=FORM),
    "GET /gateway/logout": Row("/gateway/logout", 303, 303, 303, refused=303),
    "POST /gateway/logout": Row("/gateway/logout", 303, 303, 303, refused=303),
    "GET /gateway/api/jobs/{job_id}": Row("/gateway/api/jobs/{ended}", other=404),
    "GET /gateway/api/runners": Row("/gateway/api/runners", 403, 403),
    "GET /gateway/api/tokens": Row("/gateway/api/tokens", 403, 403),
    "POST /gateway/api/tokens": Row("/gateway/api/tokens", 403, 403, 201, body={"name": "new"}),
    "GET /gateway/api/tokens/{id}": Row("/gateway/api/tokens/{token}", 403, 403),
    "PATCH /gateway/api/tokens/{id}": Row("/gateway/api/tokens/{token}", 403, 403, body={"name": "renamed"}),
    "DELETE /gateway/api/tokens/{id}": Row("/gateway/api/tokens/{token}", 403, 403),
    "POST /gateway/api/tokens/{id}/rotate": Row("/gateway/api/tokens/{token}/rotate", 403, 403, 201),
    "GET /gateway/api/audit": Row("/gateway/api/audit", 403, 403),
    "GET /gateway/api/docs": Row("/gateway/api/docs"),
    "GET /gateway/api/openapi.json": Row("/gateway/api/openapi.json"),
    "GET /gateway/api/webhooks/deliveries": Row("/gateway/api/webhooks/deliveries"),
    "GET /gateway/api/webhooks/deliveries/{id}": Row("/gateway/api/webhooks/deliveries/{nobody}", 404, 404, 404),
    "POST /gateway/api/webhooks/deliveries/{id}/replay": Row(
        "/gateway/api/webhooks/deliveries/{nobody}/replay", 404, 404, 404
    ),
    "GET /gateway/api/webhooks/secret": Row("/gateway/api/webhooks/secret"),
    "POST /gateway/api/webhooks/secret": Row("/gateway/api/webhooks/secret", 201, 201, 201),
    # /v1
    "GET /v1/user": Row("/v1/user"),
    "GET /v1/runner": Row("/v1/runner", 403, 403),
    "POST /v1/runner": Row("/v1/runner", 403, 403, 400, body={}),
    "GET /v1/runner/{runner_id}": Row("/v1/runner/{nobody}", 403, 403, 404),
    "PUT /v1/runner/{runner_id}": Row("/v1/runner/{nobody}", 403, 403, 404, body={"name": "x"}),
    "DELETE /v1/runner/{runner_id}": Row("/v1/runner/{nobody}", 403, 403, 404),
    "POST /v1/runner/{runner_id}/interrupt": Row("/v1/runner/{nobody}/interrupt", 403, 403, 404),
    "GET /v1/runner/{runner_id}/history": Row("/v1/runner/{nobody}/history", 403, 403, 404),
    "POST /v1/runner/{runner_id}/drain": Row("/v1/runner/{nobody}/drain", 403, 403, 404),
    "POST /v1/workflow": Row("/v1/workflow", 201, 201, 201, body=workflow_form),
    "GET /v1/workflow": Row("/v1/workflow", shows=MINE),
    "GET /v1/workflow/{workflow_id}": Row("/v1/workflow/{workflow}", other=404, shows=BOTH),
    "POST /v1/workflow/{workflow_id}/cancel": Row("/v1/workflow/{workflow}/cancel", 400, 404, 400),
    "POST /v1/workflow/{workflow_id}/rerun": Row("/v1/workflow/{workflow}/rerun", 201, 404, 201, body=empty_form),
    "DELETE /v1/workflow/{workflow_id}": Row("/v1/workflow/{workflow}", other=404),
    "GET /v1/workflow/{workflow_id}/outputs": Row("/v1/workflow/{workflow}/outputs", other=404, shows=BOTH),
    "GET /v1/output/{workflow_id}/{output_id}/{filename}": Row(
        "/v1/output/{workflow}/{nobody}/x", 403, 403, 403, refused=403
    ),
    "POST /v1/template": Row("/v1/template", 201, 201, 201, body=template_form),
    "GET /v1/template": Row("/v1/template", shows=MINE),
    "GET /v1/template/{template_id}": Row("/v1/template/{template}", other=404, shows=BOTH),
    "GET /v1/template/{template_id}/versions": Row("/v1/template/{template}/versions", other=404, shows=BOTH),
    "PUT /v1/template/{template_id}": Row("/v1/template/{template}", other=404, body=empty_form),
    "DELETE /v1/template/{template_id}": Row("/v1/template/{template}", other=404),
    "POST /v1/template/{template_id}/run": Row("/v1/template/{template}/run", 201, 404, 201, body=empty_form),
    "* /v1": Row("/v1", 404, 404, 404),
    "* /v1/{path}": Row("/v1/nothing", 404, 404, 404),
}


def routes_of(app):
    """Each route once, as (method, pattern); HEAD goes with its GET."""
    found = {(route.method, route.resource.canonical) for route in app.router.routes() if route.method != "HEAD"}
    return sorted(found, key=lambda route: (route[1], route[0]))


def line_of(method, pattern, methods_of):
    """The key in `ROUTES`, and the prefix before its path. None: the path has this method only to refuse it."""
    for prefix in ("", "/api"):
        bare = pattern.removeprefix(prefix)
        if f"{method} {bare}" in ROUTES:
            return f"{method} {bare}", prefix
    return None if method == "*" and methods_of.get(pattern, {"*"}) != {"*"} else (f"{method} {pattern}", "")


def methods_by_pattern(routes):
    found = {}
    for method, pattern in routes:
        found.setdefault(pattern, set()).add(method)
    return found


async def test_every_route_to_every_caller(tmp_path):
    async with world(tmp_path) as gateway:
        routes = routes_of(application(gateway.pool.rooms))
        methods = methods_by_pattern(routes)
        lines = [(route, line_of(*route, methods)) for route in routes]
        unknown = [line[0] for _, line in lines if line is not None and line[0] not in ROUTES]
        assert unknown == [], "routes without a line in ROUTES"
        used = {line[0] for _, line in lines if line is not None}
        assert set(ROUTES) - used == set(), "lines without a route"
        faults = []
        for (method, pattern), line in lines:
            if line is None:
                faults += await refused_methods(gateway, pattern)
            else:
                faults += await answers(gateway, method, *line)
        assert not faults, "\n".join(faults)


async def answers(gateway, method, key, prefix):
    """What is wrong with the answers of one route."""
    row, faults = ROUTES[key], []
    method = row.method or ("PROPFIND" if method == "*" else method)
    for caller in TWINS_CALLERS if prefix else CALLERS:
        before = await gateway.snapshot()
        status, text = await gateway.ask(method, row, caller, prefix)
        case = f"{key} under {prefix or '/'} for {caller}"
        if status != row.expected(caller):
            faults.append(f"{case}: {status} instead of {row.expected(caller)}: {text[:200]}")
        if caller in (OWN, ADMIN):
            if caller in row.shows and MARK not in text:
                faults.append(f"{case}: shows nothing of alice's")
            await gateway.restore()
        elif MARK in text:
            faults.append(f"{case}: shows what is alice's: {text[:200]}")
        elif await gateway.snapshot() != before:
            faults.append(f"{case}: changed what is not the caller's")
    return faults


async def refused_methods(gateway, pattern):
    """What is wrong with the answers to a method that a path does not have."""
    row, faults = Row(re.sub(r"\{[^}]*\}", "x", pattern)), []
    for caller in CALLERS:
        status, text = await gateway.ask("PROPFIND", row, caller)
        expected = (404, 405) if caller in TAKEN or pattern in OPEN else (401,)
        if status not in expected:
            faults.append(f"PROPFIND {pattern} for {caller}: {status} instead of {expected}: {text[:200]}")
    return faults


async def test_pages_lead_to_the_login_and_nothing_else_does(tmp_path):
    html = {"Accept": "text/html"}
    async with world(tmp_path) as gateway:
        for path in ("/", "/queue", "/gateway/api/tokens", "/some/custom/route"):
            assert (await gateway.ask("GET", Row(path, headers=html), NONE))[0] == 303, path
            assert (await gateway.ask("POST", Row(path, headers=html), NONE))[0] == 401, path
        assert (await gateway.ask("GET", Row("/", headers=html), "wrong"))[0] == 401
