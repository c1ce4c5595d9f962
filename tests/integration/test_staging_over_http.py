"""Staging with the real client against a small server that takes uploads as ComfyUI does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.clock import Clock
from gateway.comfyui.outputs import OutputFile
from gateway.config import ArchiveConfig
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.files.staging import Staging
from gateway.files.uploads import Uploads
from gateway.runners.client import RunnerClient
from gateway.storage.blobs import BlobStore
from gateway.storage.database import Database

LARGE = bytes(range(256)) * 10_000


class Peer:
    """One runner's folders behind `/upload/image` and `/view`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.app = web.Application(client_max_size=0)
        self.app.add_routes([web.post("/upload/image", self.upload), web.get("/view", self.view)])

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["overwrite"] == "true"
        path = "/".join(filter(None, (form["type"], form["subfolder"], form["image"].filename)))
        self.files[path] = form["image"].file.read()
        return web.json_response({"name": form["image"].filename})

    async def view(self, request: web.Request) -> web.Response:
        query = request.query
        path = "/".join(filter(None, (query["type"], query["subfolder"], query["filename"])))
        return web.Response(body=self.files[path])


async def test_inputs_arrive_whole_and_under_their_names(tmp_path, aiohttp_server):
    peers = {"east": Peer(), "west": Peer()}
    clients = {}
    for name, peer in peers.items():
        server = await aiohttp_server(peer.app)
        clients[name] = RunnerClient(name, str(server.make_url("")).rstrip("/"), {})

    @asynccontextmanager
    async def fetch(output):
        params = {"filename": output.runner_filename, "subfolder": output.runner_subfolder, "type": output.type}
        async with clients[output.runner].stream("GET", "/view", params=params) as response:
            yield response.content.iter_any()

    async def stream(content: bytes) -> AsyncIterator[bytes]:
        yield content

    async with await Database.open(f"sqlite:///{tmp_path}/gateway.db", synchronous="normal") as db:
        blobs = BlobStore(tmp_path / "blobs")
        uploads, outputs = Uploads(db, blobs), OutputNames(db)
        archive = Archive(outputs, uploads, blobs, fetch_output=fetch, settings=ArchiveConfig(), clock=Clock())
        staging = Staging(uploads, outputs, blobs, content_of=archive.ensure)
        await uploads.save(stream(LARGE), filename="a.png", subfolder="sub folder")
        peers["west"].files["output/a_00001_.png"] = LARGE[::-1]
        await outputs.assign_all("job", "west", [OutputFile("a_00001_.png", "", "output")], fresh=True)
        prompt = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "sub folder/a.png"}},
            "2": {"class_type": "LoadImage", "inputs": {"image": "a_00001_.png [output]"}},
        }
        staged = await staging.stage(prompt, clients["east"], "boot", "")
        await staging.close()
    for client in clients.values():
        await client.close()
    assert peers["east"].files["input/sub folder/a.png"] == LARGE
    assert peers["east"].files[f"input/{staged.prompt['2']['inputs']['image']}"] == LARGE[::-1]
    assert staged.replaced == {("2", "image"): "a_00001_.png [output]"}
