"""Host headers and origins that the daemon accepts."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kairos.api.access.public_address import Hosts, link_base
from kairos.config import Settings
from kairos.config_server import ServerSettings, origin

LOCAL = Hosts(ServerSettings())
EVERYWHERE = Hosts(ServerSettings(host="0.0.0.0"))
PUBLIC = Hosts(
    ServerSettings(public_url="https://Kairos.Example.org/", allowed_hosts=["kairos", "FE80::1", "10.1.2.3"])
)


@pytest.mark.parametrize(
    "header",
    ["localhost", "LOCALHOST:8484", "localhost.:1", "127.0.0.1", "127.0.0.1:80", "[::1]:8484", "[::ffff:127.0.0.1]"],
)
@pytest.mark.parametrize("hosts", [LOCAL, EVERYWHERE, PUBLIC])
def test_this_machine_is_always_served(hosts: Hosts, header: str):
    assert hosts.serves(header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "evil.test",
        "evil.test:8484",
        "localhost.evil.test",
        "127.0.0.1.evil.test",
        "127.0.0.1.nip.io",
        "evillocalhost",
        "localhost@evil.test",
        "localhost:8484@evil.test",
        "evil.test#localhost",
        "localhost, evil.test",
        "localhost evil.test",
        "localhost/evil",
        "localhost:port",
        "localhost:",
        "[::1",
        "::1",
        "[localhost]",
        "[::1]evil.test",
        "lоcalhost",  # a Cyrillic letter
        "a" * 300,
    ],
)
@pytest.mark.parametrize("hosts", [LOCAL, EVERYWHERE, PUBLIC])
def test_other_names_are_not_served(hosts: Hosts, header: str):
    assert not hosts.serves(header)


@given(st.text(max_size=60))
def test_any_header_can_be_checked(header: str):
    if LOCAL.serves(header):
        assert header.strip().lower().startswith(("localhost", "127.", "[::1", "[0", "[::ffff:7f", "[::ffff:127"))


def test_literal_address_is_served_if_all_interfaces_are_bound():
    for header in ("192.0.2.7:8484", "[2001:db8::1]", socket.gethostname()):
        assert EVERYWHERE.serves(header)
        assert header == socket.gethostname() or not LOCAL.serves(header)


@pytest.mark.parametrize("header", ["kairos.example.org", "kairos:8484", "KAIROS.", "[fe80::1]", "10.1.2.3"])
def test_configured_names_are_served(header: str):
    assert PUBLIC.serves(header)
    assert not LOCAL.serves(header)


@pytest.mark.parametrize("name", ["http://kairos", "kairos:8484", "a/b", "a b", "*", ""])
def test_allowed_host_is_only_a_name(name: str):
    with pytest.raises(ValidationError):
        ServerSettings(allowed_hosts=[name])


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ("https://Kairos.Example.org:443/", "https://kairos.example.org"),
        ("http://[::1]:80", "http://[::1]"),
        ("", None),
    ],
)
def test_public_url_is_normalised_as_browsers_send_it(given_: str, kept: str | None):
    assert ServerSettings(public_url=given_).public_url == kept


@pytest.mark.parametrize(
    "url", ["kairos", "ftp://a", "http://a/b", "http://u@a", "http://a:99999", "http://a?b", "http://"]
)
def test_public_url_must_be_an_origin(url: str):
    with pytest.raises(ValidationError):
        ServerSettings(public_url=url)


@pytest.mark.parametrize("network", ["10.0.0.0/33", "proxy", ""])
def test_trusted_proxy_is_an_address_or_a_network(network: str):
    with pytest.raises(ValidationError):
        ServerSettings(trusted_proxies=[network])


@given(st.text(max_size=80))
def test_any_origin_is_normalised_or_refused(text: str):
    with suppress(ValueError):
        assert origin(origin(text)) == origin(text)


def test_links_start_with_the_configured_address_or_localhost():
    everywhere = Settings(server=ServerSettings(host="0.0.0.0", port=9000))
    public = Settings(server=ServerSettings(public_url="https://kairos.example.org"))
    free = Settings(server=ServerSettings(port=0))
    one = Settings(server=ServerSettings(host="192.168.1.5", port=9000))
    six = Settings(server=ServerSettings(host="fe80::1", port=9000))
    assert [link_base(one), link_base(six)] == ["http://192.168.1.5:9000", "http://[fe80::1]:9000"]
    assert [link_base(everywhere), link_base(public), link_base(free, 4711)] == [
        "http://localhost:9000",
        "https://kairos.example.org",
        "http://localhost:4711",
    ]


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("127.0.0.1", "http://localhost:9000"),
        ("::1", "http://localhost:9000"),
        ("::", "http://localhost:9000"),
        ("127.0.0.2", "http://127.0.0.2:9000"),
        ("127.1.2.3", "http://127.1.2.3:9000"),
    ],
)
def test_loopback_address_is_replaced_only_if_localhost_resolves_to_it(host: str, base: str):
    assert link_base(Settings(server=ServerSettings(host=host, port=9000))) == base
