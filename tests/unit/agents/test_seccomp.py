"""The decisions of the system call filter, computed by an interpreter that runs it as the kernel does."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.agents.checks.sandbox.seccomp import ALLOW, ERRNO, KILL, REFUSED, FilterContext, compiled
from kairos.agents.checks.sandbox.system_calls import AARCH64, LAST, NUMBERS, X86_64

MACHINES = [X86_64, AARCH64]
CLOSED = FilterContext(own_root=False, own_user=False)
OPEN = FilterContext(own_root=True, own_user=True)
EPERM = ERRNO | errno.EPERM


def decision_of(
    machine: int, number: int, *arguments: int, context: FilterContext = CLOSED, runs_on: int | None = None
) -> int:
    """Return the filter's decision on one system call."""
    values = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, runs_on or machine, 0, *values)
    program, at, accumulator = compiled(machine, context), 0, 0
    while True:
        code, when, unless, value = struct.unpack_from("<HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return value
        else:
            held = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}
            held[0x45] = bool(accumulator & value)
            at += when if held[code] else unless


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("context", [CLOSED, OPEN])
def test_unneeded_calls_are_refused_in_every_context(machine: int, context: FilterContext):
    for name in REFUSED:
        if name in NUMBERS[machine]:
            assert decision_of(machine, NUMBERS[machine][name], context=context) == EPERM, name


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_other_architectures_end_the_process(machine: int):
    assert decision_of(machine, 1, runs_on=0x40000003) == KILL, "32-bit x86"
    assert decision_of(machine, 0x40000000 | 1) == KILL, "x32"
    assert decision_of(machine, LAST + 1) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_only_connected_socket_pairs_are_allowed(machine: int):
    numbers = NUMBERS[machine]
    for family in (1, 2, 10, 16, 17, 40):
        assert decision_of(machine, numbers["socket"], family, 1) == ERRNO | errno.EAFNOSUPPORT
    assert decision_of(machine, numbers["socketpair"], 1, 1 | 0x80000) == ALLOW
    assert decision_of(machine, numbers["socketpair"], 1, 2) == EPERM, "datagrams could be sent to any name"
    assert decision_of(machine, numbers["connect"]) == EPERM
    assert decision_of(machine, numbers["socket"], 1, 1, context=OPEN) == ALLOW, (
        "a root of its own contains no sockets of other processes"
    )
    assert decision_of(machine, numbers["socket"], 2, 1, context=OPEN) == ERRNO | errno.EAFNOSUPPORT


@pytest.mark.parametrize("machine", MACHINES)
@given(other=st.integers(1, 2**22))
def test_calls_on_other_processes_are_refused(machine: int, other: int):
    numbers = NUMBERS[machine]
    for name in ("prlimit64", "sched_setaffinity"):
        assert decision_of(machine, numbers[name], 0) == ALLOW
        assert decision_of(machine, numbers[name], other) == EPERM
    assert decision_of(machine, numbers["setpriority"], 0, 0) == ALLOW
    assert decision_of(machine, numbers["setpriority"], 0, other) == EPERM
    assert decision_of(machine, numbers["setpriority"], other % 3 + 1, 0) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_children_and_threads_are_allowed_and_namespaces_are_not(machine: int):
    numbers = NUMBERS[machine]
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert decision_of(machine, numbers["clone"], flag | 17) == EPERM
    assert decision_of(machine, numbers["clone"], 0x3D0F00) == ALLOW, "a thread"
    assert decision_of(machine, numbers["clone"], 0x1200011) == ALLOW, "a fork"
    assert decision_of(machine, numbers["clone3"]) == ERRNO | errno.ENOSYS, "C libraries fall back to clone"


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, LAST))
def test_unlisted_calls_are_allowed(machine: int, number: int):
    if number not in NUMBERS[machine].values():
        assert decision_of(machine, number) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_chmod_does_nothing_where_files_belong_to_the_daemons_user(machine: int):
    change = NUMBERS[machine]["fchmodat"]
    assert decision_of(machine, change) == ERRNO
    assert decision_of(machine, change, context=FilterContext(own_root=False, own_user=True)) == ALLOW
    assert decision_of(machine, change, context=OPEN) == ALLOW
