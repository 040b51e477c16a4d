"""What an environment says of itself as it goes: lines of text or JSON in its log, and events for who has subscribed.

The environment tells what happened, once; here it is decided who wants to know. In text form without subscribers (the
usual case, and the warm path) nothing is made but arguments. System log levels hold for JSON only (AWS: spec 3.6).
"""

from collections.abc import Callable
from typing import Protocol

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation
from lamplighter.worker import log_lines, platform_events
from lamplighter.worker.logs import Logs
from lamplighter.worker.platform_events import Phase, Record, Restore, Status


class Subscribers(Protocol):
    """Extensions that want platform events."""

    def platform(self, now: float, kind: str, record: Record) -> None: ...


class PlatformLog:
    """`stream`: the log stream's name. `initialization`: as in AWS_LAMBDA_INITIALIZATION_TYPE."""

    def __init__(
        self, function: FunctionVersion, logs: Logs, clock: Clock, stream: str, initialization: str = "on-demand"
    ) -> None:
        self._function = function
        self._logs = logs
        self._clock = clock
        self._instance = stream.rpartition("]")[2]
        self._initialization = initialization
        self._json = function.log_format == "JSON"
        self._least = platform_events.SYSTEM_LEVELS.get(function.system_log_level or "INFO", platform_events.INFO)
        self._traced = function.tracing_mode == "Active"
        # Whether the end of the runtime's part of an invocation interests anybody: text has no line for it.
        self.detailed = self._json
        self._subscribers: Subscribers | None = None
        self.plain = not (self._json or self._traced)  # START, END and REPORT are lines, the same for all
        self._begun: tuple[float, Phase] = (0.0, "init")

    def join(self, subscribers: Subscribers) -> None:
        """They hear of the beginning of this init, and from here on of everything."""
        if self._subscribers is subscribers:
            return
        self._subscribers = subscribers
        self.detailed = True
        self.plain = False
        now, phase = self._begun
        subscribers.platform(now, "platform.initStart", self._init_start(phase))

    def leave(self) -> None:
        """Nobody hears any more."""
        self._subscribers = None
        self.detailed = self._json
        self.plain = not (self._json or self._traced)

    def _init_start(self, phase: Phase) -> Record:
        return platform_events.init_start(self._function, self._initialization, phase, self._instance)

    def init_started(self, phase: Phase) -> None:
        if not self._json and phase == "init" and self._logs.wanted:
            self._logs.write(log_lines.init_start(self._function))
        self._begun = self._clock.now(), phase
        self._tell("platform.initStart", lambda: self._init_start(phase))

    def restore_started(self) -> None:
        if not self._json and self._logs.wanted:
            self._logs.write(log_lines.restore_start(self._function))
        self._begun = self._clock.now(), "init"
        self._tell("platform.restoreStart", lambda: platform_events.restore_start(self._function, self._instance))

    def restore_ended(self, status: Status, error_type: str | None, duration: float) -> None:
        """`duration`: milliseconds."""
        if not self._json and self._logs.wanted:
            self._logs.write(log_lines.restore_report(duration, status, error_type))
        self._tell("platform.restoreRuntimeDone", lambda: platform_events.restore_done(status, error_type))
        self._tell("platform.restoreReport", lambda: platform_events.restore_report(status, error_type, duration))

    def init_ended(self, phase: Phase, status: Status, error_type: str | None, duration: float) -> None:
        """`duration`: milliseconds."""
        no_invocation_says = self._initialization != "on-demand"
        if not self._json and (status != "success" or no_invocation_says) and self._logs.wanted:
            self._logs.write(log_lines.init_report(duration, phase, status, error_type))
        kind = self._initialization
        self._tell("platform.initRuntimeDone", lambda: platform_events.init_done(kind, phase, status, error_type))
        self._tell(
            "platform.initReport", lambda: platform_events.init_report(kind, phase, status, error_type, duration)
        )

    def started(self, invocation: Invocation) -> None:
        version = self._function.version
        if not self._json and self._logs.wanted:
            self._logs.lines(log_lines.start(invocation.request_id, version))
        if self.detailed:
            self._tell("platform.start", lambda: platform_events.start(invocation, version))

    def timed_out(self, request_id: str, timeout: int) -> None:
        """In JSON, the status of platform.report says it."""
        if not self._json and self._logs.wanted:
            self._logs.write(log_lines.timed_out(self._clock.now(), request_id, timeout))

    def crashed(self, request_id: str, reason: str) -> None:
        if not self._json and self._logs.wanted:
            self._logs.write(log_lines.crashed(request_id, reason))

    def runtime_done(
        self,
        invocation: Invocation,
        status: Status,
        error_type: str | None,
        duration: float,
        answered: tuple[float, float, int] | None,
    ) -> None:
        """Call it where `detailed`. `answered`: milliseconds from the start to the answer's first byte and to its last,
        and the answer's bytes."""
        now = self._clock.now()
        began = now - duration / 1000
        spans: list[Record] = []
        if answered is not None:
            first, last, _ = answered
            spans = [
                platform_events.span("responseLatency", began, first),
                platform_events.span("responseDuration", began + first / 1000, last - first),
                platform_events.span("runtimeOverhead", began + last / 1000, max(0.0, duration - last)),
            ]
        produced = None if answered is None else answered[2]
        self._tell(
            "platform.runtimeDone",
            lambda: platform_events.runtime_done(invocation, status, error_type, duration, produced, spans),
        )

    def reported(
        self,
        invocation: Invocation,
        status: Status,
        error_type: str | None,
        duration: float,
        memory_peak: int | None,
        init_duration: float | None,
        noticed: bool,
        restore: Restore | None = None,
    ) -> None:
        """The invocation's last word. `noticed`: the failure is one that the service saw, not a handler's own."""
        memory = self._function.memory_size
        if not self._json and self._logs.wanted:
            shown = log_lines.status(status, error_type) if noticed else ""
            lines = log_lines.end_and_report(
                invocation.request_id,
                duration,
                memory,
                memory_peak,
                init_duration,
                shown,
                invocation.trace_id if self._traced else None,
                restore,
            )
            if self._traced:  # the line about the trace belongs to the REPORT, as one event
                self._logs.write(*lines[:-1].split(b"\n", 1))
            else:
                self._logs.lines(lines)
        if self.detailed:
            self._tell(
                "platform.report",
                lambda: platform_events.report(
                    invocation, status, error_type, duration, memory, memory_peak, init_duration, restore
                ),
            )

    def extension(self, name: str, state: str, events: list[str], error_type: str | None = None) -> None:
        """`state`: Ready, Registered or Error. `events`: INVOKE, SHUTDOWN."""
        if not self._json and self._logs.wanted:
            self._logs.write(log_lines.extension(name, state, events, error_type))
        self._tell("platform.extension", lambda: platform_events.extension(name, state, events, error_type))

    def subscribed(self, kind: str, name: str, types: list[str]) -> None:
        """`kind`: telemetry or logs, after the API that was used."""
        if not self._json and self._logs.wanted:
            self._logs.write(log_lines.subscription(kind, name, types))
        self._tell(f"platform.{kind}Subscription", lambda: platform_events.subscription(name, types))

    def _tell(self, kind: str, make: Callable[[], Record]) -> None:
        logged = self._json and self._logs.wanted
        if not logged and self._subscribers is None:
            return
        now, record = self._clock.now(), make()
        if logged and platform_events.level(kind, record) >= self._least:
            self._logs.lines(platform_events.line(now, kind, record) + b"\n")
        if self._subscribers is not None:
            self._subscribers.platform(now, kind, record)
