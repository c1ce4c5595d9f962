"""Running one prompt: nodes in order, cache, events, and the history entry (ComfyUI execution.py PromptExecutor)."""

import random
import string
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.simulator.cache import CacheEntry, ExecutionCache
from gateway.simulator.catalogue import Catalogue
from gateway.simulator.faults import Faults, RunnerDied, WorkerDied
from gateway.simulator.gpu import Interrupted
from gateway.simulator.nodes import Equipment, NodeCall, NodeRaised, NodeResult
from gateway.simulator.order import ExecutionOrder, MissingNode, is_link
from gateway.simulator.personality import Personality
from gateway.simulator.progress import Progress
from gateway.simulator.prompt_queue import QueueItem
from gateway.simulator.sockets import Sockets
from gateway.simulator.values import JSON

_OUT_OF_MEMORY_ADVICE = (
    "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you might have "
    "accidentally set the batch_size to a large number."
)


@dataclass(slots=True)
class Run:
    """What is known of the prompt that runs."""

    prompt_id: str
    prompt: dict[str, Any]
    extra_data: Mapping[str, Any]
    client_id: Any
    progress: Progress
    messages: list[list[Any]] = field(default_factory=list)
    executed: dict[str, None] = field(default_factory=dict)
    results: dict[str, CacheEntry] = field(default_factory=dict)
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`output` and `meta` by node, for the history."""
    success: bool = True


class Executor:
    """Runs prompts one after the other; the cache and the node objects live on between them."""

    def __init__(
        self, *, personality: Personality, catalogue: Catalogue, equipment: Equipment, sockets: Sockets, faults: Faults
    ) -> None:
        self._catalogue = catalogue
        self._equipment = equipment
        self._sockets = sockets
        self._faults = faults
        self._classic = not personality.modern
        self._cache = ExecutionCache(personality.cache_nodes)
        self._marks: dict[tuple[str, str], str] = {}
        self._random = random.Random()
        self.client_id: Any = None
        """Client of the running prompt, or of the last one."""
        self.last_node_id: str | None = None
        """The node that runs, if its client was told."""

    def reset(self) -> None:
        """Forget results and node objects."""
        self._cache.clear()
        self._marks.clear()

    async def execute(self, item: QueueItem) -> dict[str, Any]:
        """Run a queue item; gives the history entry without its `prompt`.

        Raises:
            WorkerDied: the prompt is one that kills ComfyUI's worker, or a fault says so.
            RunnerDied: a fault says so.
        """
        run = self._begin(item)
        outputs: list[str] = item[4]
        self._message(run, "execution_start", {"prompt_id": run.prompt_id})
        self._cache.begin_prompt(run.prompt, lambda node_id: self._fingerprint(run, node_id))
        self._marks = {key: mark for key, mark in self._marks.items() if key[0] in run.prompt}
        cached = self._cache.cached(run.prompt)
        self._message(run, "execution_cached", {"nodes": cached, "prompt_id": run.prompt_id})
        await self._nodes(run, outputs)
        if run.success:
            self._message(run, "execution_success", {"prompt_id": run.prompt_id})
        self.last_node_id = None
        return self._entry(run)

    def _begin(self, item: QueueItem) -> Run:
        _, prompt_id, prompt, extra_data, _, *secrets = item
        if extra_data is None or isinstance(extra_data, int | float):
            raise WorkerDied(f"extra_data is {extra_data!r}, which 0.3.64 does not survive")
        if not isinstance(extra_data, dict):
            extra_data = {}
        self._equipment.gpu.begin_job()
        self.client_id = extra_data.get("client_id")
        everything = {**extra_data, **(secrets[0] if secrets else {})}
        progress = Progress(self._sockets, prompt_id, self.client_id)
        return Run(prompt_id, prompt, everything, self.client_id, progress)

    def _fingerprint(self, run: Run, node_id: str) -> str | None:
        node = run.prompt[node_id]
        fingerprint = self._catalogue.node_class(node["class_type"]).fingerprint
        return None if fingerprint is None else fingerprint(self._catalogue.folders, node.get("inputs", {}))

    async def _nodes(self, run: Run, outputs: list[str]) -> None:
        order = ExecutionOrder(
            run.prompt,
            is_cached=lambda node_id: self._cache.get(node_id) is not None,
            is_output=lambda node_id: self._catalogue.is_output(run.prompt[node_id]["class_type"]),
        )
        try:
            order.add(outputs)
        except MissingNode as missing:
            raise WorkerDied(f"node {missing} is linked to and not there") from missing
        while order:
            node_id = order.next()
            if node_id is None:
                blamed = order.members_of_circle()[0]
                self._error(run, blamed, "graph.DependencyCycleError", "Dependency cycle detected", [], [])
                return
            if not await self._node(run, node_id):
                return
            order.done(node_id)

    async def _node(self, run: Run, node_id: str) -> bool:
        entry = self._cache.get(node_id)
        if entry is not None:
            self._show_cached(run, node_id, entry)
            run.progress.finish(node_id)
            run.results[node_id] = entry
            return True
        node = run.prompt[node_id]
        run.progress.start(node_id)
        inputs = self._inputs(run, node)
        if run.client_id is not None:
            self.last_node_id = node_id
            data = {"node": node_id, "display_node": node_id, "prompt_id": run.prompt_id}
            self._sockets.send("executing", data, run.client_id)
        try:
            result = await self._call(run, node_id, node["class_type"], inputs)
        except Interrupted:
            self._interrupted(run, node_id, node["class_type"])
            return False
        except (RunnerDied, WorkerDied):
            raise
        # A node's exception of any kind is an answer to the client, not the end of the runner.
        except Exception as error:  # noqa: BLE001
            self._failed(run, node_id, inputs, error)
            return False
        self._finished(run, node_id, result)
        return True

    def _inputs(self, run: Run, node: dict[str, Any]) -> dict[str, Any]:
        inputs = {}
        for name, value in node["inputs"].items():
            if is_link(value):
                source = run.results.get(value[0]) or self._cache.get(value[0])
                inputs[name] = None if source is None else source.outputs[int(value[1])]
            else:
                inputs[name] = value
        return inputs

    async def _call(self, run: Run, node_id: str, class_type: str, inputs: dict[str, Any]) -> NodeResult:
        gpu = self._equipment.gpu
        await gpu.work(self._equipment.seconds_per_node)
        gpu.check_interrupt()
        failure = self._faults.failure_of(class_type)
        if failure is not None:
            raise NodeRaised(failure.exception_type, failure.message)
        pnginfo = run.extra_data.get("extra_pnginfo")
        call = NodeCall(
            equipment=self._equipment,
            inputs=inputs,
            prompt=run.prompt,
            extra_pnginfo=pnginfo if isinstance(pnginfo, dict) else None,
            temp_mark=self._mark(node_id, class_type),
            progress=lambda value, maximum, image: run.progress.update(node_id, value, maximum, image),
        )
        return await self._catalogue.node_class(class_type).run(call)

    def _mark(self, node_id: str, class_type: str) -> str:
        key = (node_id, class_type)
        if key not in self._marks:
            self._marks[key] = "".join(self._random.choices(string.ascii_lowercase, k=5))
        return self._marks[key]

    def _finished(self, run: Run, node_id: str, result: NodeResult) -> None:
        ui = None
        if result.ui:
            ui = run.shown[node_id] = {"output": result.ui, "meta": _meta(node_id)}
            self._executed(run, node_id, result.ui)
        entry = run.results[node_id] = CacheEntry(result.outputs, ui)
        self._cache.put(node_id, entry)
        run.progress.finish(node_id)
        run.executed[node_id] = None

    def _show_cached(self, run: Run, node_id: str, entry: CacheEntry) -> None:
        if entry.ui is not None:
            run.shown[node_id] = {"output": entry.ui["output"], "meta": _meta(node_id)}
        self._executed(run, node_id, None if entry.ui is None else entry.ui["output"])

    def _executed(self, run: Run, node_id: str, output: JSON) -> None:
        if run.client_id is not None:
            data = {"node": node_id, "display_node": node_id, "output": output, "prompt_id": run.prompt_id}
            self._sockets.send("executed", data, run.client_id)

    def _interrupted(self, run: Run, node_id: str, class_type: str) -> None:
        run.success = False
        data = {
            "prompt_id": run.prompt_id,
            "node_id": node_id,
            "node_type": class_type,
            "executed": list(run.executed),
        }
        self._message(run, "execution_interrupted", data, to_all=True)

    def _failed(self, run: Run, node_id: str, inputs: dict[str, Any], error: Exception) -> None:
        kind = error.exception_type if isinstance(error, NodeRaised) else _full_name(type(error))
        advice = _OUT_OF_MEMORY_ADVICE if "OutOfMemory" in kind else ""
        shown = {name: [_shown(value)] for name, value in inputs.items()}
        self._error(run, node_id, kind, f"{error}\n{advice}", traceback.format_tb(error.__traceback__), shown)

    def _error(self, run: Run, node_id: str, kind: str, text: str, trace: list[str], inputs: JSON) -> None:
        run.success = False
        data = {
            "prompt_id": run.prompt_id,
            "node_id": node_id,
            "node_type": run.prompt[node_id]["class_type"],
            "executed": list(run.executed),
            "exception_message": text,
            "exception_type": kind,
            "traceback": trace,
            "current_inputs": inputs,
            "current_outputs": list(run.prompt),
        }
        self._message(run, "execution_error", data)

    def _message(self, run: Run, event: str, data: dict[str, Any], *, to_all: bool = False) -> None:
        """Keep a message for the history and send it; without a client only what goes `to_all` is sent."""
        data = {**data, "timestamp": int(time.time() * 1000)}
        run.messages.append([event, data])
        if run.client_id is not None or to_all:
            self._sockets.send(event, data, run.client_id)

    def _entry(self, run: Run) -> dict[str, Any]:
        if self._classic:
            # 0.3.64 lists what the cache knows of any node of the prompt, run or not.
            for node_id in run.prompt:
                entry = self._cache.get(node_id)
                if entry is not None and entry.ui is not None:
                    run.shown.setdefault(node_id, {"output": entry.ui["output"], "meta": _meta(node_id)})
        return {
            "outputs": {node_id: shown["output"] for node_id, shown in run.shown.items()},
            "status": {
                "status_str": "success" if run.success else "error",
                "completed": run.success,
                "messages": run.messages,
            },
            "meta": {node_id: shown["meta"] for node_id, shown in run.shown.items()},
        }


def _meta(node_id: str) -> dict[str, str | None]:
    return {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}


def _shown(value: JSON) -> JSON:
    return value if value is None or isinstance(value, int | float | bool | str) else str(value)


def _full_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
