"""A database with jobs that wait and jobs that have ended, as an earlier life of the gateway would have left it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson

from gateway.comfyui import history, jobs_api
from gateway.storage.database import Database
from gateway.storage.jobs import JobRow, insert_job

TOGETHER = 500  # rows in a group


def graph(seed: int) -> dict[str, Any]:
    """A graph of twenty nodes that every runner takes, about 3 kB."""
    nodes: dict[str, Any] = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": seed}}
    }
    for number in range(2, 20):
        image = [str(number - 1), 0]
        nodes[str(number)] = {
            "class_type": "ImageInvert",
            "inputs": {"image": image},
            "_meta": {"title": "Invert Image"},
        }
    nodes["20"] = {"class_type": "SaveImage", "inputs": {"images": ["19", 0], "filename_prefix": "load"}}
    return nodes


def workflow(number: int) -> dict[str, Any]:
    """What the frontend sends beside such a graph, about 8 kB."""
    nodes = [
        {
            "id": node,
            "type": "ImageInvert",
            "pos": [100.0 * node, 200.0],
            "size": [300, 200],
            "flags": {},
            "order": node,
            "mode": 0,
            "inputs": [{"name": "image", "type": "IMAGE", "link": node}],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [node + 1]}],
            "properties": {"cnr_id": "comfy-core", "Node name for S&R": "ImageInvert"},
            "widgets_values": [],
        }
        for node in range(1, 21)
    ]
    links = [[node, node, 0, node + 1, 0, "IMAGE"] for node in range(1, 20)]
    return {"id": f"00000000-0000-4000-8000-{number:012}", "nodes": nodes, "links": links, "version": 0.4}


def row(number: int, *, has_ended: bool) -> JobRow:
    job_id = f"00000000-0000-4000-8000-{number:012}"
    created = time.time_ns() // 1_000_000
    prompt, extra_data = graph(number), {"extra_pnginfo": {"workflow": workflow(number)}, "create_time": created}
    request = {"explicit_number": None, "partial_execution_targets": None, "tags": [], "runs_alone": False}
    found = JobRow(
        id=job_id,
        seq=number + 1,
        number=float(number),
        owner="",
        client_id="load",
        state="completed" if has_ended else "pending",
        prompt=orjson.dumps(prompt),
        extra_data=orjson.dumps(extra_data),
        request=orjson.dumps(request),
        outputs_to_execute=b'["20"]',
        created_at=created,
        told=has_ended,
    )
    if has_ended:
        outputs = {"20": {"images": [{"filename": f"load_{number:05}_.png", "subfolder": "", "type": "output"}]}}
        told = [["execution_start", {"prompt_id": job_id}], ["execution_success", {"prompt_id": job_id}]]
        entry = history.made_entry(number, job_id, prompt, extra_data, ["20"], outputs, told, {}, True)
        found.ended_at, found.entry = created, orjson.dumps(entry)
        found.summary = orjson.dumps(jobs_api.from_history(entry, job_id))
    return found


async def seed(path: Path, *, waiting: int, ended: int) -> int:
    """Makes the database; returns how many bytes of JSON one of the jobs is."""
    async with await Database.open(f"sqlite:///{path}", synchronous="normal") as db:
        for start in range(0, waiting + ended, TOGETHER):
            numbers = range(start, min(start + TOGETHER, waiting + ended))
            await db.write(*(insert_job(row(number, has_ended=number < ended)) for number in numbers))
            await asyncio.sleep(0)
    one = row(0, has_ended=False)
    return len(one.prompt) + len(one.extra_data)
