"""TLS of the gateway's own listener: its certificate, and exchanging that while connections stand."""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog

from gateway.config import ConfigError, Fault, TlsConfig

log = structlog.get_logger(__name__)


class Certificates:
    """The certificate that new connections are shown. Connections that stand keep the one they began with.

    Args:
        certificate: PEM file, with its chain.
        key: PEM file, without a passphrase.

    Raises ConfigError where they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.context = _context(certificate, key)

    @classmethod
    def of(cls, config: TlsConfig) -> Certificates | None:
        """Those of the configuration; None where it asks for plain HTTP. Raises ConfigError."""
        if config.certificate is None or config.key is None:
            return None
        return cls(config.certificate, config.key)

    def reload(self, config: TlsConfig) -> None:
        """Reads the files again. Raises ConfigError where they cannot be used; the old certificate stays."""
        if config.certificate is None or config.key is None:
            return
        # On a context of its own first: a key that does not fit would leave the one in use with half of the new pair.
        _context(config.certificate, config.key)
        self.context.load_cert_chain(config.certificate, config.key)
        log.info("tls.reloaded", certificate=str(config.certificate))


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for name, path in (("certificate", certificate), ("key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise _unusable(name, f"cannot be read: {error.strerror}") from None
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "not a certificate and its key in PEM"
        raise _unusable("certificate", f"cannot be used with tls.key: {reason}") from None
    return context


def _no_passphrase() -> str:
    """In place of a question on the terminal, which nobody would answer."""
    raise ValueError("the key has a passphrase")


def _unusable(name: str, message: str) -> ConfigError:
    return ConfigError("tls", [Fault(f"tls.{name}", message)])
