"""A world of its own for one test: a host with a service, and an internet beside it, each a network namespace.

Run as a program by root, with words to say what is to be tried; prints, as JSON, what a function found at each of the
places it tried to reach, and by which error it was refused at others.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from lamplighter.sandbox import linux
from support.functions import deploy_with
from support.service import Service

PUBLIC, PRIVATE, ALLOWED, METADATA, OWN = "8.8.8.8", "10.1.2.3", "10.9.9.9", "169.254.169.254", "8.8.4.4"
REFUSED, WIRE, SIX, LOCAL_SIX, OWN_SIX = "9.9.9.9", "168.63.129.16", "2606:4700::11", "fd00:1::2", "2606:4700::22"
DEAD = "1.2.3.4"  # nobody has it, and nobody says so
NAMES = {
    b"public": PUBLIC, b"private": PRIVATE, b"own": OWN, b"loop": "127.0.0.1", b"zero": "0.0.0.0", b"six": SIX,
    b"metadata": METADATA, b"mapped": f"::ffff:{METADATA}", b"metadata-six": "fd00:ec2::254",
}  # fmt: skip
SEVERAL = (OWN, PUBLIC)  # addresses of the name "several"
TURNS = [PUBLIC, METADATA]  # what the name "rebound" leads to, one after the other
# What could be the host.
HOST = (
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "localhost", "0.0.0.0", "::", "::ffff:127.0.0.1",
    "169.254.100.1", OWN, OWN_SIX, f"::ffff:{OWN}",
)  # fmt: skip
SOURCE = """
import errno, socket, threading, time
def attempt(kind, host, port):
    if kind == "udp":
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.settimeout(1)
            one.sendto(b"who?", (host, port))
            answer, sender = one.recvfrom(70000)
            assert sender[:2] == (host, port), sender
            return answer.decode()
    if kind == "bulk":
        with socket.create_connection((host, port), 3) as one:
            threading.Thread(target=lambda: (one.sendall(b"\\n" * 9_000_000), one.shutdown(socket.SHUT_WR))).start()
            return sum(map(len, iter(lambda: one.recv(1 << 20), b"")))
    if kind == "name":
        return socket.getaddrinfo(host, port)[0][4][0]
    if kind == "wait":
        return socket.create_connection((host, port), 0.3).close() or "connected"
    with socket.create_connection((host, port), 3) as one:
        one.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        one.shutdown(socket.SHUT_WR)
        return one.makefile("rb").read().decode() or "nothing"
def flood(host, port, seconds):
    kept, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            kept.append(socket.create_connection((host, port), 1))
        except OSError:
            kept.clear()
    return len(kept)
def handler(event, context):
    if isinstance(event, dict):
        return flood(**event)
    found = {}
    for kind, host, port in event:
        try:
            found[f"{kind} {host} {port}"] = attempt(kind, host, port)
        except OSError as error:
            found[f"{kind} {host} {port}"] = errno.errorcode.get(error.errno, str(error))
    return found
"""


def serve(address: str) -> None:
    """Tell whoever connects where they are; send back what comes after an empty line."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 80), family=family, backlog=1024)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, address), daemon=True).start()


def answer(connection: socket.socket, address: str) -> None:
    with connection, contextlib.suppress(OSError):
        first = connection.recv(4096)
        if first[:1] == b"\n":
            while first:
                connection.sendall(first)
                first = connection.recv(1 << 20)
            return
        while connection.recv(4096):
            pass
        connection.sendall(address.encode())


def echo(addresses: tuple[str, ...]) -> None:
    """The same by UDP, at two ports."""
    polled = select.poll()
    made: dict[int, tuple[socket.socket, str]] = {}
    for address in addresses:
        for port in (123, 4433):
            one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((address, port))
            polled.register(one, select.POLLIN)
            made[one.fileno()] = (one, address)
    while True:
        for descriptor, _ in polled.poll():
            one, address = made[descriptor]
            _, asker = one.recvfrom(70_000)
            one.sendto(address.encode(), asker)


def name_server() -> None:
    """Names are what NAMES says of their first part."""
    turns = TURNS[:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((PUBLIC, 53))
        while True:
            question, asker = one.recvfrom(512)
            end = question.index(b"\0", 12) + 5
            name, six = question[13 : 13 + question[12]], question[end - 4 : end - 2] == b"\0\x1c"
            addresses = SEVERAL if name == b"several" else (NAMES.get(name, PUBLIC),)
            if name == b"rebound" and not six:
                addresses = (turns.pop(0),)
            fitting = [address for address in addresses if (":" in address) == six]
            records = b""
            for address in fitting:
                packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address)
                records += b"\xc0\x0c" + question[end - 4 : end] + b"\0\0\0\x3c\0" + bytes([len(packed)]) + packed
            head = question[:2] + b"\x81\x80\0\1\0" + bytes([len(fitting)]) + b"\0\0\0\0"
            one.sendto(head + question[12:end] + records, asker)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def put(device: str, addresses: tuple[str, ...]) -> None:
    """Addresses on a device, which leads everywhere else."""
    for address in addresses:
        six = ":" in address
        ip("address", "add", f"{address}/{128 if six else 32}", "dev", device, *(["nodad"] if six else []))
    ip("link", "set", device, "up")
    ip("route", "add", "default", "dev", device)
    ip("-6", "route", "add", "default", "dev", device)


def internet(ready: int, go: int) -> None:
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    linux.unshare(linux.CLONE_NEWNET)
    os.write(ready, b"1")
    os.read(go, 1)
    linux.loopback_up()
    places = (PUBLIC, PRIVATE, ALLOWED, METADATA, REFUSED, WIRE, SIX, LOCAL_SIX)
    put("out1", places)
    threading.Thread(target=name_server, daemon=True).start()
    threading.Thread(target=echo, args=((PUBLIC, PRIVATE, ALLOWED, SIX),), daemon=True).start()
    for address in places:
        threading.Thread(target=serve, args=(address,), daemon=True).start()
    os.write(ready, b"2")
    signal.pause()


@contextlib.contextmanager
def world(*options: str) -> Any:
    """Gives the service, in a network that has no way to the real one."""
    linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.loopback_up()
    from_child, ready = os.pipe()
    go, to_child = os.pipe()
    child = os.fork()
    if child == 0:
        internet(ready, go)
    os.read(from_child, 1)
    ip("link", "add", "out0", "type", "veth", "peer", "name", "out1", "netns", str(child))
    put("out0", (OWN, OWN_SIX))
    os.write(to_child, b"1")
    os.read(from_child, 1)
    with tempfile.TemporaryDirectory() as place:
        Path(place, "resolv.conf").write_text(f"nameserver {PUBLIC}\n")
        linux.mount(f"{place}/resolv.conf", os.path.realpath("/etc/resolv.conf"), None, linux.MS_BIND)
        os.chmod(place, 0o755)
        try:
            with Service(Path(place, "data"), *options) as service:
                yield service
        finally:
            sys.stderr.write(service.log.read_text())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def relay_of(service: Service) -> int:
    """The pid of a service's relay."""
    task = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    for pid in task.read_text().split():
        if b"lamplighter.sandbox.relay" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise AssertionError("there is no relay")


def main() -> None:
    """OPTIONS of the service. From standard input: the places to try; and seconds of flooding, null to do no more."""
    places, seconds = json.loads(sys.stdin.read())
    with world(*sys.argv[1:]) as service:
        client = service.client()
        name = deploy_with(client, SOURCE, Timeout=60, MemorySize=512)

        def call(event: Any, function: str = name) -> Any:
            return json.loads(client.invoke(FunctionName=function, Payload=json.dumps(event))["Payload"].read())

        own = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)  # on all addresses
        threading.Thread(target=lambda: [own.accept() for _ in range(100)], daemon=True).start()
        result: dict[str, Any] = {
            "found": call(places),
            "service": call([("tcp", host, service.port) for host in HOST]),
        }
        if seconds is not None:
            relay = relay_of(service)
            fields = Path(f"/proc/{relay}/status").read_text().splitlines()
            result["rights"] = dict(line.split(":\t", 1) for line in fields)
            os.kill(relay, signal.SIGKILL)
            result["after"] = call([("tcp", PUBLIC, 80)])
            result["another"] = relay_of(service) != relay
        if seconds:
            other = deploy_with(client, SOURCE, Timeout=60)
            call([], other)
            flood = threading.Thread(target=call, args=({"host": PUBLIC, "port": 80, "seconds": seconds},))
            flood.start()
            result["others"] = []
            while flood.is_alive():
                result["others"].append(call([("tcp", PUBLIC, 80), ("udp", PUBLIC, 123)], other))
            flood.join()
        print(json.dumps(result))


if __name__ == "__main__":
    main()
