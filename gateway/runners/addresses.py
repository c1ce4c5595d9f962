"""Which addresses the gateway may be pointed to at run time: runners that an API adds, and receivers of webhooks.

A URL is judged twice: as text, for a clear error at once (`check_url`), and each time that a connection is made, on the
address that its name has then (`connector`). So a name that resolves to something else later gains nothing, and what
counts is the address that the operating system is given, however the host was written.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.config.edge import AddressesConfig, Network

Address = IPv4Address | IPv6Address
AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]  # as getaddrinfo gives it

RESOLVE_SECONDS = 5.0
URL_CHARACTERS_MOST = 2_048
_NOT_IN_URLS = re.compile(r"[\s\x00-\x20\x7f\\]")
_USER = re.compile(r"[^/?#]*//[^/?#]*@")
# A host whose last label is like this is an IPv4 address (WHATWG URL, 3.5).
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
# IPv6 networks whose addresses lead to the IPv4 address in their last 32 bits: NAT64 (RFC 6052, RFC 8215), SIIT, and
# the form that RFC 4291 retired.
_LEADS_TO_IPV4 = tuple(
    ipaddress.IPv6Network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")
)


class EndpointRefused(ValueError):
    """A URL that may not be given at run time; as text the reason, which never holds the URL."""


class AddressDenied(PermissionError):
    """A connection to an address that the rules deny. aiohttp tells it as ClientConnectorError."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "the address is denied by the configuration (endpoints)")


class EndpointRules:
    """The rules for one kind of endpoint (`endpoints.runner`, `endpoints.webhook`).

    Args:
        config: of an address in both lists the narrower network decides, then `deny`.
    """

    def __init__(self, config: AddressesConfig) -> None:
        self._allow = config.networks("allow")
        self._deny = config.networks("deny")

    def permits(self, address: Address) -> bool:
        """Whether a connection to it may be made; an IPv6 address that leads to an IPv4 one needs both permitted."""
        return all(self._permits(one) for one in _meanings(address))

    def _permits(self, address: Address) -> bool:
        denied = _narrowest(address, self._deny)
        return denied < 0 or _narrowest(address, self._allow) > denied

    def check_url(self, text: str) -> str:
        """The URL as it will be used: http or https, a host, no user. Addresses are judged; names when connecting.

        Raises EndpointRefused with the reason.
        """
        if len(text) > URL_CHARACTERS_MOST:
            raise EndpointRefused(f"is longer than {URL_CHARACTERS_MOST} characters")
        if _NOT_IN_URLS.search(text):
            raise EndpointRefused("must not contain spaces, control characters or backslashes")
        try:
            url = URL(text)
            host, port = url.raw_host, url.port
        except ValueError:
            raise EndpointRefused("is not a valid URL") from None
        if url.scheme not in ("http", "https"):
            raise EndpointRefused("must start with http:// or https://")
        if not host or not url.absolute:
            raise EndpointRefused("must name a host")
        if _USER.match(text):
            raise EndpointRefused("must not contain a user or a password")
        if port == 0:
            raise EndpointRefused("port must be between 1 and 65535")
        if url.raw_fragment or text.endswith("#"):
            raise EndpointRefused("must not have a fragment")
        address = _literal(host)
        if address is not None and not self.permits(address):
            raise EndpointRefused("names an address that the configuration denies (endpoints)")
        # yarl writes some characters of a query as they are meant, such as a backslash.
        used = _NOT_IN_URLS.sub(lambda found: quote(found[0]), str(url))
        try:
            is_stable = URL(used).raw_host == host
        except ValueError:
            is_stable = False
        if not is_stable:  # whoever reads it again would see another host
            raise EndpointRefused("is not a valid URL")
        return used

    async def check_resolved(self, text: str) -> str:
        """As `check_url`, and the host is looked up: an early word to whoever gave the URL, not the protection itself.

        Raises EndpointRefused also where the name has no address, or none that is permitted.
        """
        checked = self.check_url(text)
        url = URL(checked)
        assert url.raw_host is not None
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(url.raw_host, url.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            raise EndpointRefused("names a host that has no address") from None
        if not any(self._permits_info(info) for info in found):
            raise EndpointRefused("names an address that the configuration denies (endpoints)")
        return checked

    def connector(self, **settings: Any) -> aiohttp.TCPConnector:
        """A connector that connects to permitted addresses only. Its session must not use proxies (`trust_env`), and
        its requests must not follow redirects, which the rules would judge, but with the headers meant for another.

        Args:
            settings: aiohttp.TCPConnector's own.
        """
        return aiohttp.TCPConnector(socket_factory=self._socket, **settings)

    def _socket(self, info: AddressInfo) -> socket.socket:
        """Called by aiohttp with what it is about to connect to, a literal address or one that a name resolved to."""
        if not self._permits_info(info):
            raise AddressDenied
        family, kind, protocol, _, _ = info
        return socket.socket(family=family, type=kind, proto=protocol)

    def _permits_info(self, info: AddressInfo) -> bool:
        try:
            address = ipaddress.ip_address(str(info[4][0]).partition("%")[0])
        except ValueError:
            return False
        return self.permits(address)


def _narrowest(address: Address, networks: tuple[Network, ...]) -> int:
    """The prefix length of the narrowest network that has the address, -1: none has."""
    return max(
        (network.prefixlen for network in networks if network.version == address.version and address in network),
        default=-1,
    )


def _meanings(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 addresses that it leads to. One that is merely mapped is IPv4 and nothing else."""
    if isinstance(address, IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if int(address) > 1 and any(address in network for network in _LEADS_TO_IPV4):
        yield IPv4Address(int(address) & 0xFFFF_FFFF)


def _literal(host: str) -> Address | None:
    """The address that a host is, None where it is a name.

    Raises EndpointRefused: it is an address in a form that programs read differently (octal, hexadecimal, one number,
    a trailing dot, a zone).
    """
    if "%" in host:
        raise EndpointRefused("must not have a zone or percent-encoding in its host")
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host)
        except ValueError:
            raise EndpointRefused("names no valid IPv6 address") from None
    last = host.rstrip(".").rpartition(".")[2]
    if not _NUMBER.fullmatch(last):
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise EndpointRefused("must write an IPv4 address as four decimal numbers") from None
