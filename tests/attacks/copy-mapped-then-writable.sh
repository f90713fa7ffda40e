#!/usr/bin/env bash
# technique: a mapping of the USB file, made for reading, becomes writable after the scan was read (mprotect)
# hooks: file_open, file_mprotect
# sink: usb

. attack.sh
python3 - <<'PY'
from attack import *
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
size = os.stat(SCAN).st_size
fd = os.open(COPY, os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, size)
room = libc.mmap(None, size, 1, 1, fd, 0)
os.close(fd)
try:
    data = scan()
    if libc.mprotect(room, size, 3):
        raise PermissionError(ctypes.get_errno(), "mprotect")
    ctypes.memmove(room, data, size)
except PermissionError:
    os.unlink(COPY)
    raise
PY
