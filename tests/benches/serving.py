"""A collector as it is installed, and workstations that are enrolled with it: TLS, with certificates on both sides."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sample import wait_until
from world import Lab, end, need

PATIENCE = 60
TICKS = os.sysconf("SC_CLK_TCK")


class Collector:
    """One that starts with what its data directory has; that is gone afterwards, unless it was there before."""

    def __init__(self, lab: Lab, data: Path | None = None, config: str = "", database: str | None = None) -> None:
        self.program = lab.program("vitrine-collector", "vitrine-collector")
        self.is_kept = data is not None
        self.data = data or lab.root / "collector"
        self.data.mkdir(mode=0o700, exist_ok=True)
        if config:
            (self.data / "collector.toml").write_text(config)
        log = lab.root / "collector.log"
        with log.open("wb") as output:
            command = [self.program, "serve", "--listen", "127.0.0.1:0", "--data", self.data]
            command += ["--database", database] if database else []
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

        def address() -> str | None:
            if self.process.poll() is not None:
                raise RuntimeError(f"the collector ended: {log.read_text()[-500:]}")
            found = [line for line in log.read_text().splitlines() if line.startswith("listening on ")]
            return found[0].split("//")[1] if found else None

        try:
            self.address = wait_until("address of the collector", PATIENCE, address, 0.02)
        except RuntimeError:
            end(self.process)
            raise

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)
        if not self.is_kept:
            shutil.rmtree(self.data)

    def token(self, name: str, role: str, uses: int = 1) -> str:
        command = [self.program, "token", "create", "--data", self.data, "--name", name, "--role", role]
        command += ["--uses", str(uses)] if role == "agent" else []
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def trust(self) -> ssl.SSLContext:
        """Trusts the collector's own authority, whose certificate does not name this address."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.data / "authority.pem")
        return context

    def reader(self) -> Client:
        return Client(self.address, self.trust(), {"Authorization": f"Bearer {self.token('reader', 'reader')}"})

    def enrol(self, count: int) -> list[Workstation]:
        """So many workstations with certificates of their own."""
        need("openssl", "openssl")
        token = self.token(f"lab of {count}", "agent", count)
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda number: Workstation(self, token, number), range(count)))

    def processor(self) -> float:
        """Seconds of processor time of all its threads (proc_pid_stat(5))."""
        return seconds(Path(f"/proc/{self.process.pid}/stat"))

    def writer(self) -> float:
        """The same of the thread that writes."""
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text().strip() == "store writer":
                return seconds(task / "stat")
        raise RuntimeError("the collector has no writer")

    def peak(self) -> float:
        """The most memory that it had, in MiB (proc_pid_status(5))."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


class Connection(http.client.HTTPSConnection):
    """Goes on with the session of the connection before it, as agents do (RFC 8446, 2.2)."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        before = getattr(self, "session", None)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host, session=before)

    def close(self) -> None:
        if isinstance(self.sock, ssl.SSLSocket):
            self.session = self.sock.session
        super().close()


class Client:
    """Asks the collector, on one connection until it is closed."""

    def __init__(self, address: str, context: ssl.SSLContext, headers: dict[str, str]) -> None:
        self.headers = headers
        self.connection = Connection(address, context=context, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        self.connection.request(method, path, body, self.headers | headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return text

    def close(self) -> None:
        self.connection.close()


class Workstation(Client):
    """One that is enrolled."""

    def __init__(self, collector: Collector, token: str, number: int) -> None:
        self.id = str(uuid.UUID(int=number + 1))
        self.name = f"scan-{number:05}"
        own = collector.data.parent / f"workstation-{number}"
        key, request, certificate = (f"{own}.{kind}" for kind in ("key", "csr", "pem"))
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        subject = ["-subj", "/CN=workstation", "-keyout", key, "-out", request]
        subprocess.run(["openssl", "req", "-new", *curve, "-nodes", *subject], check=True, capture_output=True)
        stranger = Client(collector.address, collector.trust(), {"Authorization": f"Bearer {token}"})
        wish = json.dumps({"agent": self.id, "csr": Path(request).read_text()}).encode()
        answer = stranger.ask("POST", "/v1/enroll", wish, **{"Content-Type": "application/json"})
        stranger.close()
        Path(certificate).write_text(json.loads(answer)["certificate"])
        context = collector.trust()
        context.load_cert_chain(certificate, key)
        for path in (key, request, certificate):
            os.unlink(path)
        super().__init__(collector.address, context, {})

    def send(self, body: bytes, **headers: str) -> None:
        """Sends a batch of records, of which every one is to be taken."""
        if json.loads(self.ask("POST", "/v1/records", body, **headers))["rejected"]:
            raise RuntimeError("POST /v1/records: some were rejected")


def seconds(stat: Path) -> float:
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
