"""What arrived at the sinks. Runs in processes that end: it reads what a script wrote."""

import base64
import hashlib
import os
import pickle
import stat
import subprocess
from pathlib import Path
from typing import Iterator

import port

RAW = Path("/dev/vde")
BLOCK = 64 << 10
EMPTY = bytes(BLOCK)
PLACES = {
    "usb": Path("/media/staff/usb"),
    "sync": Path("/home/staff/Nextcloud"),
    "fuse": Path("/var/sinks/fuse"),
    **{f"{host}-{kind}": Path("/var/sinks") / host / kind for host in ["approved", "private"] for kind in ["http", "ssh", "tcp", "udp"]},
    **{f"private-{kind}": Path("/var/sinks/private") / kind for kind in ["dns", "sctp", "vsock", "icmp"]},
}
BEFORE = Path("/run/vm/before")


def text(value: bytes) -> str:
    return value.decode(errors="replace")


def walk(directory: bytes) -> Iterator[bytes]:
    """Everything below a directory; names need not be UTF-8."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        yield entry.path
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)


def content(path: bytes) -> bytes | None:
    """None: it cannot be read, because a guard refuses it or because it is a device."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def xattrs(path: bytes) -> dict[bytes, bytes]:
    try:
        return {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
    except OSError:
        return {}


def state(path: bytes) -> tuple:
    """What tells that an entry was changed: only the kernel sets ctime, so that nothing has to be read."""
    found = os.lstat(path)
    return stat.S_IFMT(found.st_mode), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def states() -> dict:
    found: dict = {(sink, path): state(path) for sink, place in PLACES.items() for path in [os.fsencode(place), *walk(os.fsencode(place))]}
    with open(RAW, "rb") as raw:
        found["raw"] = [block != EMPTY and hashlib.sha256(block).digest() for block in iter(lambda: raw.read(BLOCK), b"")]
    return found


def blake3(held: bytes) -> str:
    return subprocess.run(["b3sum", "--no-names"], input=held, capture_output=True, check=True).stdout.decode().strip()


def tell(sink: str, name: bytes, size: int, **more: object) -> None:
    port.tell("arrived", sink=sink, name=text(name), size=size, **more)


def compare(before: dict) -> None:
    for key, now in states().items():
        was = before.get(key)
        if now == was:
            continue
        if key == "raw":
            with open(RAW, "rb") as raw:
                changed = b"".join(raw.read(BLOCK) if new != old else raw.seek(BLOCK, 1) and b"" for new, old in zip(now, was))
            tell("raw", os.fsencode(RAW), len(changed), blake3=blake3(changed))
        else:
            entry(*key, now, was)


def entry(sink: str, path: bytes, now: tuple, was: tuple | None) -> None:
    name = os.path.relpath(path, os.fsencode(PLACES[sink]))
    kind = now[0]
    if kind == stat.S_IFREG:
        held = content(path)
        tell(sink, name, now[2], blake3=held if held is None else blake3(held))
    elif kind == stat.S_IFLNK:
        tell(sink, name, 0, type="symlink", text=text(os.readlink(path)))
    elif was is None:
        tell(sink, name, 0, type="directory" if kind == stat.S_IFDIR else "other", text=text(name))
    for attribute, value in xattrs(path).items():
        tell(sink, name, len(value), type="xattr", text=text(attribute), value=base64.b64encode(value).decode(), blake3=blake3(value))


def note() -> None:
    """Notes what is there."""
    BEFORE.write_bytes(pickle.dumps(states()))


def tell_new() -> None:
    """Tells what is new since."""
    compare(pickle.loads(BEFORE.read_bytes()))
