"""A Debian kernel for the guest: found, unpacked (never installed), and given a small first root."""

import lzma
import re
import shutil
import subprocess
from pathlib import Path

import cache
from cache import HERE, VmError, digest
from packages import remembered, run

# The package that always depends on the newest kernel of a series.
NEWEST = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}
# What the guest needs, and what an attack on it would want, before and after they were built in; the guest loads
# nothing later.
MODULES = """
virtio_pci virtio_blk virtio_console crc32c_generic ext4 veth overlay loop nls_cp437 nls_ascii nls_iso8859_1 vfat exfat fuse
sctp vsock vsock_loopback tun af_alg algif_hash algif_skcipher dm_mod
""".split()


class Kernel:
    """An unpacked kernel and its first root."""

    def __init__(self, wanted: str, busybox: Path):
        deb = newest(wanted) if wanted in NEWEST else Path(wanted).absolute()
        if not deb.is_file():
            raise VmError(f"--kernel {wanted}: no such package, and none of the series {' and '.join(NEWEST)}")
        init = HERE / "guest" / "init"
        key = digest(deb.name, deb.stat().st_size, init.read_bytes(), Path(__file__).read_bytes())
        where = cache.made(f"kernel-{key}", lambda room: unpack(deb, busybox, init, room))
        self.name = deb.name
        self.image = where / "vmlinuz"
        self.initrd = where / "initrd"


def newest(series: str) -> Path:
    """The newest package of a series, from apt."""
    def ask() -> str:
        shown = run(["apt-cache", "depends", "--important", NEWEST[series]], f"apt knows no kernel {series}")
        found = re.search(r"Depends: (linux-image-[0-9]\S*)", shown)
        if not found:
            raise VmError(f"{NEWEST[series]} names no kernel; is `apt-get update` needed?")
        version = run(["apt-cache", "show", "--no-all-versions", found[1]], f"apt does not show {found[1]}")
        return f"{found[1]}={re.search(r'^Version: (.*)$', version, re.M)[1]}"

    package = remembered("series", NEWEST[series], ask)
    where = cache.made(f"deb-{digest(package)}", lambda room: download(package, room))
    return next(where.glob("*.deb"))


def download(package: str, room: Path) -> None:
    run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], f"{package} cannot be downloaded", cwd=room)


def unpack(deb: Path, busybox: Path, init: Path, room: Path) -> None:
    """The kernel, and a cpio archive with busybox, `init` and the modules in the order of loading."""
    tree, first = room / "tree", room / "first"
    run(["dpkg-deb", "-x", str(deb), str(tree)], f"{deb} is no package")
    shutil.move(next((tree / "boot").glob("vmlinuz-*")), room / "vmlinuz")
    (first / "modules").mkdir(parents=True)
    files = {path.name.split(".")[0].replace("-", "_"): path for path in tree.rglob("*.ko*")}
    order: list[str] = []
    for name in MODULES:
        add(name, files, order, first / "modules")
    (first / "order").write_text("".join(f"{name}\n" for name in order))
    shutil.copy2(busybox, first / "busybox")
    shutil.copy2(init, first / "init")
    names = "".join(f"{path.relative_to(first)}\n" for path in sorted(first.rglob("*")))
    with open(room / "initrd", "wb") as archive:
        command = [str(busybox), "cpio", "-o", "-H", "newc"]
        subprocess.run(command, input=names.encode(), stdout=archive, stderr=subprocess.DEVNULL, cwd=first, check=True)
    shutil.rmtree(tree)
    shutil.rmtree(first)


def add(name: str, files: dict[str, Path], order: list[str], place: Path) -> None:
    """A module, behind those that it depends on. One that is no file is built in."""
    if name in order or name not in files:
        return
    content = files[name].read_bytes()
    if files[name].suffix == ".xz":
        content = lzma.decompress(content)
    depends = re.search(rb"\0depends=([^\0]*)\0", content)
    for other in depends[1].decode().split(",") if depends else []:
        add(other.replace("-", "_"), files, order, place)
    (place / name).write_bytes(content)
    order.append(name)
