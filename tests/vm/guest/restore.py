"""Between two scripts: empties the sinks, and makes home and scans what they were.

Runs in a process that ends. What has not been changed since `sink_scan.note` stays: a change shows in ctime, which
only the kernel sets.
"""

import os
import shutil
import stat
from pathlib import Path

from sink_scan import BEFORE, BLOCK, EMPTY, PLACES, RAW

PRISTINE = Path("/run/vm/pristine")
# Is there if anything was made again that a guard has to get to know.
MADE = Path("/run/vm/made")
HOSTS = [Path("/var/sinks/approved"), Path("/var/sinks/private")]


def mirror(source: Path | None, live: Path, since: int) -> None:
    """Makes `live` what `source` is, where it was changed after `since`; none: empty."""
    wanted = {entry.name: entry for entry in os.scandir(source)} if source else {}
    for entry in list(os.scandir(live)):
        twin = wanted.pop(entry.name, None)
        found = entry.stat(follow_symlinks=False)
        if twin is None or stat.S_IFMT(found.st_mode) != stat.S_IFMT(twin.stat(follow_symlinks=False).st_mode):
            remove(entry)
        elif entry.is_dir(follow_symlinks=False):
            mirror(Path(twin.path), Path(entry.path), since)
        elif found.st_ctime_ns >= since:
            remove(entry)
            copy(twin.path, entry.path)
    for name, twin in wanted.items():
        if twin.is_dir(follow_symlinks=False):
            (live / name).mkdir()
            mirror(Path(twin.path), live / name, since)
        else:
            copy(twin.path, live / name)
    if source:
        like(source, live)


def remove(entry: os.DirEntry) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)


def copy(source: str, target: str | Path) -> None:
    shutil.copy2(source, target, follow_symlinks=False)
    like(source, target)
    MADE.touch()


def like(source: str | Path, target: str | Path) -> None:
    """Owner, mode and attributes."""
    wanted = os.lstat(source)
    os.chown(target, wanted.st_uid, wanted.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(wanted.st_mode):
        os.chmod(target, stat.S_IMODE(wanted.st_mode))
        for name in os.listxattr(target):
            os.removexattr(target, name)


def restore() -> None:
    since = BEFORE.stat().st_mtime_ns
    MADE.unlink(missing_ok=True)
    for name, place in PLACES.items():
        if not name.endswith("ssh") and name != "sync":
            mirror(None, place, since)
    for host in HOSTS:
        mirror(host / "ssh.pristine", host / "ssh", since)
    for name in ["home", "srv"]:
        mirror(PRISTINE / name, Path("/") / name, since)
    with open(RAW, "r+b") as raw:
        while block := raw.read(BLOCK):
            if block != EMPTY:
                raw.seek(-len(block), os.SEEK_CUR)
                raw.write(EMPTY)
