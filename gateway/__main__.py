"""`python -m gateway` is `comfy-gateway`."""

from gateway.cli import main

main()
