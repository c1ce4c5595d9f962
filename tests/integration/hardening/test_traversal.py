"""Names that try to lead out of where files are: nothing of another place is read, written or asked for."""

import io

import aiohttp
import pytest
from support.pools import running_pool
from support.raw import ask
from yarl import URL

SECRET = b"nobody may read this"

UPWARDS = [
    "..",
    "../secret.txt",
    "../../secret.txt",
    "..%2fsecret.txt",
    "..%2f..%2fsecret.txt",
    "%2e%2e%2fsecret.txt",
    "%2e%2e/secret.txt",
    "%252e%252e%252fsecret.txt",
    "..%252fsecret.txt",
    "..\\secret.txt",
    "..%5csecret.txt",
    "..%5c..%5csecret.txt",
    "a/../../secret.txt",
    "a%2f..%2f..%2fsecret.txt",
    "./..%2fsecret.txt",
    "....//secret.txt",
    "..;/secret.txt",
    "%c0%ae%c0%ae/secret.txt",
    "%00",
    "secret.txt%00.png",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "C:%5csecret.txt",
    "C:/secret.txt",
    "%5c%5chost%5cshare%5csecret.txt",
    "link/secret.txt",
    "link%2fsecret.txt",
    "file.txt",
]
LINKS = {"link/secret.txt", "link%2fsecret.txt", "file.txt"}
# A link among a user's files, which no client can make, is the operator's own, as in ComfyUI.
FOLLOWS_LINKS = "/api/userdata/{}"
PLACES = [
    "/{}",
    "/api/{}",
    "/view?filename={}",
    "/view?filename={}&type=input",
    "/view?filename=secret.txt&subfolder={}",
    "/view?filename=secret.txt&type={}",
    "/api/userdata/{}",
    "/api/userdata?dir={}",
    "/api/v2/userdata?path={}",
    "/extensions/{}",
    "/extensions/core/{}",
    "/templates/{}",
    "/docs/{}",
    "/api/workflow_templates/{}",
    "/api/workflow_templates/a/{}",
    "/assets/{}",
    "/scripts/{}",
    "/internal/files/{}",
    "/view_metadata/{}?filename=secret.txt",
    "/view_metadata/checkpoints?filename={}",
    "/models/{}",
    "/experiment/models/preview/checkpoints/0/{}",
    "/object_info/{}",
    "/global_subgraphs/{}",
    "/settings/{}",
    "/history/{}",
    "/gateway/{}",
    "/gateway/api/jobs/{}",
]


@pytest.fixture
async def pool(tmp_path):
    """A gateway with secrets all around its folders, and symbolic links to them within."""
    root, frontend = tmp_path / "data", tmp_path / "frontend"
    for folder in (tmp_path, root, root / "userdata", root / "userdata" / "default", frontend):
        folder.mkdir(exist_ok=True)
    for folder in (tmp_path, root, root / "userdata"):
        (folder / "secret.txt").write_bytes(SECRET)
    (frontend / "index.html").write_text("<html>")
    for folder in (frontend, frontend / "assets", root / "userdata" / "default"):
        folder.mkdir(exist_ok=True)
        (folder / "link").symlink_to(tmp_path)
        (folder / "file.txt").symlink_to(tmp_path / "secret.txt")
    async with running_pool(root, 1, config={"frontend": {"root": frontend}}) as running:
        (running.simulators[0].folders.base / "secret.txt").write_bytes(SECRET)
        yield running


@pytest.mark.parametrize("place", PLACES)
async def test_nothing_outside_is_read(pool, place):
    found = {}
    names = [name for name in UPWARDS if not (place == FOLLOWS_LINKS and name in LINKS)]
    for name in names:
        answer = await ask(pool.base, place.format(name).replace(" ", "%20"))
        if SECRET in answer.body or b"root:" in answer.body or answer.status >= 500:
            found[name] = (answer.status, answer.body)
    assert found == {}


NAMES = [
    "../x.png",
    "..\\x.png",
    "/x.png",
    "a/../../x.png",
    "C:\\x.png",
    "C:x.png",
    "\\\\host\\x.png",
    "..",
    ".",
]


def form(name, **fields):
    made = aiohttp.FormData(quote_fields=False)
    made.add_field("image", io.BytesIO(b"bytes"), filename=name)
    for key, value in fields.items():
        made.add_field(key, value)
    return made


class TestUploads:
    @pytest.mark.parametrize("subfolder", ["..", "../..", "a/../..", "/etc", "..\\..", "C:\\", "a\0b"])
    async def test_a_subfolder_that_leads_out_is_400(self, pool, http, subfolder):
        for path in ("/upload/image", "/upload/mask"):
            async with http.post(pool.base + path, data=form("x.png", subfolder=subfolder)) as answer:
                assert answer.status == 400

    async def test_a_name_that_leads_out_is_400(self, pool, http):
        answered = {}
        for name in NAMES:
            async with http.post(f"{pool.base}/upload/image", data=form(name)) as answer:
                answered[name] = answer.status
        # The parser of forms cuts off what stands before a name, as browsers of old sent whole paths.
        cut = {"/x.png", "..\\x.png", "C:\\x.png", "\\\\host\\x.png"}
        assert {name for name, status in answered.items() if status != 400} <= cut

    async def test_a_mask_of_a_file_outside_writes_nothing(self, pool, http):
        reference = '{"filename": "../secret.txt", "type": "input", "subfolder": ""}'
        async with http.post(f"{pool.base}/upload/mask", data=form("x.png", original_ref=reference)) as answer:
            assert answer.status == 200  # as ComfyUI, which finds no original
        async with http.get(f"{pool.base}/view?filename=x.png&type=input") as answer:
            assert answer.status == 404


@pytest.mark.parametrize("name", ["..%2fx", "..%2f..%2fx", "a%2f..%2f..%2fx", "%2fx", "%00", "%2e%2e%2fx"])
async def test_user_data_is_written_inside_only(pool, http, tmp_path, name):
    before = {path for path in tmp_path.rglob("*") if "userdata/default" not in str(path)}
    for method, target in (
        ("POST", f"/api/userdata/{name}"),
        ("DELETE", f"/api/userdata/{name}"),
        ("POST", f"/api/userdata/a.txt/move/{name}"),
    ):
        async with http.request(method, URL(pool.base + target, encoded=True), data=b"x") as answer:
            assert answer.status in (400, 403, 404), (method, name)
    after = {path for path in tmp_path.rglob("*") if "userdata/default" not in str(path)}
    assert {path for path in after ^ before if not path.name.startswith("gateway.db")} == set()


async def test_a_backslash_is_a_character_here(pool, http, tmp_path):
    async with http.post(URL(f"{pool.base}/api/userdata/..%5cx", encoded=True), data=b"x") as answer:
        assert answer.status == 200
    assert (tmp_path / "data" / "userdata" / "default" / "..\\x").is_file()


async def test_a_path_upwards_reaches_no_runner(pool):
    for target in (
        "/tn/..%2fqueue",
        "/tn/%2e%2e/queue",
        "/tn/%252e%252e/queue",
        "/tn/..%5cqueue",
        "/extensions/a/..%2fb",
    ):
        answer = await ask(pool.base, target)
        assert (answer.status, "x-gateway-runner" in answer.headers) == (404, False), target
