"""What is said not to hold with less privilege is what attacks find: each sentence, in each isolation.

Attacks that a sentence is about succeed where it is said, and fail where it isn't.
"""

import os
import platform
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

import pytest

from lamplighter.sandbox.cgroup import WANTED
from lamplighter.sandbox.contract import Isolation
from lamplighter.sandbox.probe import Finding, Host
from support.sandbox_server import Bench, Guest, descendants, serving, story
from support.service import Service

Attack = Callable[[Bench, Guest], Awaitable[bool]]
HOST = Host("6.1.0", platform.machine(), True, "version 2", frozenset(WANTED), Finding("network", True), ())


async def is_who_started_us(bench: Bench, guest: Guest) -> bool:
    """To the host: the user ids of what runs below the server, other than root's own processes."""
    await guest.run("result = 1")
    owners = {os.stat(f"/proc/{pid}").st_uid for pid in descendants(bench.server)}
    return owners == {os.stat(f"/proc/{bench.server}").st_uid}


async def reads_the_hosts_files(bench: Bench, guest: Guest) -> bool:
    with tempfile.NamedTemporaryFile() as secret:
        os.chmod(secret.name, 0o644)
        return await guest.run(f"result = attempt(lambda: open({secret.name!r}).close())") == "done"


async def signals_other_processes(bench: Bench, guest: Guest) -> bool:
    return await guest.run(f"result = attempt(os.kill, {bench.server}, 0)") == "done"


async def reaches_the_hosts_loopback(bench: Bench, guest: Guest) -> bool:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        source = f"import socket; result = attempt(lambda: socket.create_connection(('127.0.0.1', {port}), 2).close())"
        return await guest.run(source) == "done"


async def makes_any_system_call(bench: Bench, guest: Guest) -> bool:
    """kcmp of itself with itself, which harms nobody, and is refused by the filter."""
    number = 312 if platform.machine() == "x86_64" else 272
    return await guest.run(f"result = call({number}, os.getpid(), os.getpid(), 1, 0, 0)") == 0


# By the beginning of what is said.
ATTACKS: dict[str, Attack] = {
    "to the host, every function is the user": is_who_started_us,
    "functions read and write whatever the user": reads_the_hosts_files,
    "functions see, signal and trace": signals_other_processes,
    "functions use the host's network": reaches_the_hosts_loopback,
    "system calls are not filtered": makes_any_system_call,
}

NO_ATTACK = "/tmp is in memory"  # about what counts


def test_every_sentence_has_an_attack() -> None:
    every = {sentence for isolation in get_args(Isolation) for sentence in HOST.unheld(isolation)}
    said = {sentence for sentence in every if not sentence.startswith(NO_ATTACK)}
    assert all(sum(sentence.startswith(begin) for begin in ATTACKS) == 1 for sentence in said)
    assert len(said) == len(ATTACKS)


@pytest.mark.parametrize("isolation", ["user", "none"])
def test_the_log_of_a_start_says_it(isolation: Isolation, tmp_path: Path) -> None:
    with Service(tmp_path / "data", "--isolation", isolation) as service:
        said = service.log.read_text()
    assert all(sentence in said for sentence in HOST.unheld(isolation))


@pytest.mark.parametrize("isolation", [pytest.param("full", marks=pytest.mark.root), "user", "none"])
@story
async def test_what_attacks_find_is_what_is_said(isolation: Isolation) -> None:
    said = HOST.unheld(isolation)
    async with serving(isolation) as bench:
        guest = await bench.guest()
        for begin, attack in ATTACKS.items():
            expected = any(sentence.startswith(begin) for sentence in said)
            if begin.startswith("to the host") and isolation == "none":
                continue  # it is said there in other words
            assert await attack(bench, guest) == expected, begin
