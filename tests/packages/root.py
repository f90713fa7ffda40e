"""A Debian in a directory, in which packages are installed; and what is found there."""

import re
from pathlib import Path

import cache
from packages import run

WANTED = ["rpm", "dnf", "systemd", "python3", "libelf1", "zlib1g", "libgcc-s1"]
EDIT = "\n# edited by hand\n"
# Every file of which somebody who looks for it must find it, with its mode, wherever Vitrine is installed.
MODES = {
    "usr/bin/vitrine": "755", "usr/bin/vitrine-collector": "755", "etc/vitrine": "755", "etc/vitrine/policy.toml": "644",
    "etc/vitrine/agent.toml": "644", "etc/default/vitrine-collector": "644", "etc/xdg/autostart/vitrine-notify.desktop": "644",
    "usr/lib/systemd/system/vitrine.service": "644", "usr/lib/systemd/system/vitrine-collector.service": "644",
    "usr/share/man/man1/vitrine.1.gz": "644", "usr/share/man/man8/vitrine-collector.8.gz": "644",
    "usr/share/bash-completion/completions/vitrine": "644", "usr/share/fish/vendor_completions.d/vitrine.fish": "644",
    "usr/share/doc/vitrine-agent/examples/museum.toml": "644", "usr/share/doc/vitrine-collector/examples/collector.toml": "644",
}
DATA = ["var/lib/vitrine/quarantine/scan.tif", "var/lib/vitrine/index.db", "var/lib/private/vitrine-collector/store.db"]
failed: list[str] = []


def check(name: str, ok: object, found: object = "") -> bool:
    print(f"{'ok  ' if ok else 'FAIL'}  {name}{': ' if found else ''}{found}", flush=True)
    if not ok:
        failed.append(name)
    return bool(ok)


class Root:
    """An installed Debian of its own. What runs in it sees neither our processes nor a network, and its mounts end with it."""

    def __init__(self, path: Path):
        self.path = path
        where = cache.made(f"packages-root-{cache.digest(WANTED)}", bootstrap)
        run(["cp", "--archive", str(where / "tree"), str(path)], "the root cannot be copied")

    def run(self, *command: object) -> str:
        inside = ["unshare", "--mount", "--pid", "--net", "--fork", f"--mount-proc={self.path}/proc", "chroot", str(self.path)]
        return run([*inside, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", '"$@" 2>&1', "sh",
                    *map(str, command)], f"{command[0]} in a root of its own")

    def has(self, word: str) -> list[str]:
        """The paths with this word, of which the packages of Debian know nothing."""
        return sorted(str(path.relative_to(self.path)) for part in ["etc", "usr", "var"] for path in (self.path / part).rglob(f"*{word}*")
                      if "var/cache" not in str(path) and "var/log" not in str(path) and "var/lib/dnf" not in str(path))

    def enabled(self, unit: str) -> bool:
        return (self.path / f"etc/systemd/system/multi-user.target.wants/{unit}.service").is_symlink()

    def text(self, name: str) -> str:
        path = self.path / name
        return path.read_text() if path.exists() else ""

    def edit(self, name: str) -> str:
        """What a file says after somebody has written to it."""
        path = self.path / name
        path.write_text(path.read_text() + EDIT)
        return path.read_text()

    def use(self) -> None:
        """Leaves behind what services do that have run."""
        for name in DATA:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text("data")

    def wrong_modes(self, modes: dict[str, str]) -> list[str]:
        """What is not there, or not root's with the mode that it has to have."""
        wrong = []
        for name, mode in modes.items():
            path = self.path / name
            found = path.lstat() if path.exists() else None
            if not found or f"{found.st_mode & 0o7777:o}" != mode or (found.st_uid, found.st_gid) != (0, 0):
                wrong.append(f"{name} {found and oct(found.st_mode)}")
        return wrong


def bootstrap(room: Path) -> None:
    tree = room / "tree"
    run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(WANTED)}", "bookworm", str(tree)],
        "Debian cannot be installed into a directory; is mmdebstrap there?")


def installed(root: Root, modes: dict[str, str]) -> None:
    """What holds in every root in which both packages have just been installed."""
    wrong = root.wrong_modes(MODES | modes)
    check("modes and owners are right", not wrong, wrong or "")
    check("both services start with the machine", root.enabled("vitrine") and root.enabled("vitrine-collector"))
    is_audit = re.search(r'^mode = "audit"', root.text("etc/vitrine/policy.toml"), re.M)
    check("a fresh agent runs in audit", is_audit and root.run("vitrine", "policy", "check", "/etc/vitrine/policy.toml"))
    for program in ["vitrine", "vitrine-collector"]:
        check(f"{program} runs there", root.run(program, "--version"))
