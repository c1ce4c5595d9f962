"""The runners: one backend ComfyUI server each, with its HTTP client, its link and its health; and the pool."""
