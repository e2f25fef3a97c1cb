"""The hosts that are searched for local model servers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.catalog.local_hosts import candidates, gateway_of, in_container, resolved

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
DOCKER = "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
SUBNET = "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
SLOWER = "eth1\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"


@pytest.mark.parametrize(
    ("table", "gateway"),
    [
        (HEAD + DOCKER + SUBNET, "172.17.0.1"),
        (HEAD + SUBNET + SLOWER + DOCKER, "172.17.0.1"),
        (HEAD + SLOWER, "192.168.0.1"),
        (HEAD + SUBNET, None),
        (HEAD + DOCKER.replace("0003", "0001"), None),
        (HEAD + DOCKER.replace("010011AC", "00000000"), None),
        (HEAD + DOCKER.replace("010011AC", "010011AC00"), None),
        (HEAD + "eth0\n\nx\ty\tz\tw\t0\t0\t0\t0\n" + DOCKER, "172.17.0.1"),
        (HEAD, None),
        ("", None),
    ],
)
def test_gateway_of_the_default_route_with_the_lowest_metric(table: str, gateway: str | None) -> None:
    assert gateway_of(table) == gateway


@given(st.text())
def test_no_route_table_fails(table: str) -> None:
    gateway_of(HEAD + table)


def test_gateway_is_tried_in_a_container_only(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(HEAD + DOCKER)
    assert candidates({}, tmp_path) == ("127.0.0.1", "host.docker.internal")
    (tmp_path / ".dockerenv").touch()
    assert candidates({}, tmp_path) == ("127.0.0.1", "host.docker.internal", "172.17.0.1")


def test_container_without_a_route_table_has_no_gateway(tmp_path: Path) -> None:
    assert candidates({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path) == ("127.0.0.1", "host.docker.internal")


@pytest.mark.parametrize(
    ("marker", "environ", "contained"),
    [
        (".dockerenv", {}, True),
        ("run/.containerenv", {}, True),
        (None, {"container": "podman"}, True),
        (None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True),
        (None, {"container": ""}, False),
        (None, {}, False),
    ],
)
def test_containers_are_recognised(
    tmp_path: Path, marker: str | None, environ: dict[str, str], contained: bool
) -> None:
    if marker:
        (tmp_path / marker).parent.mkdir(exist_ok=True)
        (tmp_path / marker).touch()
    assert in_container(environ, tmp_path) is contained


async def test_unknown_and_odd_names_are_not_resolved() -> None:
    assert await resolved("127.0.0.1", 5) == "127.0.0.1"
    assert await resolved("no-such-host.invalid", 5) is None
    assert await resolved("x" * 300, 5) is None
    assert await resolved("a..b", 5) is None
