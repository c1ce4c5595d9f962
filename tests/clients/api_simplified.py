"""A program of a user of comfy_api_simplified; it knows nothing of a gateway. Prints what it got as JSON."""

import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor

from comfy_api_simplified import ComfyApiWrapper, ComfyWorkflowWrapper


def run(api: ComfyApiWrapper, path: str, seed: int) -> dict[str, str]:
    workflow = ComfyWorkflowWrapper(path)
    workflow.set_node_param("Probe", "seed", seed)
    images = api.queue_and_wait_images(workflow, "Save")
    return {name: base64.b64encode(data).decode() for name, data in images.items()}


def main() -> None:
    url, batch, negative, picture = sys.argv[1:]
    api = ComfyApiWrapper(url)
    with ThreadPoolExecutor(6) as threads:
        several = list(threads.map(lambda seed: run(api, batch, seed), range(80, 86)))
    uploaded = api.upload_image(picture)
    workflow = ComfyWorkflowWrapper(negative)
    workflow.set_node_param("Load", "image", f"{uploaded['subfolder']}/{uploaded['name']}")
    images = api.queue_and_wait_images(workflow, "Save")
    made = [base64.b64encode(data).decode() for data in images.values()]
    print(json.dumps({"several": several, "uploaded": uploaded, "negative": made}))  # noqa: T201


if __name__ == "__main__":
    main()
