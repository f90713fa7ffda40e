"""What is made once and used by every run: in one directory, made whole or not at all."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent


class VmError(Exception):
    """Why there is no guest, or why it did not do its work, told to the person who ran it."""


UNUSED = 2 * 24 * 3600
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or TOP / "target").absolute()


def directory() -> Path:
    """Where it lies."""
    path = Path(os.environ.get("VITRINE_VM_CACHE") or TARGET / "vm").absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts: object) -> str:
    """A name for what is made from these."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part if isinstance(part, bytes) else str(part).encode())
        total.update(b"\0")
    return total.hexdigest()[:16]


def made(name: str, build: Callable[[Path], None]) -> Path:
    """The directory `name` of the cache, filled by `build` if it is not there. Runs that need the same one
    wait for the first; one that is interrupted leaves nothing that could be taken for whole."""
    cache = directory()
    wanted = cache / name
    if wanted.is_dir():
        os.utime(wanted)
        return wanted
    with open(cache / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if wanted.is_dir():
            return wanted
        room = Path(tempfile.mkdtemp(prefix="making.", dir=cache))
        try:
            build(room)
            room.chmod(0o755)
            room.rename(wanted)
        finally:
            shutil.rmtree(room, ignore_errors=True)
        forget(cache, name.rpartition("-")[0])
    return wanted


def forget(cache: Path, kind: str) -> None:
    """Removes what no run has used for two days."""
    for old in cache.glob(f"{kind}-*"):
        if old.stat().st_mtime < time.time() - UNUSED:
            shutil.rmtree(old, ignore_errors=True)
