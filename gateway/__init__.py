"""A gateway that makes a pool of ComfyUI servers look like one. The rooms are described in docs/architecture.md."""
