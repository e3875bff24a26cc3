"""File locks that the kernel frees when their holder ends, however it ends.

`flock` belongs to the open file, so a lock outlives neither `kill -9` nor a power cut and needs no clean-up.
What stays out: what the locks mean (`supervisor`, `client`).
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.embedded_postgres.layout import open_private

_HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EACCES)


def take_shared(path: Path) -> int | None:
    """The descriptor that holds the lock together with other sharers; None when somebody holds it alone."""
    return _take(path, fcntl.LOCK_SH)


def take_exclusive(path: Path) -> int | None:
    """The descriptor that holds the lock alone; None when anybody else holds it."""
    return _take(path, fcntl.LOCK_EX)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock alone at this instant."""
    if not path.exists():
        return False
    descriptor = take_shared(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock at this instant, neither alone nor shared."""
    descriptor = take_exclusive(path)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def _take(path: Path, kind: int) -> int | None:
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _HELD_BY_ANOTHER:
            return None
        raise CannotStart(
            f"{path} cannot be locked ({error.strerror}). Put STAX_HOME on a local disk: "
            "this file system does not support file locks."
        ) from None
    return descriptor
