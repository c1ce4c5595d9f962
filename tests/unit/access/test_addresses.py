"""Who sent a request, through proxies that are trusted and ones that are not."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.access.addresses import (
    PROXIES,
    Proxies,
    called_host,
    client_address,
    is_secure,
    origin_of,
    parse_address,
)

PEER = "10.0.0.1"


def request(headers=(), trusted=("10.0.0.0/8",), peer=PEER):
    app = web.Application()
    app[PROXIES] = Proxies(trusted)
    made = make_mocked_request("GET", "/", headers=list(headers), app=app)
    return made.clone(remote=peer)


class TestTheClientsAddress:
    @pytest.mark.parametrize(
        ("chain", "client"),
        [
            (None, PEER),
            ("203.0.113.7", "203.0.113.7"),
            ("198.51.100.1, 203.0.113.7", "203.0.113.7"),  # what a client made up stands left
            ("203.0.113.7, 10.0.0.2", "203.0.113.7"),  # two proxies
            ("198.51.100.1, 203.0.113.7, 10.0.0.2, 10.0.0.3", "203.0.113.7"),
            ("10.0.0.9", "10.0.0.9"),  # a client within the proxies' network
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("2001:DB8:0::7", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("203.0.113.7, unknown", PEER),  # the proxy that noted it is the last that is known
            ("203.0.113.7, junk, 10.0.0.2", "10.0.0.2"),
            ("", PEER),
            (",,,", PEER),
        ],
    )
    def test_behind_trusted_proxies(self, chain, client):
        headers = [] if chain is None else [("X-Forwarded-For", chain)]
        assert client_address(request(headers)) == client

    def test_lines_are_one_list(self):
        lines = [
            ("X-Forwarded-For", "198.51.100.1"),
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-For", "10.1.1.1"),
        ]
        assert client_address(request(lines)) == "203.0.113.7"

    @pytest.mark.parametrize("trusted", [(), ("10.0.0.2/32",), ("::/0",)])
    def test_nobody_elses_word_counts(self, trusted):
        told = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "a.example")]
        origin = origin_of(request([*told, ("Host", "own.example")], trusted))
        assert (origin.address, origin.is_secure, origin.host) == (PEER, False, "own.example")

    def test_a_mapped_peer_is_an_ipv4_one(self):
        assert client_address(request([], ("10.0.0.0/8",), "::ffff:192.0.2.1")) == "192.0.2.1"
        forwarded = [("X-Forwarded-For", "203.0.113.7")]
        assert client_address(request(forwarded, ("10.0.0.0/8",), "::ffff:10.0.0.1")) == "203.0.113.7"

    def test_a_unix_socket_has_no_address(self):
        assert client_address(request(peer="")) == ""

    def test_only_the_nearest_hops_are_looked_at(self):
        chain = ", ".join(["203.0.113.7", *["10.0.0.2"] * 100_000])
        assert client_address(request([("X-Forwarded-For", chain)])) == "10.0.0.2"


class TestWhatElseIsTold:
    @pytest.mark.parametrize(
        ("told", "secure"), [("https", True), ("HTTPS", True), ("wss", True), ("http", False), ("junk", False)]
    )
    def test_the_scheme(self, told, secure):
        assert is_secure(request([("X-Forwarded-Proto", told)])) is secure

    def test_a_proxy_that_adds_its_own_word_is_heard_by_its_place(self):
        two = [("X-Forwarded-For", "203.0.113.7, 10.0.0.2"), ("X-Forwarded-Proto", "https, http")]
        assert is_secure(request(two))
        made_up = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https, http")]
        assert not is_secure(request(made_up))

    def test_the_host(self):
        assert called_host(request([("Host", "inner:8188")])) == "inner:8188"
        told = [("Host", "inner:8188"), ("X-Forwarded-Host", "studio.example")]
        assert called_host(request(told)) == "studio.example"


@pytest.mark.parametrize(
    "text", ["", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "300.1.1.1", "[::z]", "0x7f.1", "a:b"]
)
def test_what_is_no_address(text):
    assert parse_address(text) is None
