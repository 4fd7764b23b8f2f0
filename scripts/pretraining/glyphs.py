"""Pretraining images of vit_digits: letters and signs in matplotlib's fonts, distorted like handwriting; no digits."""

import math
import random
from functools import cache

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 8
CANVAS = 48
# Look-alikes (c C, x X) are one class. O, o, l, I, i and | are left out, because they look like 0 and 1.
LETTERS = "A a B b Cc D d E e F f G g H h J j Kk L M m N n Pp Q q R r Ss T t Uu Vv Ww Xx Y y Zz"
CLASSES = f"{LETTERS} + = < > / \\ ? # % & @ * ^ ~".split()
FONTS = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic"]
FONTS += ["STIXGeneral", "STIXGeneralItalic", "cmr10", "cmss10"]


def draw(rng: random.Random) -> tuple[np.ndarray, int]:
    """Draw a glyph of a random class: its image (8, 8), uint8, bright ink on background 0, and its class number."""
    label = rng.randrange(len(CLASSES))
    image = _distort(_ink(rng.choice(CLASSES[label]), rng.choice(FONTS), rng.choice([0, 0, 1, 2])), rng)
    pixels = np.asarray(_fit(image).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    pixels = pixels * (rng.uniform(200, 255) / max(pixels.max(), 1.0))
    noise = np.array([rng.gauss(0, 8) for _ in range(SIDE * SIDE)], dtype=np.float32).reshape(SIDE, SIDE)
    return np.clip(pixels + noise * (pixels > 8), 0, 255).astype(np.uint8), label


@cache
def _ink(character: str, font: str, stroke: int) -> Image.Image:
    image = Image.new("L", (CANVAS, CANVAS))
    face = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{font}.ttf", CANVAS * 2 // 3)
    middle = (CANVAS / 2, CANVAS / 2)
    ImageDraw.Draw(image).text(middle, character, fill=255, font=face, anchor="mm", stroke_width=stroke)
    return image


def _distort(image: Image.Image, rng: random.Random) -> Image.Image:
    """Rotate, shear and stretch a glyph about its middle and bend it by a sine, to imitate handwriting."""
    angle, shear = math.radians(rng.gauss(0, 8)), rng.gauss(0, 0.15)
    stretch = math.exp(rng.gauss(0, 0.15))
    a, b = stretch * math.cos(angle), stretch * (shear - math.sin(angle))
    d, e = math.sin(angle) / stretch, math.cos(angle) / stretch
    half = CANVAS / 2
    matrix = (a, b, half - a * half - b * half, d, e, half - d * half - e * half)
    bent = np.asarray(image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))
    phase, size = rng.uniform(0, 2 * math.pi), rng.uniform(0, 2.5)
    shift = np.round(size * np.sin(phase + np.arange(CANVAS) * (2 * math.pi / CANVAS))).astype(int)
    columns = (np.arange(CANVAS)[None, :] + shift[:, None]) % CANVAS
    return Image.fromarray(np.take_along_axis(bent, columns, axis=1))


def _fit(image: Image.Image) -> Image.Image:
    """Crop to a square frame around the ink, as in the digits: the longer side fills it, the other side is centred."""
    left, top, right, bottom = image.point(lambda value: 255 * (value > 64)).getbbox() or (0, 0, CANVAS, CANVAS)
    side = max(bottom - top, right - left)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    return image.crop((x, y, x + side, y + side))
