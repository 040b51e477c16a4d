"""The Python functions of the soak: each event says what is to happen to it, and is logged before it does."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from typing import Any


class Sorrow(Exception):
    """What a handler raises."""


def handler(event: Any, context: object) -> Any:
    if "requestPayload" in event:  # the record of an event that came to nothing, from its destination
        print("buried", event["requestPayload"]["id"], flush=True)
        return None
    print("ran", event["id"], flush=True)
    return _DO[event["do"]](event)


def answer(event: Any) -> Any:
    return {"id": event["id"], "given": event.get("given")}


def sleep(event: Any) -> Any:
    time.sleep(event["seconds"])
    return answer(event)


def fail(event: Any) -> Any:
    raise Sorrow(event["id"])


def leave(event: Any) -> Any:
    os._exit(event["code"])


def quit(event: Any) -> Any:
    sys.exit("no more")


def kill(event: Any) -> Any:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), event["signal"])
    signal.pause()


def take_memory(event: Any) -> Any:
    taken: list[bytearray] = []
    while True:
        taken.append(bytearray(16 << 20))


def unserialisable(event: Any) -> Any:
    return {event["id"], object()}


def enlarge(event: Any) -> Any:
    return "x" * event["size"]


def flood(event: Any) -> Any:
    line = "x" * 1023
    for _ in range(event["lines"]):
        print(line)
    return answer(event)


def litter(event: Any) -> Any:
    """Leave processes, threads, descriptors and files behind."""
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    _KEPT.append(open(f"/tmp/{event['id']}", "wb"))  # noqa: SIM115
    _KEPT[-1].write(bytes(1 << 20))
    return answer(event)


_KEPT: list[Any] = []
_DO = {
    "answer": answer,
    "sleep": sleep,
    "fail": fail,
    "leave": leave,
    "quit": quit,
    "kill": kill,
    "take memory": take_memory,
    "unserialisable": unserialisable,
    "enlarge": enlarge,
    "flood": flood,
    "litter": litter,
}
