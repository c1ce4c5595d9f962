"""Where a request comes from: the client's address, its scheme and the host that it called, through proxies that the
configuration trusts. What limits or an audit make of an address is not here.

A proxy appends to ``X-Forwarded-For`` the address that it was called from, so the list is read from its end: while an
address is a trusted proxy's, the one before it is who called that proxy. What is further left may be made up.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from aiohttp import hdrs, web

X_FORWARDED_FOR = "X-Forwarded-For"
X_FORWARDED_PROTO = "X-Forwarded-Proto"
X_FORWARDED_HOST = "X-Forwarded-Host"
HOPS_MOST = 32  # entries of one forwarding header that are looked at

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Origin:
    """``address`` as text, "" where the socket has none; ``host`` as in a Host header, "" where there is none."""

    address: str
    is_secure: bool
    host: str


class Proxies:
    """The proxies in front of the gateway whose word counts.

    Args:
        trusted: their networks; with none, forwarding headers are passed over.
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted = tuple(ipaddress.ip_network(network) for network in trusted)

    def origin(self, request: web.BaseRequest) -> Origin:
        """Who sent this request, and how."""
        host = request.headers.get(hdrs.HOST, "")
        peer = parse_address(request.remote or "")
        if peer is None or not self.trusts(peer):
            return Origin(str(peer) if peer is not None else request.remote or "", _is_tls(request), host)
        client, hops = self._followed(peer, _values(request, X_FORWARDED_FOR))
        scheme = _told(_values(request, X_FORWARDED_PROTO), hops).lower()
        secure = scheme in ("https", "wss") if scheme else _is_tls(request)
        return Origin(str(client), secure, _told(_values(request, X_FORWARDED_HOST), hops) or host)

    def trusts(self, address: Address) -> bool:
        """Whether it is one of the proxies."""
        return any(address.version == network.version and address in network for network in self._trusted)

    def _followed(self, peer: Address, chain: list[str]) -> tuple[Address, int]:
        """The client, and how many proxies stood between. An entry that is no address ends the way: the proxy that
        noted it is the last that is known."""
        client, hops = peer, 0
        for entry in reversed(chain):
            if not self.trusts(client):
                break
            named = parse_address(entry)
            if named is None:
                break
            client, hops = named, hops + 1
        return client, max(hops, 1)


PROXIES = web.AppKey("proxies", Proxies)
_ORIGIN = web.RequestKey("origin", Origin)


def client_address(request: web.Request) -> str:
    """The IP address of whoever sent the request, in its canonical text ("" for a Unix socket). An IPv4 address that
    came in an IPv6 one is told as IPv4."""
    return origin_of(request).address


def is_secure(request: web.Request) -> bool:
    """Whether the client speaks TLS, with the gateway or with a trusted proxy."""
    return origin_of(request).is_secure


def called_host(request: web.Request) -> str:
    """The host, with its port where one was told, that the client believes to talk to."""
    return origin_of(request).host


def origin_of(request: web.Request) -> Origin:
    """Where the request comes from."""
    found = request.get(_ORIGIN)
    if found is None:
        found = request[_ORIGIN] = request.app[PROXIES].origin(request)
    return found


@lru_cache(maxsize=512)  # every request asks for its client's
def parse_address(text: str) -> Address | None:
    """An address as forwarding headers and sockets tell it: alone, with a port, or in brackets. None: it is none."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _values(request: web.BaseRequest, name: str) -> list[str]:
    """The header's list, its lines put together in their order; only the nearest hops."""
    joined = ",".join(request.headers.getall(name, ()))
    return [value.strip() for value in joined.split(",")][-HOPS_MOST:] if joined else []


def _told(values: list[str], hops: int) -> str:
    """What the outermost trusted proxy said, where each adds its own word, or the only word there is."""
    return values[-min(hops, len(values))] if values else ""


def _is_tls(request: web.BaseRequest) -> bool:
    return request.scheme == "https"
