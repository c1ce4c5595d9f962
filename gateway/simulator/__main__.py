"""`python -m gateway.simulator --port 8188`."""

from gateway.simulator.command import app

app()
