"""Which host names the gateway answers to. A page whose name is made to resolve to the gateway's address (DNS
rebinding) counts as the gateway's own for a browser; that name is in the request's Host, and is none of these.

    host                            answered
    none (HTTP/1.0)                 yes: no browser leaves it out
    localhost, an IP address        yes: no name that a stranger could point elsewhere
    in the list, or below a `*.`    yes
    any other                       no
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from gateway.access.addresses import parse_address

LOCAL = "localhost"
BELOW = "*."


class AllowedHosts:
    """The names of ``server.allowed_hosts``.

    Args:
        names: in lower case; none: every host is answered. `*.example.com` is every name below `example.com`, and not
            that itself.
    """

    def __init__(self, names: Iterable[str]) -> None:
        given = frozenset(names)
        self._all = not given
        self._names = frozenset(name for name in given if not name.startswith(BELOW)) | {LOCAL}
        self._endings = tuple(sorted(name.removeprefix("*") for name in given if name.startswith(BELOW)))

    def allow(self, host: str) -> bool:
        """Whether a request for this host (as in a Host header, with a port or without) is answered."""
        if self._all or host in self._names:
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        except ValueError:
            return False  # brackets around what is no address
        if name in self._names or name.endswith(self._endings):
            return True
        return host == "" or parse_address(name) is not None
