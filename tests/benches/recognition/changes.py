"""Changed copies of pictures, with what is known of each: which master, how much of it, at what scale.

Every change is drawn from a generator that the master's name seeds, so that two runs make the same copies."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

Image.MAX_IMAGE_PIXELS = None
LARGEST = 2400  # longer side of copies that are neither crops nor tiles, in pixels


@dataclass
class Copy:
    """One changed copy: `scale` is a length in it over the length in the master, `coverage` the share of the master's
    area that it shows."""

    group: str
    change: str
    picture: Image.Image
    scale: float
    coverage: float = 1.0
    form: str = "JPEG"
    quality: int = 85
    around: str | None = None  # another picture that it shows as well

    def bytes(self) -> bytes:
        buffer = io.BytesIO()
        self.picture.save(buffer, self.form, quality=self.quality)
        return buffer.getvalue()


def fit(picture: Image.Image, longer: int) -> tuple[Image.Image, float]:
    """Not larger than `longer`, and the scale."""
    scale = min(1.0, longer / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return (picture if scale == 1.0 else picture.resize(size, Image.Resampling.LANCZOS)), scale


def crop(picture: Image.Image, share: float, chance: random.Random, centred: bool = False, stretch: float = 1.0) -> tuple[Image.Image, float]:
    """A part with `share` of the area, `stretch` times as wide for its height, and the share that it really has."""
    width = min(picture.width, round(picture.width * math.sqrt(share * stretch)))
    height = min(picture.height, round(picture.height * math.sqrt(share / stretch)))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    if not centred:
        left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height)), width * height / (picture.width * picture.height)


def framed(picture: Image.Image, share: float, chance: random.Random) -> Image.Image:
    colour = tuple(chance.randrange(256) for _ in range(3))
    return ImageOps.expand(picture, round(min(picture.size) * share), colour)


def written(text: str, height: int) -> Image.Image:
    """The text in white on black, `height` pixels high: Pillow's own font, enlarged, is there on any machine."""
    font = ImageFont.load_default()
    left, top, right, bottom = font.getbbox(text)
    small = Image.new("L", (right - left, bottom - top), 0)
    ImageDraw.Draw(small).text((-left, -top), text, fill=255, font=font)
    return small.resize((max(1, round(small.width * height / small.height)), height), Image.Resampling.BICUBIC)


def watermarked(picture: Image.Image) -> Image.Image:
    layer = Image.new("L", picture.size, 0)
    step = max(60, max(picture.size) // 8)
    word = written("SAMPLE", step // 4).point(lambda level: level * 130 // 255)
    for y in range(0, picture.height + step, step):
        for x in range(0, picture.width + step, step):
            layer.paste(word, (x, y))
    white = Image.new("RGB", picture.size, (255, 255, 255))
    return Image.composite(white, picture, layer.rotate(20))


def captioned(picture: Image.Image) -> Image.Image:
    bar = max(24, picture.height // 8)
    page = Image.new("RGB", (picture.width, picture.height + bar), (245, 245, 245))
    page.paste(picture, (0, 0))
    text = written("Collection of prints, 1897", round(bar / 2.5))
    page.paste((20, 20, 20), (bar // 4, picture.height + bar // 4), text)
    return page


def photographed(picture: Image.Image, chance: random.Random) -> tuple[Image.Image, float]:
    """As a telephone sees a screen: at an angle, with the screen's lines, too bright in a corner, noisy, not sharp; and
    the scale at which the picture is seen."""
    width, height = picture.size
    shift = lambda: chance.uniform(0.01, 0.07)
    left, right, above, below = shift() * width, shift() * width, shift() * height, shift() * height
    corners = [(left, above), (width - shift() * width, shift() * height), (width - right, height - below), (shift() * width, height - shift() * height)]
    rows = []
    target = [(0, 0), (width, 0), (width, height), (0, height)]
    for (x, y), (u, v) in zip(corners, target):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    right_side = [value for point in target for value in point]
    coefficients = numpy.linalg.solve(numpy.array(rows, float), numpy.array(right_side, float))
    warped = picture.transform(picture.size, Image.Transform.PERSPECTIVE, tuple(coefficients), Image.Resampling.BICUBIC, fillcolor=(18, 18, 20))
    levels = numpy.asarray(warped, numpy.float32)
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float32)
    lines = 1 + 0.05 * numpy.sin(x * 2 * math.pi / 3.1 + y * 0.05) + 0.04 * numpy.sin(y * 2 * math.pi / 5.3 + x * 0.03)
    glare = 60 * numpy.exp(-(((x - width * 0.75) / (width * 0.3)) ** 2 + ((y - height * 0.25) / (height * 0.3)) ** 2))
    noise = numpy.random.default_rng(chance.randrange(1 << 30)).normal(0, 5, levels.shape)
    levels = 255 * (numpy.clip(levels * lines[..., None] * 0.85 + glare[..., None] + noise, 0, 255) / 255) ** 0.9
    area = sum(x * v - u * y for (x, y), (u, v) in zip(corners, corners[1:] + corners[:1])) / 2
    return Image.fromarray(levels.astype(numpy.uint8)).filter(ImageFilter.GaussianBlur(0.8)), math.sqrt(area / (width * height))


def curve(picture: Image.Image, *tables: Callable[[float], float]) -> Image.Image:
    """Each channel through its curve, 0 to 1."""
    points = [min(255, max(0, round(255 * table(level / 255)))) for table in tables for level in range(256)]
    return picture.point(points)


def copies(name: str, master: Image.Image, others: list[Path]) -> Iterator[Copy]:
    """All changed copies of one master, whose full size is that of `master`."""
    chance = random.Random(name)
    base, scale = fit(master, LARGEST)
    for longer in (2000, 1000, 600, 300):
        small, by = fit(master, longer)
        yield Copy("resize", f"resize {longer}", small, by)
    middle, by = fit(master, 1600)
    for quality in (85, 50, 20):
        yield Copy("resize", f"JPEG {quality}", middle, by, quality=quality)
    yield Copy("resize", "WebP 60", middle, by, form="WEBP", quality=60)
    yield Copy("resize", "grey", ImageOps.grayscale(middle), by)
    yield Copy("resize", "colour shift", curve(middle, lambda v: v * 1.1, lambda v: v * 0.95, lambda v: v * 0.8 + 0.05), by)
    yield Copy("resize", "gamma", curve(middle, *[lambda v: v**1.5] * 3), by)
    small, tiny = fit(master, 150)
    yield Copy("resize 150", "resize 150", small, tiny)
    yield Copy("watermark; caption", "watermark", watermarked(middle), by)
    yield Copy("watermark; caption", "caption", captioned(middle), by)
    yield Copy("border", "border 5 %", framed(middle, 0.05, chance), by)
    yield Copy("border", "border 15 %", framed(middle, 0.15, chance), by)
    yield Copy("quarter turns, flip", "rotate 90", middle.transpose(Image.Transpose.ROTATE_90), by)
    yield Copy("quarter turns, flip", "rotate 180", middle.transpose(Image.Transpose.ROTATE_180), by)
    yield Copy("quarter turns, flip", "flip", ImageOps.mirror(middle), by)
    for angle in (3, 15):
        turned = middle.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255))
        yield Copy("rotate 3, 15", f"rotate {angle}", turned, by)
    for share in (0.9, 0.75, 0.5):
        part, covered = crop(master, share, chance)
        yield Copy("crop 90-50 %", f"crop {share:.0%}", part, 1.0, covered)
    for change, centred, stretch in (("centred", True, 1.0), ("anywhere", False, 1.0), ("other aspect", False, 1.8)):
        part, covered = crop(master, 0.25, chance, centred, stretch)
        yield Copy("crop 25 %", f"crop 25 % {change}", part, 1.0, covered)
    for parts, group in ((2, "2x2 tile"), (4, "4x4 tile")):
        left, top = (chance.randrange(parts) for _ in range(2))
        width, height = master.width // parts, master.height // parts
        tile = master.crop((left * width, top * height, (left + 1) * width, (top + 1) * height))
        yield Copy(group, group, tile, 1.0, width * height / (master.width * master.height))
    photo, seen = photographed(middle, chance)
    yield Copy("photo of a screen", "photo of a screen", photo, fit(master, 1600)[1] * seen)
    part, covered = crop(master, 0.5, chance)
    small, by = fit(part, 600)
    yield Copy("crop 50 % + 600 px + q50", "crop 50 % + 600 px + q50", small, by, covered, quality=50)
    part, covered = crop(master, 0.25, chance)
    small, by = fit(part, 300)
    yield Copy("crop 25 % + 300 px + q50", "crop 25 % + 300 px + q50", small, by, covered, quality=50)
    part, covered = crop(master, 0.25, chance)
    small, by = fit(part, LARGEST)
    yield Copy("crop 25 % + grey + turned", "crop 25 % + grey + turned", ImageOps.grayscale(small).transpose(Image.Transpose.ROTATE_90), by, covered)
    other = chance.choice(others)
    with Image.open(other) as around:
        page = ImageOps.fit(around.convert("RGB"), (1600, 1200))
    inside, within = fit(base, round(0.4 * 1600))
    if inside.height > 0.9 * page.height:
        inside, within = fit(base, round(0.9 * page.height))
    page.paste(inside, (chance.randint(0, page.width - inside.width), chance.randint(0, page.height - inside.height)))
    yield Copy("collage at 40 %", "collage at 40 %", page, within * scale, around=str(other))


def is_blank(picture: Image.Image) -> bool:
    """The rule by which a copy counts as one that nobody could recognise, made before any measurement: brought to 256
    pixels and freed from slow changes, fewer than four of its blocks of 16 x 16 pixels spread by 6 grey levels."""
    small = ImageOps.grayscale(fit(picture, 256)[0])
    levels = numpy.asarray(small, numpy.float32)
    detail = levels - numpy.asarray(small.filter(ImageFilter.BoxBlur(8)), numpy.float32)
    spread = [detail[y : y + 16, x : x + 16].std() for y in range(0, detail.shape[0] - 15, 16) for x in range(0, detail.shape[1] - 15, 16)]
    return sum(value >= 6 for value in spread) < 4
