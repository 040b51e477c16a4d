"""A world of its own for one test: a host with a service, and an internet beside it, each a network namespace.

Run as a program by root; prints, as JSON, what a function found at each of the places it tried to reach.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from lamplighter.sandbox import linux
from support.functions import deploy_with
from support.service import Service

PUBLIC, PRIVATE, ALLOWED, METADATA, OWN = "8.8.8.8", "10.1.2.3", "10.9.9.9", "169.254.169.254", "8.8.4.4"
SOURCE = """
import socket
def handler(places, context):
    found = {}
    for host, port in places:
        try:
            with socket.create_connection((host, port), 10) as one:
                one.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                one.shutdown(socket.SHUT_WR)
                found[host] = one.makefile("rb").read().decode()
        except OSError as error:
            found[host] = "refused"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(2)
        try:
            one.sendto(b"x", ("8.8.8.8", 80))
            one.connect(("8.8.8.8", 80))
            one.send(b"x")
            found["udp"] = one.recv(10).decode()
        except OSError:
            found["udp"] = "refused"
    return found
"""


def serve(address: str) -> None:
    """Tell whoever connects where they are."""
    listener = socket.create_server((address, 80))
    while True:
        connection, _ = listener.accept()
        while connection.recv(4096):
            pass
        connection.sendall(address.encode() * 1000)
        connection.close()


def name_server() -> None:
    """All names are PUBLIC's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((PUBLIC, 53))
        while True:
            question, asker = one.recvfrom(512)
            end = question.index(b"\0", 12) + 5
            is_a = question[end - 4 : end - 2] == b"\0\1"
            head = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(PUBLIC) if is_a else b""
            one.sendto(head + question[12:end] + answer, asker)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def internet(ready: int, go: int) -> None:
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    linux.unshare(linux.CLONE_NEWNET)
    os.write(ready, b"1")
    os.read(go, 1)
    linux.loopback_up()
    places = (PUBLIC, PRIVATE, ALLOWED, METADATA)
    for address in places:
        ip("address", "add", f"{address}/32", "dev", "out1")
    ip("link", "set", "out1", "up")
    ip("route", "add", "default", "dev", "out1")
    threading.Thread(target=name_server, daemon=True).start()
    for address in places:
        threading.Thread(target=serve, args=(address,), daemon=True).start()
    os.write(ready, b"2")
    signal.pause()


def main() -> None:
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
    ip("address", "add", f"{OWN}/32", "dev", "out0")
    ip("link", "set", "out0", "up")
    ip("route", "add", "default", "dev", "out0")
    os.write(to_child, b"1")
    os.read(from_child, 1)
    with tempfile.TemporaryDirectory() as place:
        Path(place, "resolv.conf").write_text(f"nameserver {PUBLIC}\n")
        linux.mount(f"{place}/resolv.conf", os.path.realpath("/etc/resolv.conf"), None, linux.MS_BIND)
        own = socket.create_server(("0.0.0.0", 80))  # a service of the host's, on all of its addresses
        threading.Thread(target=lambda: [own.accept() for _ in range(100)], daemon=True).start()
        options = ("--network", sys.argv[1], "--reachable-networks", "10.9.0.0/16", "--isolation", sys.argv[2])
        os.chmod(place, 0o755)
        with Service(Path(place, "data"), *options) as service:
            client = service.client()
            name = deploy_with(client, SOURCE, Timeout=60)
            hosts = (PUBLIC, PRIVATE, ALLOWED, METADATA, OWN, "a.name.example")
            places = [*((host, 80) for host in hosts), ("127.0.0.1", service.port)]
            answer = client.invoke(FunctionName=name, Payload=json.dumps(places))
            print(answer["Payload"].read().decode())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
