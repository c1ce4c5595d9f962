"""Files over the life of a pool: masks over jobs' pictures, copies that outlive their runner, users that stay apart."""

from __future__ import annotations

import asyncio
import io
import json

import aiohttp
import pytest
from PIL import Image
from support.client import Client
from support.graphs import invert_graph, save_graph
from support.pools import gateway_over, running_pool


def mask_form(filename, reference, mask, **fields):
    form = aiohttp.FormData()
    form.add_field("image", mask, filename=filename, content_type="image/png")
    for name, value in {"original_ref": json.dumps(reference), **fields}.items():
        form.add_field(name, value)
    return form


def mask_for(picture: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", Image.open(io.BytesIO(picture)).size, (0, 0, 0, 50)).save(buffer, "PNG")
    return buffer.getvalue()


async def saved_picture(client, seed=1):
    """The file item and the bytes of a finished job."""
    prompt_id = await client.submit(save_graph(seed))
    await client.hear_end(prompt_id)
    entry = await client.history(prompt_id)
    item = entry["outputs"]["3"]["images"][0]
    return item, await client.view(**item)


class TestOutputs:
    async def test_a_mask_over_a_jobs_picture_is_an_input_for_the_next(self, tmp_path):
        async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
            item, picture = await saved_picture(client)
            form = mask_form("clip.png", item, mask_for(picture), type="input", subfolder="clipspace")
            async with client.http.post(f"{pool.base}/upload/mask", data=form) as reply:
                assert await reply.json() == {"name": "clip.png", "subfolder": "clipspace", "type": "input"}
            made = Image.open(io.BytesIO(await client.view(filename="clip.png", subfolder="clipspace", type="input")))
            original = Image.open(io.BytesIO(picture))
            assert made.getpixel((0, 0)) == (*original.convert("RGB").getpixel((0, 0)), 50)
            assert made.text == original.text
            assert "prompt" in made.text  # a job can be read from the masked picture, too
            prompt_id = await client.submit(invert_graph("clipspace/clip.png [input]"))
            await client.hear_end(prompt_id)
            assert (await client.history(prompt_id))["status"]["status_str"] == "success"

    async def test_an_archived_picture_is_served_without_its_runner(self, tmp_path):
        async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
            item, picture = await saved_picture(client)
            alpha = await client.view(**item, channel="a")
            preview = await client.view(**item, preview="webp;90")

            def row():
                return pool.rooms.outputs.find(item["type"], item["subfolder"], item["filename"])

            await pool.until(lambda: row().content_hash)
            await pool.simulators[0].die()
            assert await client.view(**item) == picture
            assert await client.view(**item, channel="a") == alpha
            assert await client.view(**item, preview="webp;90") == preview
            async with client.http.get(f"{pool.base}/view", params=item, headers={"Range": "bytes=0-7"}) as reply:
                assert (reply.status, await reply.read()) == (206, picture[:8])
                assert reply.headers["X-Gateway-Runner"] == "gpu-0"
                assert reply.headers["X-Gateway-Job"] == row().job_id
                etag = reply.headers["ETag"]
            async with client.http.get(f"{pool.base}/view", params=item, headers={"If-None-Match": etag}) as reply:
                assert (reply.status, await reply.read()) == (304, b"")

    async def test_listings_tell_the_newest_first(self, tmp_path):
        async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
            for seed in (1, 2, 3):
                await saved_picture(client, seed)
            names = [f"out_0000{number}_.png [output]" for number in (3, 2, 1)]
            assert sorted(await client.get("/internal/files/output"), reverse=True) == names
            assert (await client.get("/internal/files/output"))[0] == names[0]
            for name, subfolder in (("a.png", ""), ("b.png", ""), (".hidden", ""), ("c.png", "sub")):
                form = aiohttp.FormData({"subfolder": subfolder})
                form.add_field("image", b"x", filename=name)
                async with client.http.post(f"{pool.base}/upload/image", data=form) as reply:
                    assert reply.status == 200
            assert sorted(await client.get("/internal/files/input")) == ["a.png [input]", "b.png [input]"]
            assert await client.get("/internal/files/temp") == []
            assert await client.get("/internal/files/models", status=400) == {"error": "Invalid directory type"}

    async def test_what_a_browser_would_run_is_a_download_from_any_runner(self, tmp_path):
        async with running_pool(tmp_path, 1, options=[{"version": "0.3.64"}]) as pool, aiohttp.ClientSession() as http:
            form = aiohttp.FormData()
            form.add_field("image", b"<script>1</script>", filename="page.svg")
            async with http.post(f"{pool.base}/upload/image", data=form) as reply:
                assert reply.status == 200
            async with http.get(f"{pool.base}/view?filename=page.svg&type=input") as reply:
                assert reply.headers["Content-Type"] == "application/octet-stream"
                assert reply.headers["Content-Disposition"].startswith("attachment")


class TestUsers:
    async def test_settings_and_workflows_survive_a_restart_and_need_no_runner(self, tmp_path):
        for start in range(2):
            async with gateway_over(tmp_path, []) as pool, Client.connected(pool.base) as client:
                if start == 0:
                    assert await client.get("/users") == {"storage": "server", "migrated": False}
                    assert (await client.post("/settings", {"Comfy.A": 1}))[0] == 200
                    assert (await client.post("/api/userdata/workflows%252Fa.json", {"nodes": []}))[0] == 200
                assert await client.get("/users") == {"storage": "server", "migrated": True}
                assert await client.get("/settings") == {"Comfy.A": 1}
                assert await client.get("/userdata", dir="workflows") == ["a.json"]

    async def test_many_users_are_apart(self, tmp_path):
        async with (
            gateway_over(tmp_path, [], config={"userdata": {"multi_user": True}}) as pool,
            aiohttp.ClientSession(base_url=pool.base) as http,
        ):

            async def ask(method, path, user=None, **more):
                headers = {} if user is None else {"comfy-user": user}
                async with http.request(method, path, headers=headers, **more) as reply:
                    is_json = reply.content_type == "application/json"
                    return reply.status, await (reply.json() if is_json else reply.text())

            assert await ask("GET", "/users") == (200, {"storage": "server", "users": {}})
            ada = (await ask("POST", "/users", json={"username": "ada"}))[1]
            bob = (await ask("POST", "/users", json={"username": "bob"}))[1]
            assert await ask("POST", "/users", json={"username": "bob"}) == (400, {"error": "Duplicate username."})
            assert await ask("GET", "/users", "nobody") == (
                200,
                {"storage": "server", "users": {ada: "ada", bob: "bob"}},
            )
            assert (await ask("POST", "/settings", ada, json={"a": 1}))[0] == 200
            assert (await ask("POST", "/userdata/w.json", ada, data=b"{}"))[0] == 200
            assert await ask("GET", "/settings", bob) == (200, {})
            assert (await ask("GET", "/userdata/w.json", bob))[0] == 404
            assert await ask("GET", "/userdata/w.json", ada) == (200, {})
            for nobody in (None, "", "nobody", "default", "__system", "../" + ada):
                assert (await ask("GET", "/settings", nobody))[0] == 401
                assert (await ask("POST", "/settings", nobody, json={}))[0] == 401
                assert (await ask("GET", "/settings/a", nobody))[0] == 401
                assert (await ask("GET", "/userdata?dir=.", nobody))[0] == 500
                assert (await ask("GET", "/userdata/w.json", nobody))[0] == 500
                assert (await ask("POST", "/userdata/w.json", nobody, data=b"{}"))[0] == 500
                assert (await ask("GET", "/v2/userdata", nobody))[0] == 403


class TestBounds:
    async def test_too_large_bodies_are_413_and_leave_nothing(self, tmp_path):
        small = {"server": {"port": 0, "max_upload_size": 10_000}}
        async with gateway_over(tmp_path, [], config=small) as pool, aiohttp.ClientSession() as http:

            async def endless():
                for _ in range(100):
                    yield b"x" * 1000

            text = "Maximum request body size 10000 exceeded."
            for body in (b"x" * 10_001, endless()):
                async with http.post(f"{pool.base}/userdata/big.json", data=body) as reply:
                    assert (reply.status, await reply.text()) == (413, text)
            async with http.post(f"{pool.base}/userdata/fits.json", data=b"x" * 10_000) as reply:
                assert reply.status == 200
            async with http.get(f"{pool.base}/v2/userdata") as reply:
                assert [row["name"] for row in await reply.json()] == ["fits.json"]

    async def test_a_body_that_ends_early_changes_nothing(self, tmp_path):
        async with gateway_over(tmp_path, []) as pool, Client.connected(pool.base) as client:
            await client.post("/userdata/a.json", {"old": True})
            host, port = pool.base.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /userdata/a.json HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            await writer.drain()
            folder = tmp_path / "userdata" / "default"
            await pool.until(lambda: any(path.name.startswith(".incoming-") for path in folder.iterdir()))
            writer.close()
            await pool.until(lambda: [path.name for path in folder.iterdir()] == ["a.json"])
            assert await client.get("/userdata/a.json") == {"old": True}

    @pytest.mark.parametrize("query", ["preview=webp;90", "channel=rgb", "channel=a"])
    async def test_a_bomb_is_500_and_harms_nobody(self, tmp_path, query):
        async with gateway_over(tmp_path, []) as pool, aiohttp.ClientSession() as http:
            form = aiohttp.FormData()
            form.add_field("image", bomb(), filename="bomb.png")
            async with http.post(f"{pool.base}/upload/image", data=form) as reply:
                assert reply.status == 200
            async with http.get(f"{pool.base}/view?filename=bomb.png&type=input&{query}") as reply:
                assert reply.status == 500
            async with http.get(f"{pool.base}/view?filename=bomb.png&type=input") as reply:
                assert reply.status == 200


def bomb() -> bytes:
    """A picture of one bit per pixel: small, and huge once it is decoded."""
    buffer = io.BytesIO()
    Image.new("1", (14_000, 14_000)).save(buffer, "PNG")
    return buffer.getvalue()
