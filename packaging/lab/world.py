"""The lab's workstation: its disks, its pictures, its policy.

With the gate everything that is guarded lies on file systems of the lab's own, so that no file system of
this machine is marked: three ext4 images, loop-mounted in a mount namespace that ends with the lab. Without
root the same places are plain directories.
"""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONVERT = Path("/usr/bin/convert-im6.q16")
IDENTIFY = Path("/usr/bin/identify-im6.q16")
PICTURES = [Path("/usr/share/backgrounds"), Path("/usr/share/wallpapers")]
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "glusterfs", "lustre", "davfs"}
# Smaller ones are no scans: nothing would be left to downsize.
LEAST_PIXELS = 12_000_000
MASTERS = 6
LEAST_MASTERS = 3
# A scan that was ordered by a licensee: too close to the master for the web.
NEAR = "90%"
# Fits twice into 6 megapixels, whatever the shape of the picture.
WEB = "2400x2400>"


class LabError(Exception):
    """Why the lab cannot be built, told to the person who ran it."""


class World:
    """Where everything lies."""

    def __init__(self, root: Path, guard: str):
        self.root = root
        self.guard = guard
        self.workstation = root / "workstation"
        self.usb = root / "usb"
        self.server = root / "server"
        self.masters = self.workstation / "masters"
        self.vault = self.workstation / "vault"
        self.web = self.workstation / "work" / "web"
        self.near = self.workstation / "work" / "licensees"
        self.copies = self.workstation / "work" / "copies"
        self.website = self.workstation / "website"
        self.sync = self.workstation / "Nextcloud"
        self.archive = self.server / "archive"
        self.outside = root / "outside"
        self.state = root / "agent"
        self.data = root / "collector"
        self.log = root / "log"
        self.policy = root / "policy.toml"
        self.config = root / "agent.toml"
        self.motifs: list[str] = []
        self.scans: list[Path] = []
        self.sealed: list[Path] = []
        self.holiday: Path | None = None
        self.old_copy: Path | None = None

    @property
    def gate(self) -> bool:
        return self.guard == "gate"

    def build(self) -> None:
        """Disks, directories and pictures; the policy comes last, when everything that it names is there."""
        self.log.mkdir()
        if self.gate:
            self.hide_other_disks()
        for disk, label, size in [(self.workstation, "workstation", "3G"), (self.usb, "USB-DISK", "2G"), (self.server, "server", "2G")]:
            disk.mkdir()
            if self.gate:
                self.mount(disk, label, size)
        places = [self.masters, self.vault, self.web, self.near, self.copies, self.website, self.sync, self.archive, self.outside]
        for place in places:
            place.mkdir(parents=True)
        for private in [self.state, self.data]:
            private.mkdir(mode=0o700)
        self.make_pictures(find_pictures())
        self.policy.write_text(policy_text(self))

    def remove(self) -> None:
        """Leaves nothing of it."""
        if self.gate:
            for disk in [self.workstation, self.usb, self.server]:
                subprocess.run(["umount", "--lazy", str(disk)], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def hide_other_disks(self) -> None:
        """Takes the USB disks, shares and loop mounts of this machine out of the lab's mount namespace, and of
        no other: the agent would guard them, because no policy names them."""
        needed = [self.root, HERE, CONVERT]
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            fields = line.split()
            kind = fields[fields.index("-") + 1]
            point = Path(fields[4].encode().decode("unicode_escape"))
            if (kind in NETWORK or kind.startswith("fuse") or is_foreign_disk(fields[2])) and not any(path.is_relative_to(point) for path in needed):
                subprocess.run(["umount", "--lazy", str(point)], stdin=subprocess.DEVNULL, capture_output=True, check=False)

    def mount(self, disk: Path, label: str, size: str) -> None:
        image = self.root / f"{label}.img"
        with open(image, "wb") as file:
            file.truncate(int(size.rstrip("G")) << 30)
        self.must(["mkfs.ext4", "-q", "-F", "-L", label, "-m", "0", "-E", "lazy_itable_init=1,nodiscard", str(image)], "a disk could not be made")
        self.must(["mount", "-o", "loop,nosuid,nodev", str(image), str(disk)], "a disk could not be mounted")

    def make_pictures(self, found: list[Path]) -> None:
        """Turns pictures of this machine into scans: names as in a collection, formats as scanners write them."""
        ways = [["-compress", "LZW"], ["-depth", "16", "-compress", "Zip"], ["-compress", "JPEG", "-quality", "95"], ["-define", "tiff:tile-geometry=256x256", "-compress", "None"]]
        self.motifs = [picture.stem for picture in found]
        jobs = []
        for number, picture in enumerate(found):
            sealed = self.gate and number >= len(found) - 2
            folder, first = (self.vault, 2001) if sealed else (self.masters, 1042)
            scan = folder / f"KP{first + number}_0001.tif"
            (self.sealed if sealed else self.scans).append(scan)
            jobs.append([str(CONVERT), str(picture), "-alpha", "off", *ways[number % len(ways)], str(scan)])
        # A copy that somebody made long ago, before anything watched.
        self.old_copy = self.outside / "from-an-old-disk.jpg"
        jobs.append([str(CONVERT), str(found[0]), "-alpha", "off", "-resize", NEAR, "-quality", "92", str(self.old_copy)])
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(lambda job: self.must(job, "a picture could not be converted"), jobs))
        self.holiday = self.outside / "holiday.jpg"
        self.must([str(CONVERT), str(unrelated(found)), "-quality", "90", str(self.holiday)], "a picture could not be converted")

    def must(self, command: list[str], what: str) -> None:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"{what}: {' '.join(command)}: {done.stderr.strip()}")


def is_foreign_disk(numbers: str) -> bool:
    """Whether a block device is a loop device, removable or on USB (sysfs)."""
    device = Path("/sys/dev/block") / numbers
    if not device.exists():
        return False
    disk = device.resolve()
    whole = disk.parent if (disk / "partition").exists() else disk
    removable = whole / "removable"
    return disk.name.startswith(("loop", "nbd")) or "/usb" in str(disk) or (removable.exists() and removable.read_text().strip() == "1")


def find_pictures() -> list[Path]:
    """Large pictures of this machine, one of each motif, the largest first."""
    motifs: dict[str, tuple[int, Path]] = {}
    for path in sorted(path for folder in PICTURES for path in folder.rglob("*")):
        if path.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"} or path.is_symlink():
            continue
        # Night versions of a picture differ from it in colour alone.
        if re.search(r"-d\.|_dark|symbolic", str(path)) or path.stat().st_size < 500_000:
            continue
        pixels = size_of(path)
        if pixels < LEAST_PIXELS:
            continue
        name = path.parents[2].name if path.parts[3] == "wallpapers" else path.stem
        motif = re.sub(r"[_-]?(\d+x\d+|l)$", "", name)
        motifs[motif] = max(motifs.get(motif, (0, path)), (pixels, path))
    found = [path for _, path in sorted(motifs.values(), reverse=True)][:MASTERS]
    if len(found) < LEAST_MASTERS:
        raise LabError(f"{len(found)} pictures of at least {LEAST_PIXELS // 1_000_000} megapixels lie in {' and '.join(map(str, PICTURES))}; "
                       f"{LEAST_MASTERS} are needed: install mate-backgrounds and gnome-backgrounds")
    return found


def unrelated(masters: list[Path]) -> Path:
    """A picture that is none of the masters, nor a smaller version of one."""
    motifs = {re.split(r"[_-]", path.stem)[0].lower() for path in masters}
    for path in sorted(path for folder in PICTURES for path in folder.rglob("*.jpg")):
        if re.split(r"[_-]", path.stem)[0].lower() not in motifs and 0 < size_of(path) < LEAST_PIXELS:
            return path
    raise LabError("no small picture to stand for an unrelated one lies in /usr/share/backgrounds: install mate-backgrounds")


def size_of(path: Path) -> int:
    """Pixels of a picture; 0 for what is none."""
    done = subprocess.run([str(IDENTIFY), "-ping", "-format", "%w %h\n", str(path)], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return int(words[0]) * int(words[1]) if done.returncode == 0 and len(words) >= 2 else 0


def policy_text(world: World) -> str:
    """The lab's policy. With the gate the USB disk is named nowhere: it is `elsewhere`."""
    def quoted(path: Path) -> str:
        return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'

    vault = f"""
[[collection]]
name = "vault"
paths = [{quoted(world.vault)}]
include = ["*.tif"]
object = '^(?<object>KP[0-9]+)_'
opened-by = ["magick"]                    # nobody else may open these masters
""" if world.gate else ""
    usb = "" if world.gate else f"""
[[destination]]
name = "USB disk"                         # a plain directory here; a real disk is `elsewhere` without being named
paths = [{quoted(world.usb)}]
ceiling = "none"
"""
    server = "mounts" if world.gate else "paths"
    return f"""version = 1
mode = "enforce"

[[collection]]
name = "masters"
paths = [{quoted(world.masters)}]
include = ["*.tif"]
object = '^(?<object>KP[0-9]+)_'
{vault}
[[tier]]
name = "public"
max-megapixels = 6
max-scale = 0.6
max-bit-depth = 8

[[tier]]
name = "licensed"
max-megapixels = 20
max-scale = 0.92

[[destination]]
name = "website"                          # what lies here is on the web tonight
paths = [{quoted(world.website)}]
ceiling = "public"

[[destination]]
name = "museum's server"                  # the museum's own, and still no place for a master
{server} = [{quoted(world.server)}]
ceiling = "public"

[[destination]]
name = "archive"                          # one directory of that server
paths = [{quoted(world.archive)}]
ceiling = "master"

[[destination]]
name = "sync folder"
paths = [{quoted(world.sync)}]
ceiling = "none"
{usb}
[elsewhere]
ceiling = "none"

[[program]]
name = "magick"
path = "{CONVERT}"

[[test]]
transfer = {{ tier = "public", to = {quoted(world.website)} }}
expect = "allow"

[[test]]
transfer = {{ tier = "licensed", to = {quoted(world.website)} }}
expect = "block"

[[test]]
transfer = {{ tier = "master", to = {quoted(world.sync)} }}
expect = "block"

[[test]]
transfer = {{ tier = "master", to = {quoted(world.archive)} }}
expect = "allow"
"""
