"""What a template does in tests of the sandbox: wait for a byte, fork for ever, and in each copy serve as before."""

import fcntl
import json
import os
import socket
import sys
from typing import BinaryIO


def become(stream: BinaryIO) -> None:
    """Returns in a copy's second process, with its variables set and its output on descriptors 1 and 2."""
    stream.read(1)
    while os.fork():
        pass
    child = os.fork()
    if child:
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                os._exit(1)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.connect("\0lamplighter")
    told, descriptors, _, _ = socket.recv_fds(door, 200_000, 4)
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in descriptors]
    os.closerange(0, 10)
    os.open("/dev/null", os.O_RDONLY)
    os.dup2(moved[0], 1)
    os.dup2(moved[0], 2)
    for descriptor in moved:
        os.close(descriptor)
    os.environ.update(json.loads(told)["variables"])
    sys.stdout.flush()
