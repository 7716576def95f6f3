"""A journal whose disk is full: its own descriptor leads to /dev/full while the context is open."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """What this process writes to the one journal in a folder finds no space."""
    (path,) = folder.glob("*.journal")
    fds = Path("/proc/self/fd")
    (journal,) = [int(fd.name) for fd in fds.iterdir() if fd.is_symlink() and os.readlink(fd) == str(path)]
    kept, nowhere = os.dup(journal), os.open("/dev/full", os.O_WRONLY)
    os.dup2(nowhere, journal)
    try:
        yield
    finally:
        os.dup2(kept, journal)
        os.close(kept)
        os.close(nowhere)
