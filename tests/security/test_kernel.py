"""The kernel's back doors, tried from inside: other tables of system calls, terminals, scheduling, kinds of sockets and
their options, what leads past the filter, and what the kernel keeps for all processes together.

As in test_isolation.py, a promise holds in both isolations that isolate, full and user.
"""

import os
import platform
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from support.prison import Prison

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has further tables of system calls")
NUMBER = {"mount": (165, 40), "prctl": (157, 167), "ioprio_set": (251, 30), "shmget": (29, 194), "setns": (308, 268)}
_TCP_ULP, _SO_MARK, _IP_TRANSPARENT, _IPT_REPLACE, _SO_ATTACH_BPF, _SO_RCVBUFFORCE = 31, 36, 19, 64, 50, 33


def number(name: str) -> int:
    return NUMBER[name][platform.machine() == "aarch64"]


@X86
@pytest.mark.parametrize("number", [0, 1, 39, 101, 165, 512, 520, 521, 545, 547])
def test_calls_of_the_x32_table_are_refused_the_harmless_ones_too(prison: Prison, number: int) -> None:
    assert prison.run(f"result = call({number} | 0x40000000, 0, 0, 0, 0, 0)") == "EPERM"


@X86
@pytest.mark.parametrize("number", [20, 26, 21, 11, 120, 347])  # getpid, ptrace, mount, execve, clone, process_vm_readv
def test_a_32_bit_system_call_ends_who_makes_it(prison: Prison, number: int) -> None:
    """int 0x80 reaches the 32-bit table from 64-bit code, where the filter's numbers would mean other calls."""
    source = f"""
import ctypes, mmap
pid = os.fork()
if pid == 0:
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(bytes([0xB8]) + ({number}).to_bytes(4, "little") + bytes([0xCD, 0x80, 0xC3]))
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    os._exit(0)
result = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
    assert prison.run(source) == -signal.SIGSYS


@pytest.mark.parametrize("request_", [0x5412, 0x541C, 0x5423])  # TIOCSTI, TIOCLINUX, TIOCSETD
def test_nobody_types_into_a_terminal(prison: Prison, request_: int) -> None:
    """By the number as a program gives it, and with bits above it that the kernel drops."""
    for high in (0, 1 << 32, 0xFFFFFFFF << 32):
        ioctl = 16 if platform.machine() == "x86_64" else 29
        source = f"import ctypes; result = call({ioctl}, 0, ctypes.c_uint64({request_} | {high}), b'x')"
        assert prison.run(source) == "EPERM"
    assert prison.run("result = attempt(os.openpty)") != "done"
    assert prison.run("result = attempt(os.open, '/dev/tty', os.O_RDWR)") != "done"


def test_nobody_goes_before_others_on_the_processor_or_the_disk(prison: Prison) -> None:
    for source in (
        "os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)",
        "os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(99)",
        "os.setpriority, os.PRIO_PROCESS, 0, -1",
        "os.nice, -1",
    ):
        assert prison.run(f"result = attempt({source})") in ("EPERM", "EACCES")
    assert prison.run(f"result = call({number('ioprio_set')}, 1, 0, 1 << 13)") == "EPERM"  # real time


def test_sockets_are_unix_tcp_udp_or_routes_of_one_s_own_and_nothing_else(prison: Prison) -> None:
    """Of each family that Linux has or will have: other ones make the kernel load what it was never asked for."""
    source = """
import socket
made = set()
for family in range(64):
    for kind in (1, 2, 3, 4, 5, 6, 10):
        for protocol in (0, 1, 2, 16, 33, 58, 132, 136, 255, 262):
            try:
                one = socket.socket(family, kind, protocol)
            except OSError:
                continue
            made.add((family, kind, protocol)); one.close()
result = sorted(made)
"""
    unix, four, six, netlink = 1, socket.AF_INET, socket.AF_INET6, 16
    allowed = [[unix, kind, 0] for kind in (1, 2, 3, 5)] + [[unix, kind, 1] for kind in (1, 2, 3, 5)]
    allowed += [[family, kind, 0] for family in (four, six) for kind in (1, 2)]
    allowed += [[netlink, kind, 0] for kind in (2, 3)]
    assert [one for one in prison.run(source) if one not in allowed] == []


@pytest.mark.parametrize(
    ("level", "option", "value"),
    [
        (socket.SOL_SOCKET, _SO_MARK, "1"),  # would pass for the relay's packets, or for routes
        (socket.SOL_SOCKET, _SO_RCVBUFFORCE, "1 << 30"),
        (socket.SOL_SOCKET, _SO_ATTACH_BPF, "0"),
        (socket.IPPROTO_IP, _IP_TRANSPARENT, "1"),
        (socket.IPPROTO_IP, _IPT_REPLACE, "bytes(84)"),
        (socket.IPPROTO_TCP, _TCP_ULP, "b'smc'"),
    ],
)
def test_options_of_sockets_that_take_rights_are_refused(prison: Prison, level: int, option: int, value: str) -> None:
    source = f"""
import socket
with socket.socket() as one:
    result = attempt(one.setsockopt, {level}, {option}, {value})
"""
    assert prison.run(source) in ("EPERM", "ENOENT", "ENOPROTOOPT", "EBADF", "EINVAL")


def test_routes_and_addresses_of_its_network_cannot_be_changed(prison: Prison) -> None:
    """RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWLINK, RTM_NEWRULE: it may read them alone."""
    source = """
import socket, struct
result = []
for kind in (20, 21, 24, 25, 16, 32):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.send(struct.pack("=IHHIIBBBBI", 28, kind, 1 | 4, 0, 0, 2, 32, 0, 0, 1) + bytes(4))
        length, answer = struct.unpack_from("=IH", data := kernel.recv(4096))
        result.append(struct.unpack_from("=i", data, 16)[0] if answer == 2 else answer)
"""
    assert set(prison.run(source)) == {-1}  # EPERM


def test_files_give_no_rights_whatever_is_written_on_them(prison: Prison) -> None:
    """Capabilities and set-user-id bits on a file of one's own, devices, and programs that others own."""
    source = """
import shutil, subprocess
shutil.copy("/bin/true", "/tmp/tool"); os.chmod("/tmp/tool", 0o6755)
flags = os.statvfs("/tmp").f_flag
capability = bytes.fromhex("0100000200200000000000000000000000000000")
result = [
    bool(flags & os.ST_NOSUID), bool(flags & os.ST_NODEV),
    attempt(os.setxattr, "/tmp/tool", "security.capability", capability),
    attempt(os.setxattr, "/tmp/tool", "trusted.overlay.opaque", b"y"),
    attempt(os.chown, "/tmp/tool", 0, 0),
]
"""
    nosuid, nodev, capability, trusted, owner = prison.run(source)
    assert (nosuid, nodev) == (True, True)
    assert {capability, trusted, owner} <= {"EPERM", "EINVAL", "EOPNOTSUPP"}


def test_the_filter_is_never_left_by_a_new_program_a_child_or_another_filter(prison: Prison) -> None:
    attack = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(ctypes.c_long({number("mount")}), 0, 0, 0, 0, 0)
print(ctypes.get_errno())
"""
    source = f"import subprocess, sys; result = subprocess.run([sys.executable, '-c', {attack!r}], capture_output=True)"
    assert prison.run(source + ".stdout.decode().strip()") == "1"  # EPERM
    # A filter of its own that allows everything is added to what there is.
    allow_all = f"""
import ctypes, struct, subprocess, sys
lines = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
program = struct.pack("@HP", 1, ctypes.addressof(lines))
pid = os.fork()
if pid == 0:
    installed = call({number("prctl")}, 22, 2, ctypes.create_string_buffer(program))
    os._exit((installed == 0) + 2 * (call({number("mount")}, 0, 0, 0, 0, 0) == "EPERM"))
result = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
    assert prison.run(allow_all) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        "24, 21",  # PR_CAPBSET_DROP
        "28, 1",  # PR_SET_SECUREBITS
        "35, 1",  # PR_SET_MM
        "47, 2, 21",  # PR_CAP_AMBIENT, raise CAP_SYS_ADMIN
    ],
)
def test_rights_are_not_had_back_by_prctl(prison: Prison, arguments: str) -> None:
    assert prison.run(f"result = call({number('prctl')}, {arguments}, 0, 0, 0)") == "EPERM"


def test_a_process_descriptor_reaches_only_its_own_sandbox(prison: Prison) -> None:
    host = (os.getpid(), prison.bench.server, os.getppid())
    assert {prison.run(f"result = attempt(os.pidfd_open, {pid})") for pid in host} == {"ESRCH"}
    source = f"""
import signal
result = []
for pid in (1, os.getpid()):
    one = os.pidfd_open(pid)
    result.append(call({number("setns")}, one, 0x20000))
    for sent in (9, 15, 19):
        if pid == 1: attempt(signal.pidfd_send_signal, one, sent)
    os.close(one)
"""
    assert prison.run(source) == ["EPERM", "EPERM"]
    assert prison.run("result = 'alive'") == "alive"  # a sandbox ends with its process 1


def test_its_own_descriptors_lead_nowhere_when_opened_anew(prison: Prison) -> None:
    """/proc/self/fd opens what is behind a descriptor: for pipes the other end too, for sockets nothing."""
    source = """
found = {}
for name in os.listdir("/proc/self/fd"):
    path = "/proc/self/fd/" + name
    if os.path.lexists(path):
        kind = os.readlink(path).split(":")[0]
        found[kind] = attempt(lambda: os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK)))
result = found
"""
    found = prison.run(source)
    assert found.pop("socket") == "ENXIO"
    assert found.pop("/dev/null") == "done"
    assert set(found) == {"pipe"}  # its own output
    with tempfile.NamedTemporaryFile() as secret:
        number_ = secret.fileno()
        for pid in (os.getpid(), 1, "self"):
            found = prison.run(f"result = attempt(lambda: open('/proc/{pid}/fd/{number_}').read())")
            assert found in ("ENOENT", "EACCES", "EPERM")


def test_what_processes_share_through_the_kernel_is_not_shared_with_a_sibling(prison: Prison) -> None:
    """System V's and POSIX's queues and memory, abstract sockets, ports."""
    queue = "mq_open", 240 if platform.machine() == "x86_64" else 180
    prison.sibling_runs(f"""
import socket
call({number("shmget")}, 4242, 4096, 0o1666)
call({queue[1]}, b"theirs", os.O_CREAT | os.O_RDWR, 0o666, 0)
global_ = [socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 5599))]
global_[0].bind(chr(0) + "theirs"); global_[0].listen()
os.environ["KEEP"] = "1"; os.kept = global_
""")
    source = f"""
import socket
with socket.socket(socket.AF_UNIX) as one:
    result = [
        call({number("shmget")}, 4242, 4096, 0o666),
        call({queue[1]}, b"theirs", os.O_RDWR, 0, 0),
        attempt(one.connect, chr(0) + "theirs"),
        attempt(lambda: socket.create_connection(("127.0.0.1", 5599), 2)),
    ]
"""
    assert prison.run(source) == ["ENOENT", "ENOENT", "ECONNREFUSED", "ECONNREFUSED"]
    # The attack finds what is there: on itself, it does.
    assert "ENOENT" not in prison.sibling_runs(source)[:2]


def test_control_groups_and_kernel_file_systems_are_not_there(prison: Prison) -> None:
    kinds = prison.run("result = sorted({line.split(' - ')[1].split()[0] for line in open('/proc/self/mountinfo')})")
    assert not set(kinds) & {"cgroup", "cgroup2", "sysfs", "debugfs", "tracefs", "securityfs", "bpf", "devpts",
                             "mqueue", "configfs", "fusectl", "binfmt_misc", "nsfs"}  # fmt: skip
    assert set(prison.run("result = open('/proc/self/cgroup').read().split()")) <= {
        line.rpartition(":")[0] + ":/" for line in Path("/proc/self/cgroup").read_text().split()
    }


def test_nothing_in_proc_is_writable_but_what_is_its_own(prison: Prison) -> None:
    """Every file of /proc, by access and by opening it."""
    source = """
result = []
for place, directories, files in os.walk("/proc"):
    if place == "/proc":
        directories[:] = [name for name in directories if not name.isdigit() and name not in ("self", "thread-self")]
    for name in files:
        path = os.path.join(place, name)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            continue
        if os.path.realpath(path) == path and not os.stat(path).st_rdev:
            result.append(path)
"""
    assert prison.run(source) == []
