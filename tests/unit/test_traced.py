"""The log of strace is read correctly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.traced import connections


def inet(host: str, port: int) -> str:
    return f'{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr("{host}")}}'


def inet6(host: str, port: int) -> str:
    flow = "sin6_flowinfo=htonl(0)"
    return f'{{sa_family=AF_INET6, sin6_port=htons({port}), {flow}, inet_pton(AF_INET6, "{host}", &sin6_addr)}}'


FAR = inet("192.0.2.1", 443)
UNREACHABLE = "= -1 ENETUNREACH (Network is unreachable)"
LINES = [
    (f"connect(5, {FAR}, 16) = -1 EINPROGRESS (Operation now in progress)", {"192.0.2.1:443"}),
    (f"connect(5, {FAR}, 16) {UNREACHABLE}", {"192.0.2.1:443"}),
    (f"connect(5, {FAR}, 16 <unfinished ...>", {"192.0.2.1:443"}),
    (f"connect(5, {inet6('2001:db8::1', 80)}, 28) = 0", {"2001:db8::1:80"}),
    (f'sendto(5, ""..., 31, MSG_NOSIGNAL, {FAR}, 16) = 31', {"192.0.2.1:443"}),
    (f"sendmsg(5, {{msg_name={FAR}, msg_namelen=16, msg_iov=[], msg_iovlen=0}}, 0) = 0", {"192.0.2.1:443"}),
    (f"connect(5, {inet('127.0.0.1', 9)}, 16) = 0", {"127.0.0.1:9"}),
    (f"connect(5, {inet('127.0.0.1', 9)}, 16 <unfinished ...>", {"127.0.0.1:9"}),
    (f"connect(5, {inet('127.0.0.1', 9)}, 16) {UNREACHABLE}", set()),  # as in the sandbox, where loopback is down
    (f"connect(5, {inet6('::ffff:127.0.0.1', 8)}, 28) = -1 ECONNREFUSED (Connection refused)", set()),
    (f"connect(5, {inet('127.0.0.1', 7)}, 16) = 0", set()),
    ('connect(5, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = 0', set()),
    (f"bind(5, {inet('0.0.0.0', 443)}, 16) = 0", set()),
]
CONFIGURED = 7


@pytest.mark.parametrize(("line", "outside"), LINES)
def test_address_outside_is_found(tmp_path: Path, line: str, outside: set[str]):
    log = tmp_path / "log"
    log.write_text(f"4711  {line}\n")
    assert connections(log).outside(CONFIGURED) == outside


def test_server_of_the_program_itself_is_inside(tmp_path: Path):
    log = tmp_path / "log"
    own = inet("127.0.0.1", 4001)
    log.write_text(f"1 getsockname(5, {own}, [16]) = 0\n2 connect(5, {own}, 16) = 0\n")
    assert connections(log).outside() == set()
