"""Serves all queues at once and fairly: in rounds, a few events of each, as many at a time as it does them good.

A queue with a great backlog, or of which nothing ends, takes no more than its share: it may use as many slots as are
still free, so that there always are some for who comes next; the same goes for the bytes in memory. Events are claimed
shortly before they run, so memory doesn't grow with what waits. Nothing polls: a look is taken when an event arrives,
when one is due, when an attempt ends, and when a limit that stopped a queue lets go.

Knows nothing about what events are for: each kind of queue has its Work.
"""

import asyncio
import heapq
import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Final, Self

from lamplighter.events.contract import Again, Done, Hold, Verdict, Work
from lamplighter.events.retry import backoff
from lamplighter.events.window import QUIET, Window
from lamplighter.model.clock import Clock
from lamplighter.model.events import Event
from lamplighter.store.contract import EventQueue, StoreFailed

SLOTS: Final = 1000  # attempts at once, of all queues together
HELD: Final = 64 << 20  # bytes of the payloads of claimed events
UNWRITTEN: Final = 1000  # attempts whose end is not on disk yet: with more, nothing new is begun
BATCH: Final = 16  # events of one claim,
BATCH_BYTES: Final = 1 << 20  # or so many bytes, but at least one
_AFTER_BUG: Final = 60.0  # seconds
_DISK_RETRY: Final = 1.0  # seconds
_LONGEST_TIMER: Final = 60.0  # seconds: wall time may jump

_log = logging.getLogger(__name__)


class _Lane:
    """One queue, for as long as it has something to do or to wait for."""

    __slots__ = (
        "asked",
        "due",
        "filled",
        "held",
        "name",
        "pauses",
        "quiet_looked_for",
        "ready",
        "rests_until",
        "running",
        "timer_at",
        "window",
        "work",
    )

    def __init__(self, name: str, work: Work, now: float) -> None:
        self.name = name
        self.work = work
        self.window = Window(now)
        self.due = math.inf  # when the first of its unclaimed events is, as far as is known
        self.ready: deque[Event] = deque()  # claimed, but not begun
        self.running = 0
        self.filled = -math.inf  # when last as many ran as may, in monotonic seconds
        self.held = 0  # bytes of what is claimed
        self.pauses = 0  # in a row
        self.rests_until = -math.inf
        self.asked = False  # for its turn
        self.timer_at = math.inf
        self.quiet_looked_for = False


class Rounds:
    """Serves from its entry to its exit. `works`: by the prefix of the queues' names, to its colon."""

    def __init__(self, queue: EventQueue, works: Mapping[str, Work], clock: Clock, slots: int = SLOTS) -> None:
        self._queue = queue
        self._works = works
        self._clock = clock
        self._slots = slots
        self._lanes: dict[str, _Lane] = {}
        self._turns: deque[_Lane] = deque()  # who may have something to do
        self._crowd: dict[_Lane, None] = {}  # who has, but must wait until others are done
        self._woken = asyncio.Event()
        self._running = 0
        self._held = 0
        self._unwritten = 0
        self._tasks: set[asyncio.Task[None]] = set()  # attempts, to the writing of their ends
        self._put_off: set[asyncio.Future[None]] = set()  # writes that wait for room on the disk
        self._server: asyncio.Task[None] | None = None
        self._times: list[tuple[float, int, Callable[[], object]]] = []  # a heap: when to do what
        self._order: Iterator[int] = count()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._queue.listen(self._arrived)
        for name, due in (await self._queue.queues()).items():
            self._arrived(name, due)
        self._server = asyncio.get_running_loop().create_task(self._serve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(0.0)

    async def drain(self, limit: float) -> int:
        """Begin nothing more, and give what runs `limit` seconds to end. How many were cut off: they run again after
        the next start, as does what ended but could not be written."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._server is not None:
            self._server.cancel()
            await asyncio.wait((self._server,))
        for passed in tuple(self._put_off):  # once more, now
            _pass(passed)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limit)
        cut_off = self._running
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        return cut_off

    def look(self) -> None:
        """Do what is due by now. A timer calls it; so do tests that own time."""
        now = self._clock.now()
        while self._times and self._times[0][0] <= now:
            heapq.heappop(self._times)[2]()
        self._set_timer()

    # Turns

    def _arrived(self, name: str, due: float) -> None:
        lane = self._lanes.get(name)
        if lane is None:
            work = self._works.get(name[: name.find(":") + 1])
            if work is None:
                return  # somebody else's
            lane = self._lanes[name] = _Lane(name, work, self._clock.monotonic())
        lane.due = min(lane.due, due)
        self._ask(lane)

    def _ask(self, lane: _Lane) -> None:
        if not lane.asked:
            lane.asked = True
            self._turns.append(lane)
            self._woken.set()

    async def _serve(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._turns:
                lane = self._turns.popleft()
                lane.asked = False
                try:
                    await self._turn(lane)
                except StoreFailed:
                    self._ask_at(lane, self._clock.now() + _DISK_RETRY)
                except Exception:  # the outermost loop: a bug must not stop all queues
                    _log.exception("the queue %s could not be served", lane.name)
                    self._ask_at(lane, self._clock.now() + _AFTER_BUG)

    async def _turn(self, lane: _Lane) -> None:
        now = self._clock.now()
        if lane.rests_until > now:
            self._ask_at(lane, lane.rests_until)
            return
        if not lane.ready and lane.due <= now and self._room(lane) > 0:
            await self._claim(lane, now)
        while lane.ready and self._room(lane) > 0:
            self._begin(lane, lane.ready.popleft())
        if lane.ready or lane.due <= now:
            if self._room(lane) > 0:
                self._ask(lane)  # in the next round
            elif lane.running >= lane.window.size:
                self._look_when_quiet(lane)  # and when one of its own ends
            else:
                self._crowd[lane] = None
        elif lane.due < math.inf:
            self._ask_at(lane, lane.due)
        elif not lane.running and self._lanes.get(lane.name) is lane:
            del self._lanes[lane.name]

    def _room(self, lane: _Lane) -> int:
        """How many more of its events may run now."""
        if self._stopping or self._unwritten >= UNWRITTEN or (lane.held and lane.held >= HELD - self._held):
            return 0
        return min(lane.window.size, self._slots - self._running) - lane.running

    async def _claim(self, lane: _Lane, now: float) -> None:
        lane.due = math.inf  # what arrives meanwhile sets it
        try:
            events, following = await self._queue.claim(lane.name, BATCH, now, BATCH_BYTES)
        except BaseException:
            lane.due = now
            raise
        lane.due = min(lane.due, following)
        lane.ready.extend(events)
        self._hold(lane, sum(len(event.payload) for event in events))
        await asyncio.sleep(0)  # reads take place in the loop: one claim is enough for one step of it

    def _hold(self, lane: _Lane, size: int) -> None:
        lane.held += size
        self._held += size

    # Attempts

    def _begin(self, lane: _Lane, event: Event) -> None:
        lane.running += 1
        self._running += 1
        self._own(self._attempt(lane, event))

    async def _attempt(self, lane: _Lane, event: Event) -> None:
        began = self._clock.monotonic()
        if lane.running >= lane.window.size:
            lane.filled = began
        try:
            verdict = await lane.work.run(event)
        except Exception:  # the outermost loop: a bug must lose neither the event nor the rest of its queue
            told = {"request_id": event.id.partition(":")[0]}
            _log.exception("event %s of the queue %s", event.id, lane.name, extra=told)
            verdict = Again(replace(event, due=self._clock.now() + _AFTER_BUG))
        finally:
            lane.running -= 1
            self._running -= 1
        self._ended(lane, began, verdict)
        self._unwritten += 1
        try:
            await self._write(event, verdict)
        finally:
            self._unwritten -= 1
            self._hold(lane, -len(event.payload))
            self._let_in()

    def _ended(self, lane: _Lane, began: float, verdict: Verdict) -> None:
        now = self._clock.monotonic()
        if isinstance(verdict, Hold):
            lane.window.throttled(now, lane.running)
            self._rest(lane)
            verdict.when_free(partial(self._resume, lane))
        elif isinstance(verdict, Again) and verdict.pause:
            self._rest(lane)
        else:
            lane.pauses = 0
            backed_up = bool(lane.ready) or lane.due <= self._clock.now()
            lane.window.ended(now, now - began, backed_up, lane.filled >= began)
        self._ask(lane)
        self._let_in()

    async def _write(self, event: Event, verdict: Verdict) -> None:
        """The event's fate, for as long as it takes: it must not run again because of a full disk."""
        while True:
            try:
                if isinstance(verdict, Done):
                    await self._queue.settle(event, verdict.then, verdict.died)
                elif isinstance(verdict, Again):
                    await self._queue.retry(verdict.event)
                else:
                    self._queue.release((event,))
                    self._arrived(event.queue, event.due)
            except StoreFailed:
                await self._disk_retry()
            else:
                return

    async def _disk_retry(self) -> None:
        if self._stopping:
            await asyncio.sleep(_DISK_RETRY)  # there is no timer any more
            return
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put_off.add(passed)
        self._at(self._clock.now() + _DISK_RETRY, partial(_pass, passed))
        try:
            await passed
        finally:
            self._put_off.discard(passed)

    def _rest(self, lane: _Lane) -> None:
        now = self._clock.now()
        if lane.rests_until > now:
            return  # because of another that ran beside it
        lane.pauses += 1
        lane.rests_until = now + backoff(lane.pauses)
        if lane.ready:
            self._queue.release(lane.ready)
            self._hold(lane, -sum(len(event.payload) for event in lane.ready))
            lane.due = min(lane.due, lane.ready[0].due)
            lane.ready.clear()

    def _resume(self, lane: _Lane) -> None:
        lane.rests_until = -math.inf
        self._ask(lane)

    def _let_in(self) -> None:
        """Something has become free for one of those who wait for it."""
        if self._crowd:
            lane = next(iter(self._crowd))
            del self._crowd[lane]
            self._ask(lane)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._disown)

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("what became of an event could not be written", exc_info=error)

    # Times

    def _ask_at(self, lane: _Lane, when: float) -> None:
        if when < lane.timer_at:
            lane.timer_at = when
            self._at(when, partial(self._ask_on_time, lane, when))

    def _ask_on_time(self, lane: _Lane, when: float) -> None:
        if lane.timer_at == when:
            lane.timer_at = math.inf
            self._ask(lane)

    def _look_when_quiet(self, lane: _Lane) -> None:
        if not lane.quiet_looked_for:
            lane.quiet_looked_for = True
            self._at(self._clock.now() + QUIET, partial(self._quiet, lane))

    def _quiet(self, lane: _Lane) -> None:
        lane.quiet_looked_for = False
        if lane.running >= lane.window.size:
            lane.window.quiet(self._clock.monotonic())
        self._ask(lane)

    def _at(self, when: float, then: Callable[[], object]) -> None:
        heapq.heappush(self._times, (when, next(self._order), then))
        if self._times[0][2] is then:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._times and not self._stopping:
            delay = min(max(self._times[0][0] - self._clock.now(), 0.001), _LONGEST_TIMER)
            self._timer = asyncio.get_running_loop().call_later(delay, self.look)


def _pass(passed: "asyncio.Future[None]") -> None:
    if not passed.done():
        passed.set_result(None)
