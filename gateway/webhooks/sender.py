"""One try to deliver a message: signed, to an address that the rules permit, bounded in time and in what is read."""

from __future__ import annotations

import aiohttp
from yarl import URL

from gateway.clock import Clock
from gateway.config.webhooks import WebhooksConfig
from gateway.runners.addresses import AddressDenied, EndpointRules
from gateway.storage.webhooks import DeliveryRow
from gateway.webhooks.retries import Outcome
from gateway.webhooks.secrets import SigningSecrets

ANSWER_BYTES_MOST = 16 * 1024  # of what a receiver answers; it is read for the connection's sake only
ERROR_CHARACTERS_MOST = 200


class Sender:
    """Sends messages. Redirects are not followed, cookies not kept, proxies not used."""

    def __init__(self, config: WebhooksConfig, rules: EndpointRules, secrets: SigningSecrets, clock: Clock) -> None:
        self._secrets = secrets
        self._clock = clock
        self._session = aiohttp.ClientSession(
            connector=rules.connector(limit=config.at_once, limit_per_host=config.at_once_per_host),
            timeout=aiohttp.ClientTimeout(total=config.timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "comfy-gateway"},
        )

    async def close(self) -> None:
        """Closes its connections."""
        await self._session.close()

    async def send(self, delivery: DeliveryRow) -> Outcome:
        """Tries once. Raises StorageError: the owner's secret cannot be read."""
        seconds = self._clock.wall_ms() // 1_000
        signature = await self._secrets.sign(delivery.owner, delivery.message_id, seconds, delivery.body)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": delivery.message_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature,
        }
        try:
            async with self._session.post(
                URL(delivery.url, encoded=True), data=delivery.body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.content.read(ANSWER_BYTES_MOST)
                status = answer.status
        except TimeoutError:
            return Outcome(None, "no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(None, _words(error))
        return Outcome(status, None if 200 <= status < 300 else f"answered {status}")


def _words(error: Exception) -> str:
    """The fault, without the URL, which may hold a secret of the receiver's."""
    inner = getattr(error, "os_error", error)
    if isinstance(inner, AddressDenied):
        return str(inner.strerror)
    text = inner.strerror if isinstance(inner, OSError) and inner.strerror else type(error).__name__
    return str(text)[:ERROR_CHARACTERS_MOST]
