"""One writer per output, by `flock`: the kernel frees it when the process dies, and no clock has a say.

The file's content (pid and host) is only for the message; a file left behind by a dead process locks nothing. A file
is removed only under its lock, and a lock counts only on the file that has the name: whoever waits for one that is gone
takes the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from reasrm.errors import EnvironmentProblem, LockedError

__all__ = ["OutputLock"]

_READS, _BETWEEN_READS_S = 50, 0.01


class OutputLock:
    """An exclusive lock, held from construction until `release`.

    Args:
        path: The lock file; made if absent, and left behind unless `release` is told otherwise.

    Raises:
        LockedError: Another process holds it.
        EnvironmentProblem: The file cannot be made, or its file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_new = not path.exists()
        while not self._take():
            continue

    def _take(self) -> bool:
        """Lock the file; return whether it still has its name."""
        path = self.path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise EnvironmentProblem(
                f"the lock file cannot be made: {error.strerror}",
                place=str(path),
                remedy="choose an output in a folder that you may write to",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        except OSError as error:
            holder = self._holder()
            os.close(self._descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise EnvironmentProblem(f"cannot be locked: {error.strerror}", place=str(path)) from error
            pid, host = (*holder, "unknown", "unknown")[:2]
            raise LockedError(
                f"another process writes this output: pid {pid} on host {host}",
                place=str(path),
                remedy="wait for it to end, or choose another output",
            ) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._descriptor), path.stat()):
                return True
        os.close(self._descriptor)
        return False

    def _holder(self) -> list[str]:
        """Return pid and host in the file; who has just taken the lock may not have written them yet."""
        for _ in range(_READS):
            text = os.pread(self._descriptor, 200, 0)
            if text.endswith(b"\n"):
                break
            time.sleep(_BETWEEN_READS_S)
        return text.decode("utf-8", "replace").split()

    def release(self, *, unused: bool = False) -> None:
        """Give the lock up. Calling it twice is harmless.

        Args:
            unused: Nothing came of it: remove the file, if it was not there before.
        """
        if self._descriptor >= 0:
            if unused and self._is_new:
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
