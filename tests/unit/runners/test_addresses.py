"""Which addresses may be given at run time, and that what counts is the address that is connected to."""

import ipaddress
import socket

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from gateway.config import AddressesConfig, EndpointsConfig
from gateway.runners.addresses import AddressDenied, EndpointRefused, EndpointRules

RUNNERS = EndpointRules(EndpointsConfig().runner)
WEBHOOKS = EndpointRules(EndpointsConfig().webhook)


def permits(rules: EndpointRules, address: str) -> bool:
    return rules.permits(ipaddress.ip_address(address))


class TestDefaults:
    @pytest.mark.parametrize(
        "address",
        [
            "169.254.169.254",
            "169.254.1.1",
            "fe80::1",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "::ffff:169.254.169.254",  # mapped
            "::ffff:0:169.254.169.254",  # SIIT
            "::169.254.169.254",  # the retired form
            "64:ff9b::169.254.169.254",  # NAT64
            "2002:a9fe:a9fe::1",  # 6to4
            "2001:0:a9fe:a9fe::1",  # Teredo's server
        ],
    )
    def test_nobody_is_sent_there(self, address):
        assert not permits(RUNNERS, address)
        assert not permits(WEBHOOKS, address)

    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "fd12::1", "::ffff:127.0.0.1"],
    )
    def test_runners_may_be_near_and_webhooks_may_not(self, address):
        assert permits(RUNNERS, address)
        assert not permits(WEBHOOKS, address)

    @pytest.mark.parametrize("address", ["203.0.113.7", "2606:4700::1", "64:ff9b::203.0.113.7"])
    def test_anyone_else_may_be_asked(self, address):
        assert permits(RUNNERS, address)
        assert permits(WEBHOOKS, address)


class TestLists:
    def test_the_narrower_network_decides(self):
        rules = EndpointRules(AddressesConfig(allow=("10.1.0.0/16", "private"), deny=("10.0.0.0/8", "metadata")))
        assert permits(rules, "10.1.2.3")
        assert not permits(rules, "10.2.0.1")
        assert not permits(rules, "fd00:ec2::254")  # private too, but metadata is narrower

    def test_denied_where_both_say_the_same(self):
        assert not permits(EndpointRules(AddressesConfig(allow=("10.0.0.0/8",), deny=("10.0.0.0/8",))), "10.0.0.1")

    def test_what_is_allowed_opens_nothing_else(self):
        rules = EndpointRules(
            EndpointsConfig.model_validate({"webhook": {"allow": ["10.0.0.0/24", "loopback"]}}).webhook
        )
        allowed = {each for each in ("10.0.0.9", "127.0.0.1", "::1") if permits(rules, each)}
        assert allowed == {"10.0.0.9", "127.0.0.1", "::1"}
        for address in ("10.0.1.1", "192.168.0.1", "169.254.169.254"):
            assert not permits(rules, address)

    def test_only_what_is_allowed(self):
        rules = EndpointRules(AddressesConfig(allow=("10.0.0.0/24", "loopback"), deny=("0.0.0.0/0", "::/0")))
        assert [permits(rules, each) for each in ("10.0.0.9", "::1", "10.0.1.1", "8.8.8.8", "2606:4700::1")] == [
            True,
            True,
            False,
            False,
            False,
        ]


class TestUrls:
    @pytest.mark.parametrize(
        ("text", "used"),
        [
            ("http://gpu.example:8188", "http://gpu.example:8188"),
            ("HTTPS://GPU.Example/comfy", "https://gpu.example/comfy"),
            ("http://10.0.0.1/hook?x=1", "http://10.0.0.1/hook?x=1"),
            ("http://[2606:4700::1]:80/", "http://[2606:4700::1]/"),
            ("http://gpu.example.:8188/", "http://gpu.example.:8188/"),
        ],
    )
    def test_are_taken(self, text, used):
        assert RUNNERS.check_url(text) == used

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "http"),
            ("gpu.example:8188", "http"),
            ("//gpu.example/", "http"),
            ("/path", "http"),
            ("file:///etc/passwd", "http"),
            ("gopher://gpu.example/", "http"),
            ("unix:///run/docker.sock", "http"),
            ("ws://gpu.example/", "http"),
            ("http:///path", "host"),
            ("http://", "host"),
            ("http://user@gpu.example/", "user"),
            ("http://user:secret@gpu.example/", "user"),
            ("http://@gpu.example/", "user"),
            ("http://gpu.example\\@169.254.169.254/", "backslash"),
            ("http://gpu.example/\r\nX: y", "control"),
            ("http://gpu.example/ x", "space"),
            ("http://gpu.example:0/", "port"),
            ("http://gpu.example:99999/", "valid"),
            ("http://gpu.example/#x", "fragment"),
            ("http://gpu.example/#", "fragment"),
            ("http://[::1", "valid"),
            ("http://[fe80::1%25eth0]/", "zone"),
            ("http://169.254.169.254/latest/meta-data", "denies"),
            ("http://[::ffff:169.254.169.254]/", "denies"),
            ("http://[::ffff:a9fe:a9fe]/", "denies"),
            ("http://2852039166/", "four decimal"),
            ("http://0xa9fea9fe/", "four decimal"),
            ("http://0xa9.0xfe.0xa9.0xfe/", "four decimal"),
            ("http://0251.0376.0251.0376/", "four decimal"),
            ("http://169.16689662/", "four decimal"),
            ("http://169.254.169.254./", "four decimal"),
            ("http://127.1/", "four decimal"),
            ("http://0/", "four decimal"),
            ("http://" + "a" * 3000, "longer"),
        ],
    )
    def test_are_refused(self, text, reason):
        with pytest.raises(EndpointRefused, match=reason) as caught:
            RUNNERS.check_url(text)
        assert "secret" not in str(caught.value)

    def test_digits_of_another_script_are_digits(self):
        with pytest.raises(EndpointRefused):
            RUNNERS.check_url("http://１６９.２５４.１６９.２５４/")


class Rebinding(AbstractResolver):
    """A name server that says another address each time."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host, port=0, family=socket.AF_INET):
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            {"hostname": host, "host": one, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for one in answer.split()
        ]

    async def close(self):
        return None


@pytest.fixture
async def server(aiohttp_server):
    async def hello(_request):
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    return await aiohttp_server(app)


NO_LOOPBACK = EndpointRules(AddressesConfig(deny=("loopback",)))


class TestConnecting:
    async def test_a_permitted_address_is_connected_to(self, server):
        async with aiohttp.ClientSession(connector=RUNNERS.connector()) as http, http.get(server.make_url("/")) as got:
            assert await got.text() == "hello"

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
    async def test_a_denied_one_is_not(self, server, host):
        async with aiohttp.ClientSession(connector=NO_LOOPBACK.connector()) as http:
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await http.get(f"http://{host}:{server.port}/")
        assert isinstance(caught.value.os_error, AddressDenied)

    @pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
    async def test_however_it_is_written(self, server, host):
        async with aiohttp.ClientSession(connector=NO_LOOPBACK.connector()) as http:
            with pytest.raises((aiohttp.ClientConnectorError, aiohttp.InvalidURL)):
                await http.get(f"http://{host}:{server.port}/")

    async def test_a_name_that_resolves_anew_gains_nothing(self, server):
        rules = EndpointRules(AddressesConfig(allow=("127.0.0.1",), deny=("loopback",)))
        resolver = Rebinding("127.0.0.1", "127.0.0.2")
        connector = rules.connector(resolver=resolver, use_dns_cache=False, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as http:
            async with http.get(f"http://gpu.example:{server.port}/") as got:
                assert got.status == 200
            with pytest.raises(aiohttp.ClientConnectorError, match="denied"):
                await http.get(f"http://gpu.example:{server.port}/")
        assert resolver.asked == 2

    async def test_of_several_addresses_the_permitted_one_is_used(self, server):
        rules = EndpointRules(AddressesConfig(allow=("127.0.0.1",), deny=("loopback",)))
        connector = rules.connector(resolver=Rebinding("127.0.0.2 127.0.0.1"))
        url = f"http://gpu.example:{server.port}/"
        async with aiohttp.ClientSession(connector=connector) as http, http.get(url) as got:
            assert got.status == 200


class TestLookingUp:
    async def test_a_permitted_name(self):
        assert await RUNNERS.check_resolved("http://localhost:8188") == "http://localhost:8188"

    async def test_a_denied_name(self):
        with pytest.raises(EndpointRefused, match="denies"):
            await WEBHOOKS.check_resolved("http://localhost:8188")

    async def test_a_name_without_an_address(self, monkeypatch):
        async def unknown(*_args, **_more):
            raise socket.gaierror

        monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", unknown)
        with pytest.raises(EndpointRefused, match="no address"):
            await RUNNERS.check_resolved("http://gpu.example")
