"""Requests that build on each other, a line each: a story is told from its first line, to a runner and to a gateway."""

from __future__ import annotations

import io
import json
from typing import Any

from differential.requests import Case, get
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def png(mode: str = "RGB", size: tuple[int, int] = (8, 8), color: Any = (200, 30, 60), **text: str) -> bytes:
    info, buffer = PngInfo(), io.BytesIO()
    for name, value in text.items():
        info.add_text(name, value)
    Image.new(mode, size, color).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


PICTURE = png(workflow='{"a": 1}')
CLEAR = png("RGBA", color=(10, 20, 30, 40))
GREY = png("L", color=90)
MASK = png("RGBA", color=(0, 0, 0, 99))


def post(path: str, body: str = "") -> Case:
    return Case("POST", path, body.encode())


def image(filename: str, content: bytes = PICTURE, **fields: str) -> Case:
    return Case("POST", "/upload/image", form={"image": (filename, content), **fields})


def mask(filename: str, reference: object = None, content: bytes = MASK, **fields: str) -> Case:
    told = {} if reference is None else {"original_ref": json.dumps(reference)}
    return Case("POST", "/upload/mask", form={"image": (filename, content), **told, **fields})


def ref(filename: str, **more: str) -> dict[str, str]:
    return {"filename": filename, "type": "input", **more}


UPLOADS_AND_VIEW = [
    # uploads
    image("a.png"),
    image("a.png"),
    image("a.png", CLEAR),
    image("a.png", CLEAR),
    image("clear.png", CLEAR),
    image("grey.png", GREY),
    image("a.png", overwrite="1"),
    image("a.png", overwrite="true"),
    image("a.png", CLEAR, overwrite="yes"),
    image("a.png", subfolder="sub"),
    image("a.png", subfolder="sub/"),
    image("a.png", subfolder="./sub/../sub"),
    image("a.png", type="temp"),
    image("a.png", type="output"),
    image("a.png", type="bogus"),
    image("a.png", type=""),
    image("a.png", subfolder="../.."),
    image("a.png", subfolder="/etc"),
    image("a b (x).png"),
    image("größe.png"),
    image("noext"),
    image("page.html", b"<script>1</script>"),
    image("drawing.svg", b"<svg/>"),
    image("text.txt", b"hello"),
    image("empty.bin", b""),
    Case("POST", "/upload/image", form={"type": "input"}),
    Case("POST", "/upload/image", form={"image": "text"}),
    Case("POST", "/upload/image", form={"image": ""}),
    Case("POST", "/upload/image", form={"type": "bogus"}),
    Case("POST", "/upload/image", b"{}", headers={"Content-Type": "application/json"}),
    Case("POST", "/upload/image"),
    Case("POST", "/api/upload/image", form={"image": ("api.png", PICTURE)}),
    Case("GET", "/upload/image"),
    # view
    *(
        get(f"/view?{query}")
        for query in (
            "filename=a.png&type=input",
            "filename=a.png%20%5Binput%5D",
            "filename=a.png%20%5Binput%5D&type=bogus",
            "filename=a.png&type=temp",
            "filename=a.png&type=output",
            "filename=a.png",
            "filename=a.png&type=input&subfolder=sub",
            "filename=a.png&type=input&subfolder=sub/",
            "filename=a.png&type=input&subfolder=",
            "filename=a%20b%20(x).png&type=input",
            "filename=gr%C3%B6%C3%9Fe.png&type=input",
            "filename=noext&type=input",
            "filename=nowhere/a.png&type=input",
            "filename=a.png&type=input&channel=rgba",
            "filename=a.png&type=input&channel=other",
            "filename=a.png&type=input&rand=0.123&t=1&res=2",
            "filename=text.txt&type=input",
            "filename=empty.bin&type=input",
            "filename=page.html&type=input",
            "filename=drawing.svg&type=input",
        )
    ),
    get("/view?filename=drawing.svg&type=input", Sec_Fetch_Dest="image"),
    get("/view?filename=drawing.svg&type=input", Sec_Fetch_Dest="document"),
    get("/view?filename=page.html&type=input", Sec_Fetch_Dest="image"),
    get("/view?filename=a.png&type=input", Range="bytes=0-7"),
    get("/view?filename=a.png&type=input", Range="bytes=5-"),
    get("/view?filename=a.png&type=input", Range="bytes=-5"),
    get("/view?filename=a.png&type=input", Range="bytes=-5000"),
    get("/view?filename=a.png&type=input", Range="bytes=0-5000"),
    get("/view?filename=a.png&type=input", Range="bytes=5000-"),
    get("/view?filename=a.png&type=input", Range="bytes=5-2"),
    get("/view?filename=a.png&type=input", Range="lines=1-2"),
    get("/view?filename=a.png&type=input", If_None_Match="*"),
    get("/view?filename=a.png&type=input", If_None_Match='"other"'),
    get("/view?filename=a.png&type=input", If_Match='"other"'),
    get("/view?filename=a.png&type=input", If_Modified_Since="Fri, 31 Dec 2100 00:00:00 GMT"),
    get("/view?filename=a.png&type=input", If_Unmodified_Since="Sat, 01 Jan 2000 00:00:00 GMT"),
    get("/view?filename=a.png&type=input", Range="bytes=0-7", If_Range="Sat, 01 Jan 2000 00:00:00 GMT"),
    get("/view?filename=a.png&type=input", Range="bytes=0-7", If_Range="Fri, 31 Dec 2100 00:00:00 GMT"),
    Case("HEAD", "/view?filename=a.png&type=input"),
    Case("HEAD", "/view?filename=a.png&type=input&preview=webp"),
    Case("HEAD", "/view?filename=missing.png"),
    Case("POST", "/view?filename=a.png&type=input"),
    *(
        get(f"/view{query}")
        for query in (
            "",
            "?type=input",
            "?filename=",
            "?filename=%20%5Binput%5D",
            "?filename=%5Binput%5D",
            "?filename=missing.png",
            "?filename=missing.png&type=input",
            "?filename=sub/&type=input",
            "?filename=../x.png",
            "?filename=a..png&type=input",
            "?filename=/etc/passwd",
            "?filename=a.png&type=",
            "?filename=a.png&type=bogus",
            "?filename=a.png&type=bogus&channel=a",
            "?filename=a.png&type=input&subfolder=../..",
            "?filename=a.png&type=input&subfolder=/etc",
            "?filename=a.png&type=input&subfolder=nowhere",
            "?filename=a.png%20%5Btemp%5D&subfolder=..",
            "?filename=blake3:0011&type=input",
            "?filename=a.png&type=input&preview=webp;90",
            "?filename=a.png&type=input&preview=webp;75",
            "?filename=a.png&type=input&preview=jpeg;80",
            "?filename=a.png&type=input&preview=jpeg;0",
            "?filename=a.png&type=input&preview=jpeg;1000",
            "?filename=a.png&type=input&preview=webp;1000",
            "?filename=a.png&type=input&preview=webp;x",
            "?filename=a.png&type=input&preview=png",
            "?filename=a.png&type=input&preview=",
            "?filename=a.png&type=input&preview=90",
            "?filename=clear.png&type=input&preview=webp;90",
            "?filename=clear.png&type=input&preview=jpeg;90&channel=rgba",
            "?filename=clear.png&type=input&preview=jpeg;90&channel=a",
            "?filename=clear.png&type=input&preview=webp;90&channel=rgb",
            "?filename=clear.png&type=input&channel=rgb",
            "?filename=clear.png&type=input&channel=a",
            "?filename=a.png&type=input&channel=rgb",
            "?filename=a.png&type=input&channel=a",
            "?filename=grey.png&type=input&channel=rgb",
            "?filename=grey.png&type=input&channel=a",
            "?filename=grey.png&type=input&preview=jpeg",
            "?filename=text.txt&type=input&preview=webp",
            "?filename=text.txt&type=input&channel=a",
            "?filename=empty.bin&type=input&channel=rgb",
        )
    ),
    get("/api/view?filename=a.png&type=input&preview=webp;90"),
    # masks
    mask("m.png", ref("a.png")),
    mask("m.png", ref("a.png")),
    mask("m.png", ref("a.png"), overwrite="true"),
    mask("clip.png", ref("a.png"), type="input", subfolder="clipspace"),
    mask("m2.png", ref("a.png [input]", type="output")),
    mask("m3.png", ref("a.png", subfolder="sub")),
    mask("m4.png", ref("clear.png")),
    mask("m5.webp", ref("a.png")),
    mask("m6.png", ref("a.png"), content=PICTURE),
    mask("gone.png", ref("missing.png")),
    mask("gone.png", ref("../a.png")),
    mask("gone.png", ref("")),
    mask("gone.png", ref("a.png", type="bogus")),
    mask("gone.png", ref("a.png", subfolder="../..")),
    mask("gone.png", {"filename": "a.png"}, content=GREY),
    mask("fault.png"),
    mask("fault.png", {"type": "input"}),
    mask("fault.png", []),
    mask("fault.png", ref("a.png"), content=b"no picture"),
    mask("fault.png", ref("a.png"), content=png("RGBA", (4, 4), (0, 0, 0, 9))),
    mask("fault.png", ref("text.txt")),
    mask("fault.jpg", ref("a.png")),
    mask("fault", ref("a.png")),
    mask("m.png", ref("a.png"), type="bogus"),
    mask("m.png", ref("a.png"), subfolder="../.."),
    *(
        get(f"/view?filename={name}.png&type=input&channel=a")
        for name in ("m", "m2", "m3", "m4", "m6", "gone", "fault")
    ),
    get("/view?filename=m.png&type=input"),
    get("/view?filename=clip.png&type=input&subfolder=clipspace&channel=rgb"),
]

USERS_AND_SETTINGS = [
    get("/users"),
    get("/settings/Comfy.None"),
    get("/settings"),
    get("/users"),
    post("/settings", '{"Comfy.A": 1, "Comfy.B": {"x": [1, null, "ü"]}}'),
    post("/settings", '{"Comfy.A": 2}'),
    post("/settings/Comfy.C", "true"),
    post("/api/settings/Comfy.D", '"text"'),
    post("/settings/a%2Fb", "1.5"),
    get("/settings"),
    get("/api/settings"),
    get("/settings/Comfy.B"),
    get("/settings/a%2Fb"),
    get("/settings", **{"comfy-user": "nobody"}),
    post("/settings", "[]"),
    post("/settings", "nonsense"),
    post("/settings"),
    post("/settings/Comfy.C", "nonsense"),
    Case("DELETE", "/settings"),
    get("/userdata/comfy.settings.json"),
    post("/users", '{"username": "bob"}'),
    post("/users", '{"username": "a b/c"}'),
    post("/users", '{"username": "default"}'),
    post("/users", '{"username": "  "}'),
    post("/users", '{"username": 5}'),
    post("/users", "{}"),
    post("/users", "[]"),
    post("/users", "nonsense"),
]

USER_DATA = [
    get("/userdata"),
    get("/userdata?dir=workflows&recurse=true&split=false&full_info=true"),
    get("/userdata/workflows%2F.index.json"),
    get("/userdata?dir=workflows"),
    post("/userdata/workflows%2Fa.json", '{"a": 1}'),
    post("/userdata/workflows%2Fa.json?overwrite=false", "{}"),
    post("/userdata/workflows%2Fa.json?overwrite=true", '{"a": 2}'),
    post("/api/userdata/workflows%2Fdeep%2Fb.json", '{"b": 1}'),
    post("/userdata/workflows%252Fc.json", "{}"),
    post("/userdata/workflows%2Fwith%20space%20%2B%20%23.json", "{}"),
    post("/userdata/workflows%2F.hidden.json", "{}"),
    post("/userdata/workflows%2Fa.json?full_info=true", '{"a": 3}'),
    get("/userdata/workflows%2Fa.json"),
    get("/userdata/workflows%252Fa.json"),
    get("/userdata/workflows%2Fa.json", Range="bytes=0-1"),
    get("/userdata/workflows%2Fa.json", If_None_Match="*"),
    Case("HEAD", "/userdata/workflows%2Fa.json"),
    get("/userdata/workflows"),
    get("/userdata/workflows%25252Fa.json"),
    get("/userdata/workflows/a.json"),
    post("/userdata/workflows/a.json", "{}"),
    Case("DELETE", "/userdata/workflows/a.json"),
    Case("PUT", "/userdata/workflows%2Fa.json", b"{}"),
    get("/userdata/"),
    get("/userdata?dir=workflows"),
    get("/userdata?dir=workflows&recurse=true"),
    get("/userdata?dir=workflows&recurse=TRUE&split=true"),
    get("/userdata?dir=workflows%2Fdeep"),
    get("/userdata?dir=workflows%252Fdeep"),
    get("/userdata?dir=workflows&recurse=true&split=true&full_info=true"),
    get("/userdata?dir=workflows%2Fa.json"),
    get("/userdata?dir=nowhere"),
    get("/userdata?dir=.."),
    get("/userdata?dir=/etc"),
    get("/v2/userdata"),
    get("/v2/userdata?path=workflows"),
    get("/v2/userdata?path=nowhere"),
    get("/v2/userdata?path=../.."),
    get("/v2/userdata?path=workflows/a.json"),
    get("/userdata/missing.json"),
    get("/userdata/..%2F..%2Fetc%2Fpasswd"),
    post("/userdata/..%2F..%2Fx.json", "{}"),
    Case("DELETE", "/userdata/..%2F..%2Fx.json"),
    post("/userdata/workflows", "{}"),
    post("/userdata/" + "x" * 300, "{}"),
    get("/userdata/" + "x" * 300),
    Case("DELETE", "/userdata/workflows"),
    post("/userdata/user.css", "a {}"),
    get("/userdata/user.css"),
    post("/userdata/page.html", "<script>1</script>"),
    get("/userdata/page.html"),
    post("/userdata/workflows%2Fa.json/move/workflows%2Fc.json?overwrite=false"),
    post("/userdata/workflows%2Fa.json/move/workflows%2Fc.json"),
    post("/userdata/workflows%2Fa.json/move/workflows%2Fd.json"),
    post("/userdata/workflows%2Fc.json/move/new%2Ffolder%2Fd.json"),
    post("/userdata/new%2Ffolder%2Fd.json/move/..%2F..%2Fd.json"),
    post("/userdata/new%2Ffolder%2Fd.json/move/e.json?full_info=true"),
    Case("DELETE", "/userdata/workflows%2Fdeep%2Fb.json"),
    Case("DELETE", "/userdata/workflows%2Fdeep%2Fb.json"),
    # beside it
    get("/internal/files/bogus"),
    get("/api/internal/files/input"),
    Case("POST", "/internal/files/input"),
    Case("OPTIONS", "/userdata/x/y"),
]

STORIES = {
    "uploads, /view and masks": UPLOADS_AND_VIEW,
    "users and settings": USERS_AND_SETTINGS,
    "user data": USER_DATA,
}
