"""``/v1``: runners, workflows, templates and the user over HTTP, as the ComfyControl API has them. Each resource has a
file of its own; what they share is in `endpoint` (declaring a route), `errors`, `models`, `pagination` and `forms`."""
