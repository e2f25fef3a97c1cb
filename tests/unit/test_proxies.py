"""The choice of a proxy for a call, and the credentials that the proxy receives."""

from __future__ import annotations

import base64
import logging

import pytest

from kairos.http import HttpClient, HttpUnreachable
from kairos.proxies import Proxies
from tests.kit.any_server import AnyServer

P = "http://proxy.test:3128"


def url_of(environ: dict[str, str], url: str) -> str | None:
    proxy = Proxies.of(environ).for_url(url)
    return proxy.url if proxy else None


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({"HTTP_PROXY": P}, "http://a.test/", P),
        ({"http_proxy": P}, "http://a.test/", P),
        ({"http_proxy": P, "HTTP_PROXY": "http://other.test"}, "http://a.test/", P),
        ({"HTTP_PROXY": P}, "https://a.test/", None),
        ({"HTTPS_PROXY": P}, "https://a.test/", P),
        ({"ALL_PROXY": P}, "https://a.test/", P),
        ({"all_proxy": "http://all.test", "https_proxy": P}, "https://a.test/", P),
        ({"HTTPS_PROXY": ""}, "https://a.test/", None),
        ({"HTTPS_PROXY": "proxy.test:3128"}, "https://a.test/", P),
        ({"HTTPS_PROXY": ' "http://proxy.test:3128/" '}, "https://a.test/", P),
        ({"HTTPS_PROXY": "http://[::5]:1"}, "https://a.test/", "http://[::5]:1"),
        ({}, "https://a.test/", None),
    ],
)
def test_proxy_is_read_from_variables(environ: dict[str, str], url: str, expected: str | None):
    assert url_of(environ, url) == expected


@pytest.mark.parametrize(
    ("bypass", "url", "through"),
    [
        ("*", "http://a.test/", False),
        ("x.test,*", "http://a.test/", False),
        ("a.test", "http://a.test/", False),
        ("a.test", "http://b.a.test/", False),
        ("a.test", "http://ba.test/", True),
        (".a.test", "http://b.a.test/", False),
        ("*.a.test", "http://b.a.test/", False),
        ("A.TEST", "http://a.test./", False),
        ("x.test b.test , a.test", "http://a.test/", False),
        ("a.test:8080", "http://a.test:8080/", False),
        ("a.test:8080", "http://a.test/", True),
        ("a.test:443", "https://a.test/", False),
        ("10.0.0.0/8", "http://10.1.2.3/", False),
        ("10.0.0.0/8", "http://11.1.2.3/", True),
        ("10.0.0.0/8", "http://ten.test/", True),
        ("10.1.2.3", "http://10.1.2.3:99/", False),
        ("10.1.2.3:99", "http://10.1.2.3:98/", True),
        ("fd00::/8", "http://[fd00::5]/", False),
        ("[fd00::5]:80", "http://[fd00::5]/", False),
        ("fd00::5", "http://[fd00::5]/", False),
        (",, .", "http://a.test/", True),
        ("10.0.0.0/99", "http://10.0.0.1/", True),
    ],
)
def test_no_proxy_entries_bypass_the_proxy(bypass: str, url: str, through: bool):
    environ = {"ALL_PROXY": P, "no_proxy": bypass}
    assert url_of(environ, url) == (P if through else None)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:11434/v1", "http://127.9.9.9/", "http://localhost/", "http://LOCALHOST.:80/", "http://[::1]:1/",
     "http://a.localhost/", "http://[::ffff:127.0.0.1]/", "https://localhost/",
     "http://127.1:8000/v1", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://0/",
     "http://0.0.0.0:8000/v1", "http://[::]:8000/v1", "http://[::ffff:0.0.0.0]/"],
)  # fmt: skip
def test_this_machine_is_always_called_directly(url: str):
    assert url_of({"ALL_PROXY": P}, url) is None


@pytest.fixture
async def proxy():
    async with AnyServer(lambda request: {"through": request.target}) as server:
        yield server


async def test_call_goes_through_the_proxy_with_its_credentials(proxy: AnyServer, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    address = proxy.address.replace("http://", "http://me%40x:hid%3Aden@")
    proxies = Proxies.of({"HTTP_PROXY": address})
    async with HttpClient(proxies=proxies) as http:
        assert await http.get_json("http://a.test/v1/models", token="key") == {"through": "http://a.test/v1/models"}
    sent = dict(proxy.requests[0].headers)["Proxy-Authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == "me@x:hid:den"
    assert "hid" not in caplog.text + repr(proxies)


async def test_call_of_this_machine_bypasses_the_proxy(proxy: AnyServer):
    async with AnyServer(lambda request: "direct") as here, HttpClient(proxies=Proxies.of({"ALL_PROXY": P})) as http:
        assert await http.get_json(here.address) == "direct"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"HTTP_PROXY": "http://me:hidden@127.0.0.1:1"}, "the proxy 127.0.0.1:1 cannot be reached"),
        ({"HTTP_PROXY": "socks5://me:hidden@127.0.0.1:1080"}, "not an HTTP proxy"),
        ({"HTTP_PROXY": "http://me:hidden@:port"}, "HTTP_PROXY: it is not an address"),
    ],
)
async def test_unusable_proxy_is_reported_and_never_bypassed(environ: dict[str, str], message: str):
    async with HttpClient(proxies=Proxies.of(environ)) as http:
        with pytest.raises(HttpUnreachable, match=message) as caught:
            await http.get_json("http://a.test/")
    assert "hidden" not in str(caught.value)


async def test_proxy_that_refuses_a_tunnel_is_reported():
    async with (
        AnyServer(lambda request: (407, {})) as server,
        HttpClient(proxies=Proxies.of({"HTTPS_PROXY": server.address.replace("//", "//me:hidden@")})) as http,
    ):
        with pytest.raises(HttpUnreachable, match="its proxy refused the connection with 407") as caught:
            await http.get_json("https://a.test/")
    assert "hidden" not in str(caught.value)
