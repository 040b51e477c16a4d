"""The data directory: where everything is, and that only one server at a time has it.

The lock is the kernel's (flock), so a killed server leaves none behind; the pid in the file is only for the message.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from lamplighter.store.contract import DataDirectoryInUse, DataDirectoryUnusable


class DataDirectory:
    """Use as a context manager: locked from entry to exit. Raises DataDirectoryInUse or DataDirectoryUnusable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "lamplighter.db"
        self.events = path / "events.db"
        self.usage = path / "usage.db"
        self.metrics = path / "metrics.db"
        self.blobs = path / "blobs"
        self.code = path / "code"  # unpacked packages; a cache that can be made again from the blobs
        self.logs = path / "logs"
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = self._locked()
            for part in (self.blobs, self.code):
                part.mkdir(exist_ok=True)
        except OSError as error:
            self.__exit__(None, None, None)
            raise DataDirectoryUnusable(
                f"The data directory {self.path} cannot be used: {error.strerror} (errno {error.errno}, "
                f"{error.filename or self.path}); make it writable for this user, or give another --data-dir."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _locked(self) -> int:
        # No link is followed: we may be root here, and the directory may belong to the service's user.
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0)
            os.close(lock)
            raise DataDirectoryInUse(str(self.path), int(holder) if holder.isdigit() else None) from None
        except OSError:
            os.close(lock)
            raise
        return lock
