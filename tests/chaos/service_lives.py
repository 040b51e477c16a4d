"""Lives of the whole service, one after the other on one data directory; a program.

`service_lives.py DIRECTORY` imports once and forks each life, which is then as good as a start of its own but for the
second of processor time that imports take. It does what it reads, a word a line: `start` begins a life, which prints
the line that says it is ready; `kill` ends it by kill -9 and says so once it is gone.
"""

import os
import signal
import sys
import traceback
from pathlib import Path

from lamplighter.app import serve
from lamplighter.settings.choices import Settings


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def live(directory: Path) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    serve(Settings(directory, port=0, isolation="none", auth=False), on_ready=say)


def main(directory: Path) -> None:
    life = 0
    for order in sys.stdin:
        if order == "start\n":
            life = os.fork()
            if not life:
                try:
                    live(directory)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(1)
        else:
            os.kill(life, signal.SIGKILL)
            _, status = os.waitpid(life, 0)
            assert os.WTERMSIG(status) == signal.SIGKILL, "it ended on its own"
            say("killed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
