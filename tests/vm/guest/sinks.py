"""The servers of a remote host: each keeps what it gets as files in a directory of /var/sinks/NAME.

They serve every address of their network. The files are written at once: what is there has arrived.
"""

import itertools
import re
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SINKS = Path("/var/sinks") / sys.argv[1]
PIECE = 1 << 16
NUMBERS = itertools.count(1)
AF_VSOCK_ANY = 0xFFFFFFFF


def keep(kind: str, name: str, content: bytes) -> None:
    """Appends, unbuffered."""
    with open(SINKS / kind / name, "ab", buffering=0) as file:
        file.write(content)


class Web(BaseHTTPRequestHandler):
    """Takes what is sent by any method: the head of a request, its body, and the files of a form."""

    protocol_version = "HTTP/1.1"

    def take(self) -> None:
        number = f"{next(NUMBERS):04}"
        keep("http", f"{number}.head", self.raw_requestline + bytes(self.headers))
        body = b""
        for piece in self.pieces():
            keep("http", f"{number}.body", piece)
            body += piece
        boundary = re.search(r'multipart/form-data;.*boundary="?([^";]+)', self.headers.get("Content-Type", ""))
        if boundary:
            for part, content in enumerate(body.split(b"--" + boundary[1].encode())[1:-1], 1):
                keep("http", f"{number}.part{part}", content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_PROPFIND = do_MKCOL = take

    def pieces(self):
        """The body as it comes: a part of one that breaks off has arrived, too."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while length := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                yield self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left > 0:
            piece = self.rfile.read1(min(left, PIECE))
            if not piece:
                return
            left -= len(piece)
            yield piece

    def log_message(self, *_: object) -> None:
        pass


class WebServer(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def listen(family: int, protocol: int, address: tuple, kind: str) -> None:
    """Keeps what comes by each connection."""
    server = socket.socket(family, socket.SOCK_STREAM, protocol)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen()

    def drain(connection: socket.socket, name: str) -> None:
        with connection:
            try:
                while piece := connection.recv(PIECE):
                    keep(kind, name, piece)
            except ConnectionError:
                pass

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=drain, args=(connection, f"{next(NUMBERS):04}"), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def receive(kind: str, sock: socket.socket, take) -> None:
    """Hands every datagram to `take`."""
    def loop() -> None:
        while True:
            content, sender = sock.recvfrom(PIECE)
            take(kind, sock, content, sender)

    threading.Thread(target=loop, daemon=True).start()


def datagram(kind: str, _sock: socket.socket, content: bytes, sender: tuple) -> None:
    """The datagrams of one sender are one file."""
    keep(kind, f"{sender[0].removeprefix('::ffff:')}.{sender[1]}", content)


def question(kind: str, sock: socket.socket, content: bytes, sender: tuple) -> None:
    """Notes the name that a DNS query asks for (RFC 1035, 4.1), and answers that there is none."""
    labels, at = [], 12
    while at < len(content) and content[at]:
        labels.append(content[at + 1 : at + 1 + content[at]])
        at += 1 + content[at]
    keep(kind, "names", b".".join(labels) + b"\n")
    sock.sendto(content[:2] + b"\x81\x83" + content[4:6] + bytes(6) + content[12 : at + 5], sender)


def echo(kind: str, _sock: socket.socket, content: bytes, sender: tuple) -> None:
    """Keeps what pings carry behind their header: for IPv4 the raw socket gives the IP header, too."""
    start = (content[0] & 15) * 4 if _sock.family == socket.AF_INET else 0
    if content[start] in (8, 128):
        keep(kind, sender[0], content[start + 8 :])


def udp(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    return sock


def main() -> None:
    listen(socket.AF_INET6, 0, ("::", 9000), "tcp")
    receive("udp", udp(9000), datagram)
    if SINKS.name == "private":
        listen(socket.AF_INET6, socket.IPPROTO_SCTP, ("::", 9001), "sctp")
        listen(socket.AF_VSOCK, 0, (AF_VSOCK_ANY, 9002), "vsock")
        receive("dns", udp(53), question)
        receive("icmp", socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), echo)
        receive("icmp", socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6), echo)
    web = WebServer(("::", 80), Web)
    Path(f"/run/vm/{SINKS.name}.serves").touch()
    web.serve_forever()


if __name__ == "__main__":
    main()
