"""Platform events: what an environment tells of itself, as records of AWS's schemas (AWS: spec 3.5, 3.6).

Values in, records out; who wants them, and in which form, is `platform_log.py`'s business. Durations in milliseconds,
memory in bytes as it comes from cgroups.
"""

import math
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation
from lamplighter.model.usage import Restore, billed
from lamplighter.worker.log_lines import runtime_version

Status = Literal["success", "failure", "error", "timeout"]
Phase = Literal["init", "invoke"]
Record = dict[str, Any]


DEBUG, INFO, WARN = 10, 20, 30
SYSTEM_LEVELS = {"DEBUG": DEBUG, "INFO": INFO, "WARN": WARN}


def line(now: float, kind: str, record: Record) -> bytes:
    """An event as a line of a log in JSON. `now`: seconds since the epoch."""
    return orjson.dumps({"time": timestamp(now), "type": kind, "record": record})


def timestamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def level(kind: str, record: Record) -> int:
    """At which system log level an event is logged (AWS: the table of spec 3.6)."""
    kind = kind.removeprefix("platform.")
    good = record.get("status", "success") == "success" and "errorType" not in record
    if kind in ("initRuntimeDone", "runtimeDone", "restoreRuntimeDone"):
        return DEBUG if good else WARN
    if kind == "initReport":
        return WARN if not good else DEBUG if record["initializationType"] == "on-demand" else INFO
    if kind in ("report", "restoreReport", "extension"):
        return INFO if good else WARN
    if kind == "initStart":
        return INFO if "runtimeVersion" in record else DEBUG
    return WARN if kind == "logsDropped" else INFO


def init_start(function: FunctionVersion, initialization: str, phase: Phase, instance: str) -> Record:
    """`instance`: which environment this is, the last part of its log stream's name."""
    version = runtime_version(function)
    return _shown(
        initializationType=initialization,
        phase=phase,
        runtimeVersion=version,
        runtimeVersionArn=function.runtime_version_arn if version else None,
        functionName=function.id.name,
        functionArn=function.arn,
        functionVersion=function.version,
        instanceId=instance,
        instanceMaxMemory=function.memory_size * 1048576,
    )


def init_done(initialization: str, phase: Phase, status: Status, error_type: str | None) -> Record:
    return _shown(initializationType=initialization, phase=phase, status=status, errorType=error_type)


def init_report(initialization: str, phase: Phase, status: Status, error_type: str | None, duration: float) -> Record:
    return init_done(initialization, phase, status, error_type) | {"metrics": {"durationMs": _ms(duration)}}


def restore_start(function: FunctionVersion, instance: str) -> Record:
    shown = init_start(function, "snap-start", "init", instance)
    return {name: value for name, value in shown.items() if name not in ("initializationType", "phase")}


def restore_done(status: Status, error_type: str | None) -> Record:
    return _shown(status=status, errorType=error_type)


def restore_report(status: Status, error_type: str | None, duration: float) -> Record:
    return restore_done(status, error_type) | {"metrics": {"durationMs": _ms(duration)}}


def start(invocation: Invocation, version: str) -> Record:
    return _shown(
        requestId=invocation.request_id,
        functionArn=invocation.invoked_arn,
        version=version,
        tenantId=invocation.tenant_id,
        tracing=tracing(invocation.trace_id),
    )


def span(name: str, began: float, duration: float) -> Record:
    """`began`: seconds since the epoch."""
    return {"name": name, "start": timestamp(began), "durationMs": _ms(duration)}


def runtime_done(
    invocation: Invocation,
    status: Status,
    error_type: str | None,
    duration: float,
    produced: int | None,
    spans: list[Record],
) -> Record:
    metrics = _shown(durationMs=_ms(duration), producedBytes=produced)
    return _shown(
        requestId=invocation.request_id,
        tenantId=invocation.tenant_id,
        status=status,
        errorType=error_type,
        metrics=metrics,
        tracing=tracing(invocation.trace_id),
        spans=spans or None,
    )


def report(
    invocation: Invocation,
    status: Status,
    error_type: str | None,
    duration: float,
    memory_size: int,
    memory_peak: int | None,
    init_duration: float | None,
    restore: Restore | None = None,
) -> Record:
    metrics = _shown(
        durationMs=_ms(duration),
        billedDurationMs=billed(duration, init_duration, restore),
        memorySizeMB=memory_size,
        maxMemoryUsedMB=None if memory_peak is None else math.ceil(memory_peak / 1048576),
        initDurationMs=None if init_duration is None else _ms(init_duration),
        restoreDurationMs=None if restore is None else _ms(restore.duration),
        billedRestoreDurationMs=None if restore is None else math.ceil(restore.billed),
    )
    return _shown(
        requestId=invocation.request_id,
        tenantId=invocation.tenant_id,
        metrics=metrics,
        tracing=tracing(invocation.trace_id),
        status=status,
        errorType=error_type,
    )


def extension(name: str, state: str, events: list[str], error_type: str | None) -> Record:
    return _shown(name=name, state=state, events=events, errorType=error_type)


def subscription(name: str, types: list[str]) -> Record:
    return {"name": name, "state": "Subscribed", "types": types}


def logs_dropped(reason: str, records: int, size: int) -> Record:
    return {"reason": reason, "droppedRecords": records, "droppedBytes": size}


def tracing(trace_id: str) -> Record | None:
    """Of an event's `tracing`: only where the call is sampled."""
    members: dict[str, str] = {}
    for part in trace_id.split(";"):
        name, _, value = part.partition("=")
        members[name] = value
    if members.get("Sampled") != "1" or not members.get("Root"):
        return None
    return _shown(spanId=members.get("Parent"), type="X-Amzn-Trace-Id", value=trace_id)


def _ms(duration: float) -> float:
    return round(duration, 3)


def _shown(**members: Any) -> Record:
    return {name: value for name, value in members.items() if value is not None}
