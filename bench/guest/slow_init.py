"""A function that imports for two seconds, and leaves when it is told to: what each start costs."""

import os
import time

time.sleep(2)


def echo(event: object, context: object) -> object:
    if event == "leave":
        os._exit(0)
    return event
