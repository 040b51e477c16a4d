"""The process every sandbox of one runtime is a copy of: for Python, the runtime's own interpreter with its client
imported; for what can't be forked, any Python, which makes the sandbox and then executes the runtime in its own place.

Single-threaded, pid 1 of its own pid namespace (so its death is the death of all its sandboxes), and it does nothing
but fork on request, kill on request and say who ended. It never sees a function's code, variables or payloads: its
memory is what all later sandboxes start as. Started by `sandbox/server.py` as `-m`, with its channel as descriptor 3.
CPython 3.9 and later.
"""

from __future__ import annotations

import base64
import gc
import importlib.util
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

from lamplighter.sandbox import bare, guest, inside, linux, pages
from lamplighter.sandbox.channel import Channel, close_all

CHANNEL = 3
# Files of /proc that tell about the host or other users; directories of this kind are root's already.
MASKED = (
    "cmdline", "interrupts", "kallsyms", "kcore", "key-users", "keys", "latency_stats", "modules", "sched_debug",
    "timer_list",
)  # fmt: skip


class ForkServer:
    def __init__(self, channel: Channel, ground: inside.Ground, live: Callable[..., Any], ending: int) -> None:
        self._channel = channel
        self._ground = ground
        self._live = live
        self._ending = ending  # the signal that ends a sandbox
        self._numbers: dict[int, int] = {}  # of sandboxes, by pid of their A
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._isolated = ending == signal.SIGKILL

    def serve(self) -> None:
        """Until the server is gone."""
        woken, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)  # with a handler, or the wakeup descriptor isn't written to
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if woken in ready:
                os.read(woken, 4096)
                self._reap()
            if self._channel.fileno() in ready:
                packet = self._channel.receive()
                if packet is None:
                    return
                self._obey(*packet)

    def _obey(self, body: dict[str, Any], descriptors: list[int]) -> None:
        if "end" in body:
            for pid, number in self._numbers.items():
                if number == body["end"]:
                    os.kill(pid, self._ending)  # ours and not reaped yet: the number is nobody else's
            return
        preparation = inside.Preparation(body["uid"], body["hostname"], descriptors[0], descriptors[1:])
        number = body["prepare"]
        try:
            pid = linux.fork_in_pid_namespace(self._own_pid_namespace) if self._isolated else os.fork()
        except OSError as error:
            self._channel.send({"ended": number, "reason": "fork: " + str(error.strerror)})
        else:
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                self._channel.close()  # or our death would show only once the last sandbox is dead too
                self._live(self._ground, preparation)
            self._numbers[pid] = number
        close_all(descriptors)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._numbers:
                self._channel.send({"ended": self._numbers.pop(pid)})


def _ignore(_signal: int, _frame: object) -> None:
    pass


def _import_client(path: str) -> Any:
    """The runtime client's module; what it imports at its top is shared by all sandboxes."""
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location("bootstrap", path)
    if spec is None or spec.loader is None:
        raise ImportError("no loader for " + path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bootstrap"] = module
    spec.loader.exec_module(module)
    return module


def _preload(client: Any, sdk: str) -> None:
    """Without it functions are slower, not wrong: they import the SDK themselves."""
    try:
        client.preload(sdk)
    except Exception:  # whatever goes wrong in code of others
        traceback.print_exc()


def _rehearsals(client: Any, client_path: str) -> list[pages.Rehearsal]:
    """What a runtime does from its order to its first answer, as far as it is the same for all."""

    def rehearsal(act: Callable[[], None]) -> Callable[[], None]:
        def rehearse() -> None:
            gc.enable()
            guest.forget_ourselves(client, client_path)
            guest.set_variables({})
            act()

        return rehearse

    return [rehearsal(act) for act in client.rehearsals()] if hasattr(client, "rehearsals") else []


def main() -> None:
    channel = Channel(socket.socket(fileno=CHANNEL))
    os.set_inheritable(CHANNEL, False)
    first = channel.receive()
    if first is None:
        return
    told = first[0]
    client_path = "" if told["client"] is None else told["client"] + "/bootstrap.py"
    own_paths = {"", os.getcwd(), os.environ.pop("PYTHONPATH", "")}
    sys.path[:] = [path for path in sys.path if path not in own_paths]
    client = _import_client(client_path) if client_path else None
    if client and told["sdk"]:
        _preload(client, told["sdk"])
    isolated = told["isolated"]
    if isolated:
        linux.forget_keyrings()
        os.chdir("/")
        for path in told["unmount"]:
            linux.unmount(path)
    ground = inside.Ground(
        main=client.main if client else None,
        client=client,
        client_path=client_path,
        seccomp=base64.b64decode(told["seccomp"]),
        init_uid=told["init_uid"],
        guest_uid=told["guest_uid"],
        guest_gid=told["guest_gid"],
        proc=os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC),
        way_out={name: base64.b64decode(made) for name, made in told["way_out"].items()} or None,
        masked=["/proc/" + name for name in MASKED if os.path.exists("/proc/" + name)],
    )
    live, ending = (inside.live, signal.SIGKILL) if isolated else (bare.live, signal.SIGTERM)
    server = ForkServer(channel, ground, live, ending)
    channel.send({"ready": True})
    gc.collect()
    gc.disable()
    gc.freeze()  # keeps the collector from writing into pages shared with every sandbox
    if client and isolated:
        ground.touched = pages.learn(_rehearsals(client, client_path))
    server.serve()


if __name__ == "__main__":
    main()
