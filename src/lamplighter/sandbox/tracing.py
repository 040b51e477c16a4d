"""ptrace, as far as `keeper.py` needs it: to hold a process still, and to have a held process make system calls.

Runs in the sandbox server's keepers only, which outrank what they trace. Everything that comes from a traced process
is a number: registers are read and set, its memory is never interpreted. Whether an injected call did what it should
is for the caller to look up from outside, since the traced memory is a guest's. x86_64 only.
"""

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from lamplighter.sandbox import linux

SUPPORTED = linux.MACHINE == "x86_64"

_GETREGS, _SETREGS, _DETACH, _SYSCALL, _SINGLESTEP = 12, 13, 17, 24, 9
_GETEVENTMSG, _SEIZE, _INTERRUPT = 0x4201, 0x4206, 0x4207
_SYSGOOD, _FORK, _VFORK, _CLONE, _EXEC, _SECCOMP, _EXITKILL = 1, 2, 4, 8, 0x10, 0x80, 0x100000
OPTIONS = _SYSGOOD | _FORK | _VFORK | _CLONE | _EXEC | _SECCOMP | _EXITKILL
EVENT_FORK, EVENT_CLONE, EVENT_SECCOMP, EVENT_STOP = 1, 3, 7, 128
SYSCALL_STOP = signal.SIGTRAP | 0x80
_WALL = 0x40000000
# struct user_regs_struct of x86_64, all unsigned long.
_NAMES = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax",
    "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip
_ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
_MASK = 2**64 - 1
_SCRATCH = 1024  # bytes below the stack pointer, past what the interrupted code may still use
_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Lost(Exception):
    """The traced process is gone, or did what it must not do."""


@dataclass(frozen=True, slots=True)
class Stop:
    signal: int
    event: int


class Tracee:
    """A process with one thread, attached by `seize`, or by being born of one that is."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @classmethod
    def seize(cls, pid: int) -> "Tracee":
        """Attached and stopped, wherever it was. It dies if its tracer does."""
        _call(_SEIZE, pid, 0, OPTIONS)
        _call(_INTERRUPT, pid)
        tracee = cls(pid)
        tracee.wait()
        return tracee

    def wait(self) -> Stop:
        """Until it stops. Raises Lost if it ended instead; a caller that can't wait for ever sets an alarm."""
        pid, status = os.waitpid(self.pid, _WALL)
        if pid != self.pid or not os.WIFSTOPPED(status):
            raise Lost("it ended")
        return Stop(status >> 8 & 0xFF, status >> 16)

    def run_to_syscall(self) -> dict[str, int]:
        """Let it run to the entry of its next system call, or another stop of that kind. Its registers. Signals that
        it would get on the way are dropped: it is to do nothing but go on."""
        while True:
            _call(_SYSCALL, self.pid)
            stop = self.wait()
            if stop.signal == SYSCALL_STOP:
                return self.registers()
            if stop.event not in (0, EVENT_STOP):
                raise Lost(f"it made a process, or executed something (event {stop.event})")

    def step_to(self, *events: int) -> Stop:
        """Let it run to the next stop, which must be one of these events; 0: of a system call."""
        while True:
            _call(_SYSCALL, self.pid)
            stop = self.wait()
            if stop.event in events and (stop.event or stop.signal == SYSCALL_STOP):
                return stop
            if stop.event not in (0, EVENT_STOP) or stop.signal == SYSCALL_STOP:
                raise Lost(f"it stopped with {stop.signal}/{stop.event} where {events} was to come")

    def refuse_call(self) -> None:
        """The system call whose entry it stands at is not made; it is told EPERM."""
        self.set_registers(dict(self.registers(), orig_rax=_MASK))
        self.step_to(0)
        self.set_registers(dict(self.registers(), rax=-errno.EPERM))

    def message(self) -> int:
        """Of an event: the new process's number."""
        value = ctypes.c_ulong()
        _call(_GETEVENTMSG, self.pid, 0, ctypes.addressof(value))
        return value.value

    def registers(self) -> dict[str, int]:
        buffer = ctypes.create_string_buffer(8 * len(_NAMES))
        _call(_GETREGS, self.pid, 0, ctypes.addressof(buffer))
        return dict(zip(_NAMES, struct.unpack(f"={len(_NAMES)}Q", buffer.raw), strict=True))

    def set_registers(self, registers: dict[str, int]) -> None:
        packed = struct.pack(f"={len(_NAMES)}Q", *(registers[name] & _MASK for name in _NAMES))
        buffer = ctypes.create_string_buffer(packed, len(packed))
        _call(_SETREGS, self.pid, 0, ctypes.addressof(buffer))

    def inject(self, calls: Sequence[tuple[int, Sequence[int | bytes]]]) -> list[int]:
        """Have it make these system calls, from where it stopped after one of its own, and be as it was. bytes: an
        argument that points to them. The results, negative for an errno."""
        before = self.registers()
        memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        results: list[int] = []
        try:
            for number, arguments in calls:
                changed = dict(before, rip=before["rip"] - 2, rax=number, orig_rax=-1)
                place = before["rsp"] - _SCRATCH & ~15
                for name, argument in zip(_ARGUMENTS, arguments, strict=False):
                    if isinstance(argument, bytes):
                        os.pwrite(memory, argument, place)
                        changed[name], place = place, place + (len(argument) + 15 & ~15)
                    else:
                        changed[name] = argument
                self.set_registers(changed)
                _call(_SINGLESTEP, self.pid)
                stop = self.wait()
                if stop.signal != signal.SIGTRAP:
                    raise Lost(f"signal {stop.signal} in the middle of a call of ours")
                result = self.registers()["rax"]
                results.append(result - 2**64 if result >= 2**63 else result)
        finally:
            os.close(memory)
        self.set_registers(dict(before, orig_rax=-1))
        return results

    def release(self) -> None:
        """It runs on by itself."""
        _call(_DETACH, self.pid)


def _call(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    if _ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        if number == 3:  # ESRCH: dead, or not stopped
            raise Lost("it is gone")
        raise OSError(number, f"ptrace({request:#x}): {os.strerror(number)}")
