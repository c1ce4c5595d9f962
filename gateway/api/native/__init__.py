"""ComfyUI's own routes, bare and under ``/api``."""
