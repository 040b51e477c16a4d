"""Ways to end the process from within an invocation; the event says which."""

import atexit
import os
import signal
import sys
import threading
import time


class BadText(Exception):
    def __str__(self):
        raise TypeError("no text for you")


class Base(BaseException):
    pass


def say(text):
    print(text)


def in_a_while():
    time.sleep(0.05)
    print("thread is done")


def handler(event, context):
    print("running")
    atexit.register(say, "at exit")
    how = event["how"]
    if how == "exit":
        sys.exit(event["code"])
    if how == "exit with thread":
        threading.Thread(target=in_a_while).start()
        sys.exit(4)
    if how == "quit":
        raise SystemExit
    if how == "_exit":
        sys.stdout.buffer.write(b"never seen")
        os._exit(event["code"])
    if how == "signal":
        os.kill(os.getpid(), event["code"])
    if how == "base exception":
        raise Base("not an Exception")
    if how == "keyboard interrupt":
        raise KeyboardInterrupt
    if how == "interrupt signal":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    if how == "text raises":
        raise BadText
    if how == "generator exit":
        raise GeneratorExit("x")
    if how == "excepthook":
        sys.excepthook = lambda *_: print("my own hook")
        raise Base
    if how == "closed output":
        sys.stdout.close()
        raise ValueError("nobody will read this")
    if how == "surrogate":
        return "\ud800"
    if how == "surrogate error":
        raise ValueError("\ud800")
    return how


def handler_with_signal(event, context):
    signal.signal(signal.SIGTERM, lambda *_: (print("terminated"), sys.exit(0)))
    return "ready"
