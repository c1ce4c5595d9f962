"""A script as people write them after ComfyUI's websocket example: synchronous, one prompt after the other, urllib and
websocket-client, a new HTTP connection for every call. It knows nothing of a gateway, and imports nothing of this
project. For every prompt it prints one line of JSON with what it was told and what it fetched."""

import argparse
import base64
import json
import sys
import urllib.parse
import urllib.request
import uuid
from typing import Any

import websocket

PATIENCE_SECONDS = 60


class Script:
    """One client of one server."""

    def __init__(self, address: str, *, chooses_ids: bool) -> None:
        self.address = address
        self.chooses_ids = chooses_ids
        self.client_id = str(uuid.uuid4())
        self.socket = websocket.WebSocket()
        self.socket.connect(f"ws://{address}/ws?clientId={self.client_id}", timeout=PATIENCE_SECONDS)

    def get(self, path: str, **query: str) -> bytes:
        url = f"http://{self.address}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:
            body: bytes = response.read()
            return body

    def queue_prompt(self, graph: dict[str, Any]) -> str:
        body = {"prompt": graph, "client_id": self.client_id}
        if self.chooses_ids:
            body["prompt_id"] = str(uuid.uuid4())
        request = urllib.request.Request(f"http://{self.address}/prompt", data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            answer = json.loads(response.read())
        assert answer["prompt_id"] == body.get("prompt_id", answer["prompt_id"])
        return str(answer["prompt_id"])

    def wait_for_end(self, prompt_id: str) -> list[Any]:
        """What is told up to the end: kinds of messages, for binary frames their first eight bytes in hex."""
        told: list[Any] = []
        while True:
            frame = self.socket.recv()
            if isinstance(frame, bytes):
                told.append(frame[:8].hex())
                continue
            message = json.loads(frame)
            kind, data = message["type"], message["data"]
            if kind == "status":
                continue
            if data.get("prompt_id") != prompt_id:
                raise AssertionError(f"told of another prompt than {prompt_id}: {frame}")
            told.append([kind, data["node"]] if "node" in data else kind)
            if kind == "executing" and data["node"] is None:
                return told

    def run(self, graph: dict[str, Any]) -> dict[str, Any]:
        prompt_id = self.queue_prompt(graph)
        told = self.wait_for_end(prompt_id)
        entry = json.loads(self.get(f"/history/{prompt_id}"))[prompt_id]
        items = [item for output in entry["outputs"].values() for item in output.get("images", ())]
        files = [base64.b64encode(self.get("/view", **item)).decode() for item in items]
        return {"prompt_id": prompt_id, "told": told, "status": entry["status"], "items": items, "files": files}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address", help="host:port of the server")
    parser.add_argument("--choose-ids", action="store_true", help="bring the prompt ids along")
    options = parser.parse_args()
    script = Script(options.address, chooses_ids=options.choose_ids)
    for line in sys.stdin:
        print(json.dumps(script.run(json.loads(line))), flush=True)  # noqa: T201
    script.socket.close()


if __name__ == "__main__":
    main()
