"""The guest's root file system, from Debian packages that apt downloads; nothing is installed on this machine."""

import os
import re
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

import cache
from cache import VmError, digest

# What office work and an attack would use.
WANTED = """
acl attr base-files bash bind9-dnsutils bindfs binutils bsdextrautils bsdutils bzip2 ca-certificates coreutils cpio cups-client
curl dash debianutils diffutils
dosfstools e2fsprogs file findutils fuse3 gawk gdb git grep gzip hostname imagemagick-6.q16 iproute2 iputils-ping kmod lftp
libarchive-tools libc-bin libcap2-bin libvips-tools login mount ncurses-base ncurses-bin netcat-openbsd openssh-client openssh-server openssl
passwd perl procps psmisc python3 python3-pil rsync screen sed socat sqlite3 sshfs strace sudo tar tmux unzip util-linux wget
xxd xz-utils zip zstd
""".split()
# What the guest itself runs on.
NEEDED = ["b3sum", "busybox-static"]
# Left out of the image: nobody reads it there.
UNREAD = ["./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*", "./usr/share/info/*", "./usr/share/lintian/*"]
# An installed system would have these links from update-alternatives.
LINKS = {
    "awk": "gawk", "nc": "nc.openbsd", "netcat": "nc.openbsd", "which": "which.debianutils", "lzma": "xz", "pager": "more",
    **{name: f"{name}-im6.q16" for name in ["animate", "compare", "composite", "conjure", "convert", "display", "identify", "import", "mogrify",
                                            "montage", "stream"]},
}
# As if nothing were installed, so that every package that is needed is named.
APT = ["apt-get", "-qq", "-y", "-o", "Dir::State::status=/dev/null", "-o", "APT::Install-Recommends=false", "-o", "Debug::NoLocking=1",
       "-o", "APT::Sandbox::User=root"]


def run(command: list[str], what: str, cwd: Path | None = None) -> str:
    """Runs a command that must succeed, and gives back what it printed."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", cwd=cwd, check=False)
    except FileNotFoundError as error:
        raise VmError(f"{what}: {error.filename} is not installed here") from error
    if done.returncode != 0:
        raise VmError(f"{what}: {' '.join(command[:3])} … ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def remembered(kind: str, question: object, ask: Callable[[], str]) -> str:
    """What apt answers to a question: to ask takes seconds, and until its lists change the answer is the same."""
    key = digest(question, Path("/var/lib/apt/lists").stat().st_mtime_ns)
    return (cache.made(f"{kind}-{key}", lambda room: (room / "answer").write_text(ask())) / "answer").read_text()


def resolve() -> str:
    """Every package with its version and checksum, as apt would install them."""
    def ask() -> str:
        shown = run([*APT, "--print-uris", "install", *WANTED, *NEEDED], "apt does not find the guest's packages; is `apt-get update` needed?")
        return "".join(sorted(re.findall(r"\S+\.deb \d+ \S*\n", shown)))

    return remembered("packages", [WANTED, NEEDED, APT], ask)


def unpack(names: str, tree: Path) -> None:
    """Downloads the packages and unpacks them, as far as possible without running what they bring."""
    debs = cache.directory() / "debs"
    (debs / "partial").mkdir(parents=True, exist_ok=True)
    run([*APT, "-o", f"Dir::Cache::archives={debs}", "--download-only", "install", *WANTED, *NEEDED], "the guest's packages cannot be downloaded")
    for name in ["bin", "sbin", "lib", "lib64"]:
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda line: extract(debs / line.split()[0], tree), names.splitlines()))
    # ssh-keygen wants it.
    os.mknod(tree / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with open(tree / "etc/ssl/certs/ca-certificates.crt", "wb") as bundle:
        for path in sorted((tree / "usr/share/ca-certificates").rglob("*.crt")):
            bundle.write(path.read_bytes())
    for name in ["fusermount3", "ping"]:
        (tree / "usr/bin" / name).chmod(0o4755)  # as their packages' scripts do
    for link, target in LINKS.items():
        (tree / "usr/bin" / link).symlink_to(target)
    run(["chroot", str(tree), "ldconfig"], "the guest's libraries cannot be listed")
    # An emulated processor takes a second to compile what every Python program imports.
    run(["chroot", str(tree), "python3", "-m", "compileall", "-q", "/usr/lib/python3.11"], "the guest's Python cannot be compiled")
    shutil.rmtree(debs)


def extract(deb: Path, tree: Path) -> None:
    options = ["--keep-directory-symlink", "--numeric-owner", "-p", "-x", "-C", str(tree), *(f"--exclude={path}" for path in UNREAD)]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as packed:
        done = subprocess.run(["tar", *options], stdin=packed.stdout, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0 or packed.returncode != 0:
        raise VmError(f"{deb.name} cannot be unpacked: {done.stderr.strip()}")
