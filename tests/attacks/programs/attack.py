"""What the techniques in Python begin with."""

import os
import signal
import socket
import sys
import time

signal.alarm(15)
SCAN, COPY, ROOM, TEMP = (os.environ[name] for name in ("SCAN", "COPY", "ROOM", "TEMP"))
INBOX = next(entry.path for entry in os.scandir(os.environ["INBOX"]) if entry.name.endswith(".tif"))
TCP = os.environ["PRIVATE_HOST"], int(os.environ["PORT_TCP"])
UDP = os.environ["PRIVATE_HOST"], int(os.environ["PORT_UDP"])


def scan() -> bytes:
    """The bytes of a scan; who calls this has read a master."""
    with open(SCAN, "rb") as file:
        return file.read()


def keep(data: bytes, path: str = COPY) -> None:
    """Writes what was carried, if anything was, to the USB disk."""
    if data:
        with open(path, "wb") as file:
            file.write(data)


def apart(work, *arguments) -> int:
    """Does some work in a process of its own, which ends in time whatever happens."""
    child = os.fork()
    if child:
        return child
    signal.alarm(12)
    code = 1
    try:
        work(*arguments)
        code = 0
    except OSError as error:
        print(f"{work.__name__}: {error}", file=sys.stderr)
    os._exit(code)


def drain(sock: socket.socket) -> bytes:
    """All that comes until the other side closes or falls silent."""
    sock.settimeout(3)
    parts = []
    try:
        while part := sock.recv(1 << 16):
            parts.append(part)
    except TimeoutError:
        pass
    return b"".join(parts)


def wait_for(condition, seconds: float = 4) -> bool:
    """Asks again and again, without any word from the other process."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
