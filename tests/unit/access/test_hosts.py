"""Which host names the gateway answers to."""

import pytest

from gateway.access.hosts import AllowedHosts

HOSTS = AllowedHosts(["gateway.example.com", "*.lan", "_odd_.example"])


@pytest.mark.parametrize(
    "host",
    [
        "gateway.example.com",
        "gateway.example.com:8188",
        "Gateway.Example.COM",
        "gateway.example.com.",
        "gateway.example.com.:80",
        "comfy.lan",
        "a.b.lan:8188",
        "_odd_.example",
        "localhost",
        "localhost:8188",
        "LOCALHOST.",
        "127.0.0.1",
        "127.0.0.1:8188",
        "10.1.2.3",
        "[::1]",
        "[2001:db8::1]:8188",
        "",
    ],
)
def test_its_own(host):
    assert HOSTS.allow(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "example.com",
        "x.gateway.example.com",
        "evilgateway.example.com",
        "gateway.example.com.evil.example",
        "lan",
        "evil-lan",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "gateway.example.com@evil.example",
        "evil.example/localhost",
        "[::1",
        "[evil.example]",
        "127.0.0.1,evil.example",
        ":8188",
        ".",
        "@",
    ],
)
def test_others(host):
    assert not HOSTS.allow(host)


def test_without_names_all_are_answered():
    assert AllowedHosts([]).allow("evil.example")


def test_a_list_of_what_is_answered_anyway_refuses_the_rest():
    assert not AllowedHosts(["localhost"]).allow("evil.example")
