"""What happens before the first call: the port, how isolated functions can be, what the sandbox server is told, and
root given away. What goes wrong here is told to the operator in one sentence, with the remedy."""

import contextlib
import hashlib
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping, Set
from pathlib import Path

from lamplighter.control.role_policies import PoliciesUnusable, read_role_policies
from lamplighter.control.target_permissions import Allows, everything
from lamplighter.runtimes import catalogue, sdk
from lamplighter.sandbox import privileges
from lamplighter.sandbox.contract import Isolation
from lamplighter.sandbox.messages import Configuration, Runtime
from lamplighter.sandbox.probe import disk_for_tmp, probe, unheld, way_out
from lamplighter.sandbox.reach import Reach, networks
from lamplighter.settings.choices import Settings, Tmp
from lamplighter.settings.reading import FILE_NAME
from lamplighter.store.directory import DataDirectory

log = logging.getLogger("lamplighter")


class StartupError(Exception):
    """The service can't start; the text is one sentence for the operator, with the remedy."""


def bind(host: str, port: int, option: str = "--port") -> socket.socket:
    """`option`: where another port is chosen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise StartupError(f"{host} is no address of this machine: {error.strerror}.") from None
    listener = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise StartupError(
            f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)} (errno {error.errno}); "
            f"stop what listens there, or choose another {option}."
        ) from None
    return listener


def role_policies(settings: Settings) -> Allows:
    """What execution roles may do, as far as the operator has said so."""
    path = settings.role_policies
    if path is None:
        return everything
    try:
        return read_role_policies(path.read_bytes()).allows
    except OSError as error:
        raise StartupError(
            f"{path} (--role-policies) cannot be read: {error.strerror} (errno {error.errno})."
        ) from None
    except PoliciesUnusable as error:
        raise StartupError(f"{path} (--role-policies) cannot be used: {error}.") from None


def chosen_isolation(settings: Settings) -> Isolation:
    if settings.isolation != "auto":
        if settings.isolation == "full" and os.geteuid() != 0:
            raise StartupError("Isolation full needs root; start as root, or choose --isolation user.")
        chosen: Isolation = settings.isolation
    else:
        chosen = probe().best
    if chosen == "none":
        log.warning(
            "ISOLATION IS OFF: functions run with this user's rights and see its files, processes and network. "
            "Run only code you trust; `lamplighter doctor` says what this host lacks."
        )
    return chosen


def say_what_does_not_hold(isolation: Isolation, controllers: Set[str]) -> None:
    if sentences := unheld(isolation, controllers):
        log.warning("With isolation %s, these promises don't hold here: %s.", isolation, "; ".join(sentences))


def check_tmp(settings: Settings, isolation: Isolation) -> None:
    """Who asks for /tmp on the disk by name starts with nothing less; `auto` says in the log what it is given."""
    if settings.tmp == "disk" and (reason := disk_for_tmp(settings.data_dir, isolation)):
        raise StartupError(f"/tmp of functions can't be on the disk: {reason}; or choose --tmp auto.")


def reach(settings: Settings, isolation: Isolation) -> Reach | None:
    """What functions get of a network of ours; None: nothing but the service."""
    if settings.network == "none" or isolation == "none":
        return None
    found = way_out()
    if not found.works:
        log.warning("Functions have no network (network is internet): %s.", found.remedy)
        return None
    return Reach(networks(settings.reachable_networks), networks(settings.unreachable_networks))


def sandbox_configuration(
    directory: DataDirectory, isolation: Isolation, reach: Reach | None, tmp: Tmp = "auto"
) -> Configuration:
    # A directory of root's own for root's work: the data directory belongs to the service, which root doesn't trust.
    name = hashlib.sha256(str(directory.path).encode()).hexdigest()[:16]
    run_dir = Path("/run/lamplighter", name) if isolation == "full" else directory.path / "run"
    return Configuration(
        code_root=str(directory.code),
        run_dir=str(run_dir),
        runtimes={},
        isolation=isolation,
        reach=reach,
        storage=str(directory.path) if isolation == "full" and tmp != "memory" else None,
    )


def sandbox_runtimes(runtimes: Mapping[str, catalogue.InstalledRuntime]) -> dict[str, Runtime]:
    """Python's sandboxes are forks of its interpreter; the others', made by some Python, execute a program."""
    maker, own = catalogue.maker(runtimes), sdk.own_sdk()
    found: dict[str, Runtime] = {}
    for name, runtime in runtimes.items():
        home = catalogue.client(name)
        client = None if home is None else str(home)
        program = None if runtime.interpreter is None else str(runtime.interpreter)
        if name.startswith("python") and program is not None:
            parts = own.parts if own is not None and runtime.order >= own.least else ()
            found[name] = Runtime(program, client, sdk=parts)
            if parts:
                found[name + sdk.SUFFIX] = Runtime(program, client, sdk=parts, preload=True)
        elif maker is not None:
            found[name] = Runtime(str(maker), client, "command", program)
    return found


def give_root_away(directory: DataDirectory) -> None:
    privileges.go_first()
    try:
        privileges.own(directory.path, FILE_NAME)
        package = Path(__file__).parents[1]
        privileges.drop([directory.path, package, Path(sys.prefix), Path(sys.base_prefix)])
    except OSError as error:
        raise StartupError(
            f"Root could not be given away: {error.strerror} ({error.filename}); in a container, run it with "
            "--privileged, or choose --isolation user."
        ) from error


def url(listener: socket.socket) -> str:
    """How this machine reaches what listens there."""
    address: tuple[str, int] = listener.getsockname()[:2]
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def ready_line(settings: Settings, listener: socket.socket, isolation: Isolation, reach: Reach | None) -> str:
    auth = "on" if settings.auth else "off"
    network = "the host's" if isolation == "none" else "none" if reach is None else "internet"
    return (
        f"Lamplighter is ready at {url(listener)} in {_since_process_start():.2f} s "
        f"(isolation {isolation}, network {network}, auth {auth}, data {settings.data_dir})"
    )


def _since_process_start() -> float:
    """Seconds, the interpreter's own start included: what whoever waits for us has waited."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.process_time()
