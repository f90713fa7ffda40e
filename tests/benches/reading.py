"""Reading files: digests against b3sum, indexing against vipsthumbnail."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pictures
from sample import Row, alternate, spend
from world import Lab, need

GIBIBYTE = 1 << 30
LARGE = 24
UNCHANGED = 10_000


def blake3(lab: Lab, pairs: int) -> Iterator[Row]:
    b3sum = need("b3sum", "b3sum")
    vitrine = lab.program("vitrine")
    file = lab.root / "gibibyte"
    block = os.urandom(1 << 20)
    with file.open("wb") as out:
        for _ in range(GIBIBYTE >> 20):
            out.write(block)
    commands = {"b3sum": [b3sum, "--num-threads", "1", "--no-mmap", file], "vitrine": [vitrine, "fingerprint", file]}
    rates: dict[str, list[float]] = {"b3sum": [], "vitrine": []}

    def hashing(name: str) -> float:
        spent = spend(commands[name])
        rates[name].append(GIBIBYTE / 1e9 / spent.processor)
        return GIBIBYTE / 1e9 / spent.seconds

    try:
        wall = alternate(pairs, b3sum=lambda: hashing("b3sum"), vitrine=lambda: hashing("vitrine"))
        peaks = {name: peak(lab, command) for name, command in commands.items()}
    finally:
        file.unlink()
    target = ">= 0.95 of b3sum's throughput"
    yield Row("fingerprint of 1 GiB, warm, against b3sum", "GB/s", wall["vitrine"], wall["b3sum"], target)
    yield Row("  by processor time", "GB/s", rates["vitrine"], rates["b3sum"])
    yield Row("  peak memory", "MiB", [peaks["vitrine"]], [peaks["b3sum"]], "flat")


def index(lab: Lab, pairs: int) -> Iterator[Row]:
    need("vipsthumbnail", "libvips-tools")
    vitrine = lab.program("vitrine")
    large = pictures.large(LARGE)
    collection, thumbnails = lab.root / "large", lab.root / "thumbnails"
    collection.mkdir()
    for picture in large:
        shutil.copy(picture, collection)
    names = lab.root / "names"
    names.write_text("".join(f"{path}\n" for path in sorted(collection.iterdir())))
    processors: dict[str, list[float]] = {"vips": [], "vitrine": []}

    def rate(name: str, command: list[object], **more: object) -> float:
        spent = spend(command, **more)
        processors[name].append(LARGE / spent.processor)
        return LARGE / spent.seconds

    def vips() -> float:
        thumbnails.mkdir()
        # Two at a time on one thread each do best on two cores; half of the files for each start.
        each = ["xargs", "-a", names, "-P2", f"-n{LARGE // 2}", "vipsthumbnail", "-o", f"{thumbnails}/%s.jpg"]
        taken = rate("vips", each, env={**os.environ, "VIPS_CONCURRENCY": "1"})
        shutil.rmtree(thumbnails)
        return taken

    def build() -> float:
        taken = rate("vitrine", [vitrine, "index", "build", collection, "--index", lab.root / "large.db"])
        forget(lab, "large.db")
        return taken

    samples = alternate(pairs, vips=vips, vitrine=build)
    shutil.rmtree(collection)
    target = ">= 0.8 of vipsthumbnail's rate"
    what = "index of 24-megapixel JPEGs, against vipsthumbnail"
    yield Row(what, "/s", samples["vitrine"], samples["vips"], target)
    yield Row("  by processor time", "/s", processors["vitrine"], processors["vips"])


def unchanged(lab: Lab, pairs: int) -> Iterator[Row]:
    """Again over what is in the index: looked at, not read."""
    build = [lab.program("vitrine"), "index", "build", pictures.tiny(UNCHANGED), "--index", lab.root / "tiny.db"]
    spend(build)
    samples = [spend(build).seconds for _ in range(pairs)]
    forget(lab, "tiny.db")
    yield Row(f"{UNCHANGED:,} unchanged files looked at again", "s", samples, target="<= 1 s")


def forget(lab: Lab, index: str) -> None:
    """Removes an index with what lies beside it."""
    for left in lab.root.glob(f"{index}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def peak(lab: Lab, command: list[object]) -> float:
    """Most memory of a command or one of its children, in MiB."""
    done = subprocess.run([lab.compiled("peak"), *command], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) / 1024
