"""The guest's disks: its root, its data, an empty USB disk and an empty raw disk."""

import os
import shutil
from pathlib import Path

import cache
import packages
from cache import HERE, TOP, VmError, digest
from packages import run

PICTURES = TOP.parent / "shared" / "pictures" / "masters"
# Small, so that an emulated processor measures them in a moment; the lab's tiers fit.
SCAN = ["-resize", "500000@>", "-alpha", "off", "-type", "TrueColor", "-depth", "8", "-compress", "None"]
SCANS = [
    *(f"srv/scans/masters/KP{1042 + number}_0001.tif" for number in range(4)),
    *(f"srv/scans/work/KP{2001 + number}_0001.tif" for number in range(3)),
    "home/staff/resize/in/KP3001_0001.tif",
]
HOLIDAY = "home/staff/Pictures/holiday.jpg"
MIB = 1 << 20
USB_SIZE = 96 * MIB
RAW_SIZE = 20 * MIB
STAFF, KEEPER = 1000, 1001

ETC = {
    "passwd": f"""root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
staff:x:{STAFF}:{STAFF}:Staff:/home/staff:/bin/bash
keeper:x:{KEEPER}:{KEEPER}:Keeper of the remote hosts:/home/keeper:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
""",
    "shadow": "root:*:19700::::::\nstaff:*:19700::::::\nkeeper:*:19700::::::\n",
    "group": f"root:x:0:\ntty:x:5:\ndisk:x:6:\nshadow:x:42:\nstaff:x:{STAFF}:\nkeeper:x:{KEEPER}:\nnogroup:x:65534:\n",
    "hosts": """127.0.0.1 localhost workstation
::1 localhost
203.0.113.10 cms.museum.example
2001:db8:a::10 cms.museum.example
198.51.100.20 drop.example.net
2001:db8:b::20 drop.example.net
""",
    "resolv.conf": "nameserver 198.51.100.20\noptions timeout:1 attempts:1\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "hostname": "workstation\n",
    "machine-id": "76697472696e6500766d000074657374\n",
    "fuse.conf": "user_allow_other\n",
    "ssh/sshd_config": """HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/keeper_keys
AuthenticationMethods publickey
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
""",
}
MOUNT_POINTS = ["data", "dev", "home", "media/staff/usb", "media/staff/fuse", "mnt", "proc", "run", "srv", "sys", "tmp", "vm", "with", "root",
                "etc/vitrine", "var/lib/vitrine", "var/lib/vitrine-collector", "var/sinks"]


class Disks:
    """The images, from the cache. `busybox` is the static one of the root."""

    def __init__(self) -> None:
        names = packages.resolve()
        builder = [(HERE / name).read_bytes() for name in ["image.py", "packages.py"]]
        key = digest(names, *builder, *map(str, pictures()))
        where = cache.made(f"disks-{key}", lambda room: build(names, room))
        self.root, self.data, self.usb, self.raw = (where / f"{name}.img" for name in ["root", "data", "usb", "raw"])
        self.busybox = where / "busybox"


def pictures() -> list[Path]:
    """Pictures to make the scans of: of several kinds. None where this tree stands alone."""
    found = sorted(PICTURES.glob("*.jpg"))
    return found[:: len(found) // (len(SCANS) + 1)][: len(SCANS) + 1] if len(found) > len(SCANS) else []


def build(names: str, room: Path) -> None:
    if os.geteuid() != 0:
        raise VmError("to make the guest's disks takes root")
    tree, data = room / "tree", room / "data"
    packages.unpack(names, tree)
    for name in MOUNT_POINTS:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, text in ETC.items():
        path = tree / "etc" / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "etc/shadow").chmod(0o600)
    (tree / "etc/mtab").symlink_to("../proc/self/mounts")
    shutil.copy2(tree / "usr/bin/busybox", room / "busybox")
    make_data(tree, data)
    for name, source, size in [("root", tree, used(tree) + 400 * MIB), ("data", data, 256 * MIB), ("usb", None, USB_SIZE)]:
        format_disk(room / f"{name}.img", source, size)
    with open(room / "raw.img", "wb") as raw:
        raw.truncate(RAW_SIZE)
    shutil.rmtree(tree)
    shutil.rmtree(data)


def drawn(number: int) -> list[str]:
    """Clouds with coloured squares, grainy: a picture that has what a scan is known again by."""
    size, seed = "1000x700", ["-seed", str(number)]
    squares = ["(", "-size", "40x28", *seed, "xc:", "+noise", "Random", "-scale", f"{size}!", ")"]
    blend = ["-compose", "blend", "-define", "compose:args=35", "-composite"]
    return ["-size", size, *seed, "plasma:fractal", *squares, *blend, "-attenuate", "0.5", "+noise", "Gaussian"]


def make_data(tree: Path, data: Path) -> None:
    """Home directories and scans. ImageMagick and ssh-keygen are those of the guest."""
    for directory in [*(Path(name).parent for name in [*SCANS, HOLIDAY]), "home/staff/Nextcloud", "home/staff/.ssh"]:
        (data / directory).mkdir(parents=True, exist_ok=True)
    work = tree / "tmp/making"
    work.mkdir()
    sources = pictures() or [None] * (len(SCANS) + 1)
    for number, (source, name) in enumerate(zip(sources, [*SCANS, HOLIDAY])):
        if source:
            shutil.copy(source, work / "picture")
        given = ["/tmp/making/picture"] if source else drawn(number)
        made = "made" + Path(name).suffix
        run(["chroot", str(tree), "convert", *given, *SCAN, f"/tmp/making/{made}"], "a scan cannot be made")
        shutil.copyfile(work / made, data / name)
    key = data / "home/staff/.ssh/id_ed25519"
    for made, place in [("staff", key), ("host", tree / "etc/ssh/ssh_host_ed25519_key")]:
        run(["chroot", str(tree), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", made, "-f", f"/tmp/making/{made}"], "a key cannot be made")
        shutil.copy(work / made, place)
        place.chmod(0o600)
    shutil.copy(work / "staff.pub", tree / "etc/ssh/keeper_keys")
    hosts = "cms.museum.example,203.0.113.10,2001:db8:a::10,drop.example.net,198.51.100.20,2001:db8:b::20"
    (key.parent / "known_hosts").write_text(f"{hosts} {(work / 'host.pub').read_text()}")
    shutil.rmtree(work)
    run(["chown", "-R", f"{STAFF}:{STAFF}", str(data / "home/staff"), str(data / "srv/scans/work")], "directories cannot be given away")

    (data / "home/staff/.ssh").chmod(0o700)


def used(tree: Path) -> int:
    return int(run(["du", "-s", "-B1", str(tree)], "a tree cannot be measured").split()[0])


def format_disk(image: Path, source: Path | None, size: int) -> None:
    """An ext4 file system with what `source` holds. No journal: the disk is thrown away after the run."""
    command = ["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0,lazy_itable_init=1"]
    filled = ["-d", str(source)] if source else []
    run([*command, *filled, str(image), f"{size // 1024}k"], f"{image.name} cannot be made")
