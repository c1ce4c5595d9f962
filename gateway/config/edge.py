"""The sections about who stands before the gateway and what it may be pointed to: TLS, browsers' pages, and addresses
that are given at run time."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from gateway.config.section import Section
from gateway.config.values import value_fault

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What the names of address ranges mean; IANA's special-purpose registries, and where clouds serve their metadata.
RANGES: dict[str, tuple[Network, ...]] = {
    name: tuple(ipaddress.ip_network(network) for network in networks)
    for name, networks in {
        "loopback": ("127.0.0.0/8", "::1/128"),
        "private": (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "192.0.0.0/24",
            "198.18.0.0/15",
            "fc00::/7",
            "fec0::/10",
        ),
        "link-local": ("169.254.0.0/16", "fe80::/10"),
        "metadata": (
            "169.254.169.254/32",
            "100.100.100.200/32",
            "192.0.0.192/32",
            "168.63.129.16/32",
            "fd00:ec2::254/128",
            "fd20:ce::254/128",
        ),
        "unspecified": ("0.0.0.0/8", "::/128"),
        "multicast": ("224.0.0.0/4", "240.0.0.0/4", "ff00::/8"),
    }.items()
}
NOBODYS = ("link-local", "metadata", "unspecified", "multicast")

HOST_NAME_MOST = 253  # characters, RFC 1035 2.3.4
_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise value_fault("must be an address or a network, like 10.0.0.0/8") from None


def _range(text: str) -> str:
    if text not in RANGES:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise value_fault(f"must be a network, like 10.0.0.0/8, or one of {', '.join(RANGES)}") from None
    return text


def _origin(text: str) -> str:
    """As browsers write it: scheme, host and, where it is not the scheme's own, the port; or ``*``."""
    if text == "*":
        return text
    try:
        parts = urlsplit(text.lower())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise value_fault("must be an origin, like https://studio.example, or *")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise value_fault("must be an origin only: no path, no query")
    default = {"http": 80, "https": 443}[parts.scheme]
    authority = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{authority}{'' if port in (None, default) else f':{port}'}"


def _host_name(text: str) -> str:
    """In lower case, without the dot of the root; ``*.`` before it for all names below."""
    name = text.lower().removesuffix(".")
    if not _HOST_NAME.fullmatch(name) or len(name) > HOST_NAME_MOST:
        raise value_fault("must be a host name without a port, like gateway.example.com or *.example.com")
    return name


def _prefix(text: str) -> str:
    path = text.rstrip("/")
    if path and not _PREFIX.fullmatch(path):
        raise value_fault("must be empty or a path like /comfy, of letters, digits and . _ ~ -")
    if path.split("/")[1:2] == ["gateway"]:
        raise value_fault("must not begin with /gateway, which is the gateway's own")
    return path


HostName = Annotated[str, AfterValidator(_host_name)]
TrustedNetwork = Annotated[str, AfterValidator(lambda text: str(_network(text)))]
AddressRange = Annotated[str, AfterValidator(_range)]
BrowserOrigin = Annotated[str, AfterValidator(_origin)]
PathPrefix = Annotated[str, AfterValidator(_prefix)]


class TlsConfig(Section):
    """HTTPS by the gateway itself: PEM files, the certificate with its chain. Read again on SIGHUP."""

    certificate: Path | None = None
    key: Path | None = None

    @field_validator("certificate", "key")
    @classmethod
    def _home(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path is not None else None

    @model_validator(mode="after")
    def _both(self) -> TlsConfig:
        if (self.certificate is None) != (self.key is None):
            raise value_fault("needs both certificate and key")
        return self


class BrowsersConfig(Section):
    """Pages of other sites that may call the gateway. `origins` may hold `*`, for any; with `credentials` their
    requests carry cookies, which `*` never gets.
    """

    origins: tuple[BrowserOrigin, ...] = ()
    credentials: bool = True


class AddressesConfig(Section):
    """Networks or names of `RANGES`. Where an address is in both lists, the narrower network decides, then `deny`.
    Where `deny` is not given, it is what it is by default, without the names in `allow`.
    """

    allow: tuple[AddressRange, ...] = ()
    deny: tuple[AddressRange, ...] = NOBODYS

    @model_validator(mode="before")
    @classmethod
    def _denied_by_default(cls, given: Any) -> Any:
        allowed = given.get("allow") if isinstance(given, dict) else None
        if not isinstance(allowed, list | tuple) or "deny" in given:
            return given
        return {**given, "deny": [name for name in cls.model_fields["deny"].default if name not in allowed]}

    def networks(self, name: str) -> tuple[Network, ...]:
        """The networks that `allow` or `deny` means."""
        texts: tuple[str, ...] = getattr(self, name)
        return tuple(network for text in texts for network in RANGES.get(text) or (_network(text),))


class WebhookAddressesConfig(AddressesConfig):
    """The same for receivers of webhooks, which anybody who submits may name."""

    deny: tuple[AddressRange, ...] = ("loopback", "private", *NOBODYS)


class EndpointsConfig(Section):
    """Which addresses may be given at run time, by an API: of a runner, and of the receiver of a webhook. What the
    configuration itself names is trusted.
    """

    runner: AddressesConfig = Field(default_factory=AddressesConfig)
    webhook: WebhookAddressesConfig = Field(default_factory=WebhookAddressesConfig)
