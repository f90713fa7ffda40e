"""Large masters in the formats that are slowest to read, against vipsthumbnail: time, and the most memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pictures
from reading import peak
from sample import Row, alternate, spend
from world import Lab, need

SIDE = 10_000


def large(lab: Lab, pairs: int) -> Iterator[Row]:
    vipsthumbnail = need("vipsthumbnail", "libvips-tools")
    vitrine = lab.program("vitrine")
    mosaic = lab.root / "mosaic.v"
    # Detail as photographs have it, none of it magnified: two by three of 24 megapixels.
    pictures.vips("arrayjoin", " ".join(map(str, pictures.large(6))), f"{lab.root}/joined.v", "--across", "2")
    pictures.vips("crop", f"{lab.root}/joined.v", str(mosaic), "0", "0", str(SIDE), str(SIDE))
    (lab.root / "joined.v").unlink()
    try:
        yield from one(lab, pairs, vipsthumbnail, vitrine, "lossless JP2, 100 megapixels", "jp2", ["jp2ksave", mosaic], ["--lossless"])
        yield from one(lab, pairs, vipsthumbnail, vitrine, "LZW TIFF, 100 megapixels", "tif", ["tiffsave", mosaic], ["--compression", "lzw", "--predictor", "horizontal"])
        # Three channels of 16 bits are 600 MB; a strip more below makes it a gigabyte.
        tall = lab.root / "tall.v"
        # arrayjoin of vips 8.14 crashes where one file comes twice.
        pictures.vips("join", str(mosaic), str(mosaic), f"{lab.root}/both.v", "vertical")
        pictures.vips("crop", f"{lab.root}/both.v", str(tall), "0", "0", str(SIDE), str(SIDE * 17 // 10))
        (lab.root / "both.v").unlink()
        pictures.vips("cast", str(tall), f"{lab.root}/deep.v", "ushort", "--shift")
        tall.unlink()
        yield from one(lab, pairs, vipsthumbnail, vitrine, "TIFF in strips, 1 GB", "tif", ["tiffsave", lab.root / "deep.v"], [])
    finally:
        for left in lab.root.glob("*.v"):
            left.unlink()


def one(lab: Lab, pairs: int, vipsthumbnail: str, vitrine: str, what: str, ending: str, save: list, options: list) -> Iterator[Row]:
    file, out = lab.root / f"large.{ending}", lab.root / "small"
    out.mkdir()
    pictures.vips(save[0], str(save[1]), str(file), *options)
    commands = {"vips": [vipsthumbnail, file, "--size", "1024", "-o", f"{out}/%s.jpg"], "vitrine": [vitrine, "fingerprint", file]}
    try:
        times = alternate(pairs, **{name: lambda command=command: spend(command).seconds for name, command in commands.items()})
        peaks = {name: peak(lab, command) for name, command in commands.items()}
    finally:
        file.unlink()
        shutil.rmtree(out)
    yield Row(f"fingerprint of a {what}, against vipsthumbnail", "s", times["vitrine"], times["vips"], "<= 1.5 x")
    yield Row("  peak memory", "MiB", [peaks["vitrine"]], [peaks["vips"]], "<= 256 MiB")
