"""What ComfyUI speaks, as pure functions and frozen dataclasses: no I/O, no asyncio."""
