"""The HTTP and websocket routes, one file per family. Thin: parse, call, answer."""
