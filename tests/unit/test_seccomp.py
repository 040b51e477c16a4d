"""The filter, run in a small interpreter of classic BPF: every call number, on both architectures."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.sandbox.seccomp import (
    ALLOW,
    ALLOWED,
    COPY,
    ERRNO,
    EXAMINED,
    KILL_PROCESS,
    NEWEST,
    TRACE,
    numbers,
    program,
)

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
BOTH = pytest.mark.parametrize("machine", MACHINES)
EPERM, ENOSYS, EPROTONOSUPPORT, EAFNOSUPPORT = 1, 38, 93, 97
PROGRAMS = {machine: [struct.unpack_from("=HBBI", program(machine), i) for i in range(0, len(program(machine)), 8)]
            for machine in MACHINES}  # fmt: skip


def answer(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would do with the call."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, MACHINES[machine] if architecture is None else architecture, 0, *padded)
    code, at, accumulator = PROGRAMS[machine], 0, 0
    for _ in range(len(code)):
        operation, yes, no, value = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x05:
                at += value
            case 0x15:
                at += yes if accumulator == value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x45:
                at += yes if accumulator & value else no
            case 0x06:
                return value
            case _:
                raise AssertionError(f"operation {operation:#x}")
    raise AssertionError("the program doesn't end")


@BOTH
def test_the_program_is_one_the_kernel_takes(machine: str) -> None:
    code = PROGRAMS[machine]
    assert len(code) <= 4096
    for at, (operation, yes, no, value) in enumerate(code):
        targets = [at + 1 + value] if operation == 0x05 else [at + 1 + yes, at + 1 + no]
        assert operation == 0x06 or all(at < target < len(code) for target in targets)


@BOTH
def test_what_is_listed_is_allowed_and_nothing_else(machine: str) -> None:
    allowed, examined = set(numbers(machine).values()), set(numbers(machine, EXAMINED).values())
    for number in set(range(NEWEST + 1)) - examined:
        assert answer(machine, number) == (ALLOW if number in allowed else ERRNO | EPERM)


@BOTH
def test_no_name_or_number_is_listed_twice(machine: str) -> None:
    entries = (ALLOWED + EXAMINED).split()
    listed = list(numbers(machine, ALLOWED + EXAMINED).values())
    assert len({entry.split("/")[0] for entry in entries}) == len(entries)
    assert len(set(listed)) == len(listed)


@BOTH
@given(number=st.integers(NEWEST + 1, 2**30 - 1))
def test_calls_newer_than_we_know_do_not_exist(machine: str, number: int) -> None:
    assert answer(machine, number) == ERRNO | ENOSYS


@BOTH
@given(number=st.integers(2**30, 2**32 - 1))
def test_the_second_set_of_calls_of_x86_64_is_refused(machine: str, number: int) -> None:
    assert answer(machine, number) == ERRNO | EPERM


@BOTH
@given(architecture=st.integers(0, 2**32 - 1), number=st.integers(0, 500))
def test_another_architectures_calls_kill(machine: str, architecture: int, number: int) -> None:
    if architecture != MACHINES[machine]:
        assert answer(machine, number, architecture=architecture) == KILL_PROCESS


@BOTH
@given(flags=st.integers(0, 2**64 - 1))
def test_clone_makes_threads_and_processes_but_no_namespaces(machine: str, flags: int) -> None:
    expected = ERRNO | EPERM if flags & 0x7E020000 else ALLOW
    if flags & 0xFFFFFFFF == COPY:
        expected = TRACE
    assert answer(machine, numbers(machine, EXAMINED)["clone"], flags) == expected
    assert answer(machine, 435) == ERRNO | ENOSYS


@BOTH
@given(changed=st.sampled_from([0, *[1 << bit for bit in range(32)]]))
def test_one_form_of_clone_is_left_to_a_tracer(machine: str, changed: int) -> None:
    """Which the kernel takes for a call that doesn't exist where there is none."""
    given = COPY ^ changed
    expected = TRACE if not changed else ERRNO | EPERM if given & 0x7E020000 else ALLOW
    assert answer(machine, numbers(machine, EXAMINED)["clone"], given) == expected


@BOTH
@given(
    family=st.one_of(st.integers(0, 50), st.integers(0, 2**64 - 1)),
    kind=st.integers(0, 2**32 - 1),
    protocol=st.integers(0, 300),
)
def test_sockets_are_local_tcp_or_udp(machine: str, family: int, kind: int, protocol: int) -> None:
    """The kernel reads ints: the high half of an argument changes nothing."""
    expected = {
        1: ALLOW,
        2: ALLOW if protocol in (0, 6, 17) else ERRNO | EPROTONOSUPPORT,
        10: ALLOW if protocol in (0, 6, 17) else ERRNO | EPROTONOSUPPORT,
        16: ALLOW if protocol == 0 else ERRNO | EPROTONOSUPPORT,
    }.get(family & 0xFFFFFFFF, ERRNO | EAFNOSUPPORT)
    examined = numbers(machine, EXAMINED)
    assert answer(machine, examined["socket"], family, kind, protocol) == expected
    pair = ALLOW if family & 0xFFFFFFFF == 1 else ERRNO | EAFNOSUPPORT
    assert answer(machine, examined["socketpair"], family, kind, protocol) == pair


@BOTH
@given(value=st.one_of(st.sampled_from([0, 0xFFFFFFFF, 0x0040000, 8]), st.integers(0, 2**32 - 1)))
def test_personality_may_only_be_asked_for_or_be_the_ordinary_one(machine: str, value: int) -> None:
    expected = ALLOW if value in (0, 0xFFFFFFFF) else ERRNO | EPERM
    assert answer(machine, numbers(machine, EXAMINED)["personality"], value) == expected


@BOTH
@given(request=st.one_of(st.sampled_from([0x5412, 0x541C, 0x5423, 0x5413, 0x5421]), st.integers(0, 2**32 - 1)))
def test_nobody_types_into_a_terminal(machine: str, request: int) -> None:
    expected = ERRNO | EPERM if request in (0x5412, 0x541C, 0x5423) else ALLOW
    assert answer(machine, numbers(machine, EXAMINED)["ioctl"], 0, request) == expected


def test_another_machine_has_no_filter() -> None:
    with pytest.raises(KeyError):
        program("riscv64")
