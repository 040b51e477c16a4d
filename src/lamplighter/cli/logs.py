"""`lamplighter logs`: what a function has written, and what it writes, asked of the running service."""

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click
import orjson

from lamplighter.cli.options import Misuse, Refusal
from lamplighter.cli.owner import Owner, owner_of, service_options
from lamplighter.model.clock import SystemClock

PERIOD: Final = 1.0  # seconds between questions when following
_AGO: Final = re.compile(r"(\d{1,9})\s*([smhdw]?)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_OWN: Final = ("START ", "END ", "REPORT ", "INIT_START ", "INIT_REPORT ", "EXTENSION\t", "LOGS_DROPPED\t")
_BAD: Final = re.compile(
    r"\[?(ERROR|CRITICAL|FATAL)\b|\bTraceback\b|Task timed out|Runtime exited|\"level\": ?\"(ERROR|FATAL)\""
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a function must not steer the reader's terminal
_DOUBTFUL: Final = re.compile(r"\[?WARN(ING)?\b|\"level\": ?\"WARN(ING)?\"")

Event = Mapping[str, Any]


@click.command(short_help="Show what a function has written.")
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--since", metavar="TIME", default="10m", show_default=True, help="How far back: 30s, 10m, 2h, 3d, or a date."
)
@click.option("--filter", "pattern", metavar="PATTERN", default="", help="A CloudWatch filter pattern.")
@click.option("--no-color", is_flag=True, help="No colours, as when the output is not a terminal, or NO_COLOR is set.")
@service_options("data_dir", "host", "port", "region")
def logs(name: str, follow: bool, since: str, pattern: str, no_color: bool, **flags: str | None) -> None:
    """Show what the function NAME has written. NAME may also be a log group, which has a slash in its name.

    Lines of the service itself are dim, errors red, warnings yellow. The service must be running.

    \b
    Examples:
      lamplighter logs sum
      lamplighter logs sum --follow
      lamplighter logs sum --since 2h --filter ERROR
      lamplighter logs sum --filter '{ $.level = "ERROR" && $.customer = "ada" }'
      lamplighter logs /my/shared/group --since 2026-01-31T12:00
    """
    now = SystemClock().now()
    service = _Service(owner_of(flags))
    group = name if "/" in name else f"/aws/lambda/{name}"
    color = False if no_color or os.environ.get("NO_COLOR") else None  # None: if the output is a terminal
    try:
        for event in service.events(group, int(_start(since, now) * 1000), pattern, follow):
            click.echo(_shown(event), color=color)
    except KeyboardInterrupt:
        sys.exit(0)


class _Service:
    """FilterLogEvents of the running service."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def events(self, group: str, start: int, pattern: str, follow: bool) -> Iterator[Event]:
        """`start` in ms. Following, a group that is not there yet is waited for."""
        seen: set[str] = set()  # ids of the events of the newest time so far: the next question finds them again
        newest = start
        while True:
            for page in self._pages(group, newest, pattern, must_exist=not follow):
                for event in page:
                    if event["timestamp"] > newest:
                        newest = event["timestamp"]
                        seen.clear()
                    if event["eventId"] not in seen:
                        seen.add(event["eventId"])
                        yield event
            if not follow:
                return
            time.sleep(PERIOD)

    def _pages(self, group: str, start: int, pattern: str, must_exist: bool) -> Iterator[Sequence[Event]]:
        asked: dict[str, Any] = {"logGroupName": group, "startTime": start, "filterPattern": pattern}
        while True:
            status, answer = self._ask("FilterLogEvents", asked)
            if status != 200:
                kind = str(answer.get("__type", "")).rpartition("#")[2]
                if kind == "ResourceNotFoundException":
                    if must_exist:
                        raise Refusal(f"There is no log group {group}: nothing has been written to it yet.")
                    return
                raise Refusal(f"{answer.get('message') or kind or f'The service answered with status {status}'}")
            yield answer.get("events", [])
            if not answer.get("nextToken"):
                return
            asked["nextToken"] = answer["nextToken"]

    def _ask(self, operation: str, members: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Logs_20140328.{operation}"}
        return self._owner.ask("POST", "/", "logs", headers, orjson.dumps(members))


def _start(since: str, now: float) -> float:
    """Seconds since the epoch of "10m" (ago) or an ISO 8601 date. Raises Misuse."""
    if (match := _AGO.fullmatch(since.strip())) is not None:
        return max(0.0, now - int(match[1]) * _SECONDS[match[2]])
    try:
        return max(0.0, datetime.fromisoformat(since).timestamp())  # without a zone: the user's own
    except (ValueError, OverflowError, OSError):
        raise Misuse(f"--since: {since!r} is neither a time ago, such as 30s, 10m, 2h or 3d, nor a date.") from None


def _shown(event: Event) -> str:
    """One line: when (local time), which environment, what."""
    moment = datetime.fromtimestamp(event["timestamp"] / 1000)
    when = moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{event['timestamp'] % 1000:03d}"
    environment: str = event["logStreamName"].rpartition("]")[2][:8]
    text = _CONTROL.sub("", event["message"].rstrip())
    if text.startswith(_OWN):
        text = click.style(text, dim=True)
    elif _BAD.search(text):
        text = click.style(text, fg="red")
    elif _DOUBTFUL.search(text):
        text = click.style(text, fg="yellow")
    return f"{click.style(when, fg='green')} {click.style(environment, fg='cyan')} {text}"
