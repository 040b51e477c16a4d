"""The extensions of one environment as a table: who they are, where each stands, who may still register.

No I/O and no clock. External ones are known by name from the moment they were started; a name that nobody was started
under is an internal extension's, which runs in the runtime's own process (AWS: spec 3.4).
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from lamplighter.worker.telemetry_api import Refused

LIMIT = 10
INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"
NAME_LIMIT = 255  # characters, as of a file's name

UNKNOWN = "Extension.UnknownExtensionIdentifier"


class State(IntEnum):
    STARTED = 1  # its process runs; external ones only
    REGISTERED = 2
    READY = 3  # it waits for an event
    RUNNING = 4  # it has one
    INIT_ERROR = 5
    EXIT_ERROR = 6
    EXITED = 7


class Signal(IntEnum):
    REGISTERED = 11
    ASKED = 12  # for the next event
    GIVEN = 13  # an event
    INIT_ERROR = 14  # it posted that it cannot go on
    EXIT_ERROR = 15
    EXITED = 16  # its process is gone


NEXT: dict[tuple[State, Signal], State] = {
    (State.STARTED, Signal.REGISTERED): State.REGISTERED,
    (State.REGISTERED, Signal.ASKED): State.READY,
    (State.REGISTERED, Signal.INIT_ERROR): State.INIT_ERROR,
    (State.REGISTERED, Signal.EXIT_ERROR): State.EXIT_ERROR,
    (State.REGISTERED, Signal.GIVEN): State.RUNNING,  # only SHUTDOWN can come so early
    (State.READY, Signal.ASKED): State.READY,
    (State.READY, Signal.GIVEN): State.RUNNING,
    (State.READY, Signal.EXIT_ERROR): State.EXIT_ERROR,
    (State.RUNNING, Signal.ASKED): State.READY,
    (State.RUNNING, Signal.GIVEN): State.RUNNING,
    (State.RUNNING, Signal.EXIT_ERROR): State.EXIT_ERROR,
    **{(state, Signal.EXITED): State.EXITED for state in State},
}
SHOWN = {
    State.STARTED: "Started",
    State.REGISTERED: "Registered",
    State.READY: "Ready",
    State.RUNNING: "Running",
    State.INIT_ERROR: "InitError",
    State.EXIT_ERROR: "ExitError",
}


# What a call would have led to.
_WANTED = {
    Signal.REGISTERED: "Registered",
    Signal.ASKED: "Ready",
    Signal.GIVEN: "Running",
    Signal.INIT_ERROR: "InitError",
    Signal.EXIT_ERROR: "Exited",
}


@dataclass(slots=True, eq=False)
class Extension:
    """`identifier`: what it names itself by in its calls, once it has registered."""

    name: str
    external: bool
    state: State = State.STARTED
    identifier: str = ""
    events: tuple[str, ...] = ()
    error_type: str | None = None  # what it posted
    before: State = State.STARTED  # its process ended: how far it had come

    @property
    def shown(self) -> str:
        """Its state as log and telemetry name it."""
        return SHOWN[self.before if self.state is State.EXITED else self.state]

    def follow(self, signal: Signal) -> None:
        """Raises Refused for what is out of turn."""
        after = NEXT.get((self.state, signal))
        if after is None:
            called = self.name if signal is Signal.REGISTERED else self.identifier
            message = (
                f"State transition from {self.shown} to {_WANTED[signal]} failed for extension {called}. "
                "Error: State transition is not allowed"
            )
            raise Refused(403, "Extension.InvalidExtensionState", message)
        if after is State.EXITED and self.state is not State.EXITED:
            self.before = self.state
        self.state = after


class Extensions:
    """`started`: names of the external ones."""

    def __init__(self, started: Iterable[str] = ()) -> None:
        self.open = True  # False: the runtime has asked for its first event, nobody may register any more
        self._by_name = {name: Extension(name, True) for name in started}
        self._by_identifier: dict[str, Extension] = {}

    @property
    def all(self) -> list[Extension]:
        return list(self._by_name.values())

    @property
    def registered(self) -> bool:
        """Every external one has, so that the runtime may start."""
        return all(extension.state is not State.STARTED for extension in self._by_name.values())

    @property
    def settled(self) -> bool:
        """Every one waits for an event: as far as they are concerned the phase is over."""
        return all(extension.state is State.READY for extension in self._by_name.values())

    def register(self, name: str, events: list[str]) -> Extension:
        """Raises Refused, in the order and the words of AWS's Runtime Interface Emulator."""
        if not name:
            raise Refused(403, "Extension.InvalidExtensionName", "Empty extension name")
        if len(name) > NAME_LIMIT or not name.isprintable():
            raise Refused(403, "Extension.InvalidExtensionName", "Invalid extension name")
        extension = self._by_name.get(name)
        internal = extension is None or not extension.external
        for event in events:
            if event not in (INVOKE, SHUTDOWN):
                raise Refused(403, "Extension.InvalidEventType", f"{event[:64]}: ErrorInvalidEventType")
            if internal and event == SHUTDOWN:
                message = "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"
                raise Refused(403, "Extension.InvalidEventType", message)
        if not self.open:
            raise Refused(403, "Extension.RegistrationClosed", "Extension registration closed already")
        if extension is not None and extension.state is not State.STARTED:
            if internal:
                raise Refused(403, "Extension.InvalidExtensionState", "Extension with this name already registered")
            extension.follow(Signal.REGISTERED)  # out of turn: it has registered before
        if len(self._by_identifier) >= LIMIT:
            raise Refused(403, "Extension.TooManyExtensions", f"Extension limit ({LIMIT}) reached")
        if extension is None:
            extension = self._by_name[name] = Extension(name, False)
        extension.follow(Signal.REGISTERED)
        extension.events = tuple(dict.fromkeys(events))
        extension.identifier = str(uuid.uuid4())
        self._by_identifier[extension.identifier] = extension
        return extension

    def get(self, identifier: str, unknown: str = "Unknown extension {}") -> Extension:
        """The one that names itself by it. `unknown`: the words for a stranger. Raises Refused."""
        if not identifier:
            raise Refused(403, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        extension = self._by_identifier.get(identifier)
        if extension is None:
            raise Refused(403, UNKNOWN, unknown.format(identifier[:64]))
        return extension

    def named(self, name: str) -> Extension:
        return self._by_name[name]

    def give(self, event: str) -> list[Extension]:
        """Those that have registered for the event and now have it."""
        given = [extension for extension in self._by_name.values() if event in extension.events]
        given = [extension for extension in given if (extension.state, Signal.GIVEN) in NEXT]
        for extension in given:
            extension.follow(Signal.GIVEN)
        return given

    def shutdown_budget(self) -> float:
        """Seconds that a shutdown may take (AWS: spec 3.1)."""
        if any(extension.external for extension in self._by_name.values()):
            return 2.0
        return 0.5 if self._by_name else 0.0
