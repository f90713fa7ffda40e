"""Where everything lies in the guest."""

import json
from pathlib import Path

VM = Path("/vm")
RUN = Path("/run/vm")
LAB = json.loads((VM / "lab.json").read_text())
# A copy of Python that the policy exempts and that nobody else can start.
WITNESS = RUN / "witness"
VITRINE = VM / "bin" / "vitrine"
CONFIG = Path("/etc/vitrine/agent.toml")
STATE = Path("/var/lib/vitrine")
COLLECTED = Path("/var/lib/vitrine-collector")
COLLECTOR = "127.0.0.1:8470"
