"""What the filter of system calls decides, by a machine that runs it as the kernel would."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.agents.checks.sandbox.seccomp import ALLOW, ERRNO, KILL, REFUSED, FilterContext, compiled
from kairos.agents.checks.sandbox.system_calls import AARCH64, LAST, NUMBERS, X86_64

MACHINES = [X86_64, AARCH64]
SHUT = FilterContext(own_root=False, own_user=False)
OPEN = FilterContext(own_root=True, own_user=True)
EPERM = ERRNO | errno.EPERM


def decided(
    machine: int, number: int, *arguments: int, around: FilterContext = SHUT, runs_on: int | None = None
) -> int:
    """The verdict on one call."""
    values = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, runs_on or machine, 0, *values)
    program, at, accumulator = compiled(machine, around), 0, 0
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
@pytest.mark.parametrize("around", [SHUT, OPEN])
def test_what_no_test_needs_is_refused_everywhere(machine: int, around: FilterContext):
    for name in REFUSED:
        if name in NUMBERS[machine]:
            assert decided(machine, NUMBERS[machine][name], around=around) == EPERM, name


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_other_machines_end_the_process(machine: int):
    assert decided(machine, 1, runs_on=0x40000003) == KILL, "32-bit x86"
    assert decided(machine, 0x40000000 | 1) == KILL, "x32"
    assert decided(machine, LAST + 1) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_are_connected_pairs_alone(machine: int):
    numbers = NUMBERS[machine]
    for family in (1, 2, 10, 16, 17, 40):
        assert decided(machine, numbers["socket"], family, 1) == ERRNO | errno.EAFNOSUPPORT
    assert decided(machine, numbers["socketpair"], 1, 1 | 0x80000) == ALLOW
    assert decided(machine, numbers["socketpair"], 1, 2) == EPERM, "datagrams go to any name"
    assert decided(machine, numbers["connect"]) == EPERM
    assert decided(machine, numbers["socket"], 1, 1, around=OPEN) == ALLOW, "its own root has no sockets of others"
    assert decided(machine, numbers["socket"], 2, 1, around=OPEN) == ERRNO | errno.EAFNOSUPPORT


@pytest.mark.parametrize("machine", MACHINES)
@given(other=st.integers(1, 2**22))
def test_other_processes_are_out_of_reach(machine: int, other: int):
    numbers = NUMBERS[machine]
    for name in ("prlimit64", "sched_setaffinity"):
        assert decided(machine, numbers[name], 0) == ALLOW
        assert decided(machine, numbers[name], other) == EPERM
    assert decided(machine, numbers["setpriority"], 0, 0) == ALLOW
    assert decided(machine, numbers["setpriority"], 0, other) == EPERM
    assert decided(machine, numbers["setpriority"], other % 3 + 1, 0) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_children_and_threads_can_be_made_and_namespaces_cannot(machine: int):
    numbers = NUMBERS[machine]
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert decided(machine, numbers["clone"], flag | 17) == EPERM
    assert decided(machine, numbers["clone"], 0x3D0F00) == ALLOW, "a thread"
    assert decided(machine, numbers["clone"], 0x1200011) == ALLOW, "a fork"
    assert decided(machine, numbers["clone3"]) == ERRNO | errno.ENOSYS, "C libraries go back to clone"


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, LAST))
def test_what_is_not_named_is_allowed(machine: int, number: int):
    if number not in NUMBERS[machine].values():
        assert decided(machine, number) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_rights_of_files_are_feigned_where_they_are_the_daemon_s_own(machine: int):
    change = NUMBERS[machine]["fchmodat"]
    assert decided(machine, change) == ERRNO
    assert decided(machine, change, around=FilterContext(own_root=False, own_user=True)) == ALLOW
    assert decided(machine, change, around=OPEN) == ALLOW
