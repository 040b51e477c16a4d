"""The filter every guest process runs under: the system calls a Lambda function may make, and no others.

An allow list, so that a call the kernel learns tomorrow is refused until someone thinks about it. What isn't here is
refused with EPERM, or with ENOSYS where a C library then falls back to something we allow; the wrong architecture
(32-bit calls on a 64-bit kernel) kills. The program is computed here, without ctypes, as bytes for
`linux.install_seccomp`; numbers are those of the kernel's own tables and never change.
"""

import struct
from dataclasses import dataclass, field

# name/x86_64/aarch64; "-" where the architecture has no such call.
# Left out on purpose, because each reaches beyond the process or widens the kernel's surface for no function's good:
# ptrace and process_vm_*, kcmp, pidfd_getfd; all of mount, pivot_root, chroot, setns, unshare; bpf, perf_event_open,
# io_uring_*, userfaultfd; keyrings; modules, kexec, reboot, swap, quota, acct; clock setting, host name; handles
# (open_by_handle_at); NUMA placement; vmsplice, process_madvise, memfd_secret; modify_ldt, iopl; syslog; sync (it would
# flush everyone's disks); seccomp (a guest that filters itself can use prctl).
ALLOWED = """
read/0/63 write/1/64 open/2/- close/3/57 stat/4/- fstat/5/80 lstat/6/- poll/7/- lseek/8/62 mmap/9/222 mprotect/10/226
munmap/11/215 brk/12/214 rt_sigaction/13/134 rt_sigprocmask/14/135 rt_sigreturn/15/139 pread64/17/67 pwrite64/18/68
readv/19/65 writev/20/66 access/21/- pipe/22/- select/23/- sched_yield/24/124 mremap/25/216 msync/26/227
mincore/27/232 madvise/28/233 shmget/29/194 shmat/30/196 shmctl/31/195 dup/32/23 dup2/33/- pause/34/- nanosleep/35/101
getitimer/36/102 alarm/37/- setitimer/38/103 getpid/39/172 sendfile/40/71 connect/42/203 accept/43/202 sendto/44/206
recvfrom/45/207 sendmsg/46/211 recvmsg/47/212 shutdown/48/210 bind/49/200 listen/50/201 getsockname/51/204
getpeername/52/205 setsockopt/54/208 getsockopt/55/209 fork/57/- vfork/58/- execve/59/221 exit/60/93 wait4/61/260
kill/62/129 uname/63/160 semget/64/190 semop/65/193 semctl/66/191 shmdt/67/197 msgget/68/186 msgsnd/69/189
msgrcv/70/188 msgctl/71/187 fcntl/72/25 flock/73/32 fsync/74/82 fdatasync/75/83 truncate/76/45 ftruncate/77/46
getdents/78/- getcwd/79/17 chdir/80/49 fchdir/81/50 rename/82/- mkdir/83/- rmdir/84/- creat/85/- link/86/- unlink/87/-
symlink/88/- readlink/89/- chmod/90/- fchmod/91/52 chown/92/- fchown/93/55 lchown/94/- umask/95/166
gettimeofday/96/169 getrlimit/97/163 getrusage/98/165 sysinfo/99/179 times/100/153 getuid/102/174 getgid/104/176
setuid/105/146 setgid/106/144 geteuid/107/175 getegid/108/177 setpgid/109/154 getppid/110/173 getpgrp/111/-
setsid/112/157 setreuid/113/145 setregid/114/143 getgroups/115/158 setgroups/116/159 setresuid/117/147
getresuid/118/148 setresgid/119/149 getresgid/120/150 getpgid/121/155 setfsuid/122/151 setfsgid/123/152 getsid/124/156
capget/125/90 capset/126/91 rt_sigpending/127/136 rt_sigtimedwait/128/137 rt_sigqueueinfo/129/138
rt_sigsuspend/130/133 sigaltstack/131/132 utime/132/- mknod/133/- statfs/137/43 fstatfs/138/44 getpriority/140/141
setpriority/141/140 sched_setparam/142/118 sched_getparam/143/121 sched_setscheduler/144/119
sched_getscheduler/145/120 sched_get_priority_max/146/125 sched_get_priority_min/147/126 sched_rr_get_interval/148/127
mlock/149/228 munlock/150/229 mlockall/151/230 munlockall/152/231 prctl/157/167 arch_prctl/158/- setrlimit/160/164
gettid/186/178 readahead/187/213 setxattr/188/5 lsetxattr/189/6 fsetxattr/190/7 getxattr/191/8 lgetxattr/192/9
fgetxattr/193/10 listxattr/194/11 llistxattr/195/12 flistxattr/196/13 removexattr/197/14 lremovexattr/198/15
fremovexattr/199/16 tkill/200/130 time/201/- futex/202/98 sched_setaffinity/203/122 sched_getaffinity/204/123
set_thread_area/205/- get_thread_area/211/- epoll_create/213/- remap_file_pages/216/234 getdents64/217/61
set_tid_address/218/96 restart_syscall/219/128 semtimedop/220/192 fadvise64/221/223 timer_create/222/107
timer_settime/223/110 timer_gettime/224/108 timer_getoverrun/225/109 timer_delete/226/111 clock_gettime/228/113
clock_getres/229/114 clock_nanosleep/230/115 exit_group/231/94 epoll_wait/232/- epoll_ctl/233/21 tgkill/234/131
utimes/235/- mq_open/240/180 mq_unlink/241/181 mq_timedsend/242/182 mq_timedreceive/243/183 mq_notify/244/184
mq_getsetattr/245/185 waitid/247/95 ioprio_set/251/30 ioprio_get/252/31 inotify_init/253/- inotify_add_watch/254/27
inotify_rm_watch/255/28 openat/257/56 mkdirat/258/34 mknodat/259/33 fchownat/260/54 futimesat/261/- newfstatat/262/79
unlinkat/263/35 renameat/264/38 linkat/265/37 symlinkat/266/36 readlinkat/267/78 fchmodat/268/53 faccessat/269/48
pselect6/270/72 ppoll/271/73 set_robust_list/273/99 get_robust_list/274/100 splice/275/76 tee/276/77
sync_file_range/277/84 utimensat/280/88 epoll_pwait/281/22 signalfd/282/- timerfd_create/283/85 eventfd/284/-
fallocate/285/47 timerfd_settime/286/86 timerfd_gettime/287/87 accept4/288/242 signalfd4/289/74 eventfd2/290/19
epoll_create1/291/20 dup3/292/24 pipe2/293/59 inotify_init1/294/26 preadv/295/69 pwritev/296/70
rt_tgsigqueueinfo/297/240 recvmmsg/299/243 prlimit64/302/261 syncfs/306/267 sendmmsg/307/269 getcpu/309/168
sched_setattr/314/274 sched_getattr/315/275 renameat2/316/276 getrandom/318/278 memfd_create/319/279 execveat/322/281
membarrier/324/283 mlock2/325/284 copy_file_range/326/285 preadv2/327/286 pwritev2/328/287 pkey_mprotect/329/288
pkey_alloc/330/289 pkey_free/331/290 statx/332/291 rseq/334/293 pidfd_send_signal/424/424 pidfd_open/434/434
close_range/436/436 openat2/437/437 faccessat2/439/439 epoll_pwait2/441/441 landlock_create_ruleset/444/444
landlock_add_rule/445/445 landlock_restrict_self/446/446 futex_waitv/449/449 fchmodat2/452/452 futex_wake/454/454
futex_wait/455/455 futex_requeue/456/456 mseal/462/462
"""

# Calls allowed or refused by their arguments.
EXAMINED = "socket/41/198 socketpair/53/199 clone/56/220 personality/135/92 ioctl/16/29 clone3/435/435"

NEWEST = 469  # the last call we have looked at; later ones get ENOSYS, so that programs fall back

KILL_PROCESS, ERRNO, TRACE, ALLOW = 0x80000000, 0x00050000, 0x7FF00000, 0x7FFF0000
_EPERM, _ENOSYS, _EAFNOSUPPORT, _EPROTONOSUPPORT = 1, 38, 97, 93

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000  # the bit of x86-64's second set of calls
_LOAD, _JUMP, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_CLONE_NEW = 0x7E020000  # every CLONE_NEW* flag
# The fork that makes a copy of a template (`keeper.py`): new namespaces (user, mount, pid, net, ipc, uts), the
# template's own parent, and the flags of the C library's fork. It passes for who is held by a tracer, and does not
# exist otherwise.
COPY_FLAGS = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x8000
COPY = COPY_FLAGS | 0x01000000 | 0x00200000 | 17
_TERMINAL_IOCTLS = (0x5412, 0x541C, 0x5423)  # TIOCSTI, TIOCLINUX, TIOCSETD: ways to type into someone's terminal


def numbers(machine: str, table: str = ALLOWED) -> dict[str, int]:
    """Call numbers by name for "x86_64" or "aarch64"."""
    column = 1 if machine == "x86_64" else 2
    entries = (entry.split("/") for entry in table.split())
    return {entry[0]: int(entry[column]) for entry in entries if entry[column] != "-"}


@dataclass
class _Program:
    """Instructions with labels for jump targets; jumps only go forwards, as BPF wants."""

    code: list[tuple[int, int, str | None]] = field(default_factory=list[tuple[int, int, str | None]])
    labels: dict[str, int] = field(default_factory=dict[str, int])

    def label(self, name: str) -> None:
        self.labels[name] = len(self.code)

    def load(self, offset: int) -> None:
        self.code.append((_LOAD, offset, None))

    def answer(self, action: int) -> None:
        self.code.append((_RETURN, action, None))

    def jump(self, target: str) -> None:
        self.code.append((_JUMP, 0, target))

    def unless(self, test: int, value: int, target: str) -> None:
        """Continue with the next instruction when the test holds, else go to `target`.

        A conditional jump reaches 255 instructions only, an unconditional one any number: hence the pair.
        """
        self.code.append((test, value, None))
        self.jump(target)

    def assemble(self) -> bytes:
        out = bytearray()
        for position, (code, value, target) in enumerate(self.code):
            if target is not None:
                value = self.labels[target] - position - 1
            skip_jump = 1 if code in (_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT) else 0
            out += struct.pack("=HBBI", code, skip_jump, 0, value)
        return bytes(out)


def program(machine: str) -> bytes:
    """The filter for "x86_64" or "aarch64": an array of struct sock_filter. Raises KeyError for other machines."""
    architecture = _AUDIT_ARCH[machine]
    examined = numbers(machine, EXAMINED)
    targets = dict.fromkeys(numbers(machine).values(), "allow") | {number: name for name, number in examined.items()}
    out = _Program()
    out.load(_ARCHITECTURE)
    out.unless(_IF_EQUAL, architecture, "kill")
    out.load(_NUMBER)
    _search(out, _intervals(targets))
    _examine(out)
    for name, action in (
        ("allow", ALLOW),
        ("refuse", ERRNO | _EPERM),
        ("clone3", ERRNO | _ENOSYS),  # its flags are behind a pointer; C libraries fall back to clone
        ("unknown", ERRNO | _ENOSYS),
        ("traced", TRACE),
        ("family", ERRNO | _EAFNOSUPPORT),
        ("transport", ERRNO | _EPROTONOSUPPORT),
        ("kill", KILL_PROCESS),
    ):
        out.label(name)
        out.answer(action)
    return out.assemble()


def _intervals(targets: dict[int, str]) -> list[tuple[int, str]]:
    """Start of each run of call numbers with the same target, from 0 up to the end of the number space."""
    starts = [(number, targets.get(number, "refuse")) for number in range(NEWEST + 1)]
    starts += [(NEWEST + 1, "unknown"), (_X32, "refuse")]
    return [entry for i, entry in enumerate(starts) if i == 0 or entry[1] != starts[i - 1][1]]


def _search(out: _Program, intervals: list[tuple[int, str]], name: str = "at") -> None:
    """A binary search for the interval that holds the call number (it is in the accumulator)."""
    if len(intervals) == 1:
        out.jump(intervals[0][1])
        return
    middle = len(intervals) // 2
    out.unless(_IF_AT_LEAST, intervals[middle][0], name + "l")
    _search(out, intervals[middle:], name + "h")
    out.label(name + "l")
    _search(out, intervals[:middle], name + "l")


def _argument(out: _Program, index: int) -> None:
    """Load the low half of an argument: all examined ones are ints to the kernel, which drops the high half too."""
    out.load(_ARGUMENTS + 8 * index)


def _examine(out: _Program) -> None:
    """The bodies for calls that depend on their arguments; each ends in a jump."""
    out.label("clone")  # threads and processes, but no namespaces, save for a template held by its keeper
    _argument(out, 0)
    out.unless(_IF_ANY_BIT, _CLONE_NEW, "allow")
    out.unless(_IF_EQUAL, COPY, "refuse")
    out.jump("traced")

    out.label("personality")  # 0 and "tell me"; others switch address randomisation off or bring old semantics back
    _argument(out, 0)
    for value in (0, 0xFFFFFFFF):
        out.unless(_IF_EQUAL, value, f"personality not {value}")
        out.jump("allow")
        out.label(f"personality not {value}")
    out.jump("refuse")

    out.label("ioctl")
    _argument(out, 1)
    for value in _TERMINAL_IOCTLS:
        out.unless(_IF_EQUAL, value, f"ioctl not {value}")
        out.jump("refuse")
        out.label(f"ioctl not {value}")
    out.jump("allow")

    out.label("socketpair")
    _argument(out, 0)
    out.unless(_IF_EQUAL, _AF_UNIX, "family")
    out.jump("allow")

    # Unix, TCP and UDP sockets. Netlink only for routes, which C libraries read to list addresses. Other families and
    # protocols would make the kernel load modules on a guest's behalf.
    out.label("socket")
    _argument(out, 0)
    for family, target in (
        (_AF_UNIX, "allow"),
        (_AF_INET, "internet"),
        (_AF_INET6, "internet"),
        (_AF_NETLINK, "netlink"),
    ):
        out.unless(_IF_EQUAL, family, f"socket not {family}")
        out.jump(target)
        out.label(f"socket not {family}")
    out.jump("family")
    out.label("netlink")
    _argument(out, 2)
    out.unless(_IF_EQUAL, 0, "transport")
    out.jump("allow")
    out.label("internet")
    _argument(out, 2)
    for protocol in (0, 6, 17):
        out.unless(_IF_EQUAL, protocol, f"internet not {protocol}")
        out.jump("allow")
        out.label(f"internet not {protocol}")
    out.jump("transport")
