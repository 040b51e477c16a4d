"""A function that imports for two seconds, and whose environment is good for one call: what each start costs."""

import os
import threading
import time

time.sleep(2)


def echo(event: object, context: object) -> object:
    threading.Timer(0.02, os._exit, (0,)).start()  # once it has answered
    return event
