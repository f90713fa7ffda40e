"""The pictures that are measured with: made once from the wallpapers of Debian's packages, then kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sample import Missing

BACKGROUNDS = Path("/usr/share/backgrounds")
# Sources below this size are mostly drawings of a few colours, which no scanner makes.
LEAST_BYTES = 200_000
TILE = 64


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(home) / "vitrine-benches"
    place.mkdir(parents=True, exist_ok=True)
    return place


def sources() -> list[Path]:
    found = [path for path in sorted(BACKGROUNDS.glob("*/**/*")) if path.suffix in {".jpg", ".png", ".webp"}]
    found = [path for path in found if path.is_file() and path.stat().st_size >= LEAST_BYTES]
    if len(found) < 12:
        raise Missing(f"wallpapers in {BACKGROUNDS}: apt install mate-backgrounds gnome-backgrounds")
    return found


def large(count: int) -> list[Path]:
    """JPEGs of 24 megapixels; where the wallpapers do not suffice, mirrored ones."""
    place = cache() / "24mp"
    place.mkdir(exist_ok=True)
    wallpapers = sources()

    def make(number: int) -> Path:
        target = place / f"{number:02}.jpg"
        if not target.exists():
            source = wallpapers[number % len(wallpapers)]
            upright = place / f"{number:02}.v"
            size = ["6000", "--height", "4000", "--crop", "centre", "--export-profile", "srgb"]
            vips("thumbnail", str(source), str(upright), *size)
            if number >= len(wallpapers):
                vips("flip", str(upright), f"{target}.new.jpg[Q=92,strip]", "horizontal")
            else:
                vips("jpegsave", str(upright), f"{target}.new.jpg", "--Q", "92", "--strip")
            upright.unlink()
            Path(f"{target}.new.jpg").rename(target)
        return target

    with ThreadPoolExecutor(2) as makers:
        return list(makers.map(make, range(count)))


def tiny(count: int) -> Path:
    """A directory with so many JPEGs of 64 x 64 pixels, no two alike, cut from the large ones."""
    place = cache() / f"tiny-{count}"
    if place.exists():
        return place
    making = cache() / f"tiny-{count}.new"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    seen: set[bytes] = set()
    for number, picture in enumerate(large(24)):
        cut = cache() / "cut"
        shutil.rmtree(f"{cut}_files", ignore_errors=True)
        vips("dzsave", str(picture), str(cut), "--tile-size", str(TILE), "--overlap", "0", "--depth", "one",
             "--suffix", ".jpg[Q=80]")
        for tile in sorted(Path(f"{cut}_files/0").iterdir()):
            digest = hashlib.sha256(tile.read_bytes()).digest()
            if len(seen) < count and digest not in seen:
                seen.add(digest)
                tile.rename(making / f"T{number:02}_{tile.name}")
        shutil.rmtree(f"{cut}_files", ignore_errors=True)
        Path(f"{cut}.dzi").unlink(missing_ok=True)
        if len(seen) == count:
            return making.rename(place)
    raise Missing(f"only {len(seen)} different tiles could be cut, {count} are needed")


def vips(*arguments: str) -> None:
    done = subprocess.run(["vips", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"vips {' '.join(arguments)}: {done.stderr.strip()}")
