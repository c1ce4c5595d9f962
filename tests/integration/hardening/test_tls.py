"""HTTPS by the gateway itself."""

import asyncio
import ssl

import aiohttp
import pytest
import trustme
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.config import ConfigError, TlsConfig
from gateway.reload import Reloader
from gateway.serving import listening
from gateway.tls import Certificates


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def write(authority, folder, name="127.0.0.1"):
    """A certificate of that name and its key; returns them as the configuration has them."""
    issued = authority.issue_cert(name)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    issued.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return TlsConfig(certificate=certificate, key=key)


def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def shown(port, authority):
    """The serial number of the certificate that a new connection is shown."""
    context = trusting(authority)
    context.check_hostname = False
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    serial = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await writer.wait_closed()
    return serial


@pytest.fixture
async def served(authority, tmp_path):
    """A gateway with HTTPS: its rooms, its configuration, its certificates and its port."""
    tls = write(authority, tmp_path)
    async with running_pool(tmp_path / "data", 1) as pool:
        config = pool.config.model_copy(update={"tls": tls})
        certificates = Certificates.of(tls)
        async with listening(config, pool.rooms, certificates) as port:
            yield pool, config, certificates, port


async def test_http_and_websockets(served, authority):
    _, _, _, port = served
    base = f"https://127.0.0.1:{port}"
    connector = aiohttp.TCPConnector(ssl=trusting(authority))
    async with aiohttp.ClientSession(connector=connector) as http:
        async with http.ws_connect(f"{base}/ws?clientId=one") as socket:
            client = Client(base, http, "one")
            client.socket = socket
            job = await client.submit(save_graph(1))
            await client.hear_end(job)
        assert len(await client.files(job)) == 1


async def test_nothing_older_than_1_2(served, authority):
    _, _, certificates, port = served
    assert certificates.context.minimum_version is ssl.TLSVersion.TLSv1_2
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", port, ssl=context)


async def test_plain_http_gets_no_answer(served):
    _, _, _, port = served
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"http://127.0.0.1:{port}/gateway/health")


async def test_a_reload_shows_new_connections_the_new_certificate(served, authority, tmp_path):
    pool, config, certificates, port = served
    reloader = Reloader(config, lambda: config, pool.rooms.fleet, certificates)
    before = await shown(port, authority)
    write(authority, tmp_path)
    assert await shown(port, authority) == before
    assert await reloader.reload()
    renewed = await shown(port, authority)
    assert renewed != before

    (tmp_path / "key.pem").write_text("no key")
    assert not await reloader.reload()
    assert await shown(port, authority) == renewed


class TestFaults:
    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ConfigError, match=r"tls\.certificate: cannot be read: No such file"):
            Certificates.of(TlsConfig(certificate=tmp_path / "a", key=tmp_path / "b"))

    def test_a_key_of_another_certificate(self, authority, tmp_path):
        tls = write(authority, tmp_path)
        authority.issue_cert("other").private_key_pem.write_to_path(tls.key)
        with pytest.raises(ConfigError, match=r"cannot be used with tls\.key: KEY_VALUES_MISMATCH"):
            Certificates.of(tls)

    def test_no_pem(self, tmp_path):
        (tmp_path / "a").write_text("none")
        with pytest.raises(ConfigError, match="cannot be used"):
            Certificates.of(TlsConfig(certificate=tmp_path / "a", key=tmp_path / "a"))

    def test_none_is_plain_http(self):
        assert Certificates.of(TlsConfig()) is None
