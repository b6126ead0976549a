"""Writes image files of many kinds with the pixels that Pillow decodes of them, and images resized by Pillow's filters.

usage: make_images.py [OUT_DIR]       needs: pillow, numpy

Beside the files, decoded.json has the size of each and decoded.bin the RGB bytes that Pillow makes of them
(ImageOps.exif_transpose, then convert("RGB")), one after the other; resized.json and resized.bin are the same for resizing.
"""

import json
import pathlib
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 45, 34
SIZES = [(16, 16), (60, 20), (60, 40), (45, 9), (40, 23), (40, 24)]


def picture():
    """Soft colors, two shapes with edges, and a little noise: what a photograph has."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    soft = np.stack([128 + 90 * np.sin(x / 9 + y / 17), 60 + 4 * y, 200 - 3 * x + y], -1)
    soft[(x - 14) ** 2 + (y - 15) ** 2 < 60] = [220, 40, 60]
    soft[(x > 27) & (x < 38) & (y > 8) & (y < 28)] = [30, 90, 210]
    noise = np.random.default_rng(1).normal(0, 4, soft.shape[:2])[..., None]
    return Image.fromarray(np.clip(soft + noise, 0, 255).astype(np.uint8))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, array, color_type):
    """A PNG of 16 bits, which Pillow writes of gray alone."""
    height, width = array.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def write(out, photo):
    gray = photo.convert("L")
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1)))
    with_alpha = photo.copy()
    with_alpha.putalpha(alpha)
    gray_alpha = gray.copy()
    gray_alpha.putalpha(alpha)
    palette = photo.quantize(32)
    deep = np.asarray(photo).astype(np.uint32) * 257 + np.arange(3) * 40
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(out / "rgb.png", optimize=True)
    with_alpha.save(out / "rgba.png", optimize=True)
    gray.save(out / "gray.png", optimize=True)
    gray_alpha.save(out / "gray_alpha.png", optimize=True)
    palette.save(out / "palette.png", optimize=True, transparency=3)
    gray.point(lambda level: 255 * (level > 99)).convert("1").save(out / "one_bit.png", optimize=True)
    png(out / "rgb16.png", np.minimum(deep, 65535), 2)
    png(out / "gray16.png", np.asarray(gray).astype(np.uint32) * 256 + 77, 0)
    photo.save(out / "photo.jpg", quality=90)
    photo.save(out / "fine.jpg", quality=95, subsampling=0)
    photo.save(out / "progressive.jpg", quality=85, progressive=True)
    photo.save(out / "turned.jpg", quality=90, exif=exif)
    gray.save(out / "gray.jpg", quality=90)
    photo.convert("CMYK").save(out / "cmyk.jpg", quality=90)
    photo.save(out / "lossless.webp", lossless=True)
    photo.save(out / "lossy.webp", quality=90)
    with_alpha.save(out / "alpha.webp", lossless=True, exact=True)
    palette.save(out / "image.gif")
    photo.save(out / "image.bmp")


def pixels(image):
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def listed(out, name, entries):
    """Sizes as JSON, and bytes one after the other."""
    sizes = [entry | {"width": array.shape[1], "height": array.shape[0]} for entry, array in entries]
    (out / f"{name}.json").write_text(json.dumps(sizes, indent=1) + "\n")
    (out / f"{name}.bin").write_bytes(b"".join(array.tobytes() for _, array in entries))


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    photo = picture()
    write(out, photo)
    kinds = ["*.png", "*.jpg", "*.webp", "*.gif", "*.bmp"]
    files = sorted(path for kind in kinds for path in out.glob(kind))
    listed(out, "decoded", [({"file": path.name}, pixels(Image.open(path))) for path in files])
    resized = [({"resample": number}, np.asarray(photo.resize(size, number))) for number in range(6) for size in SIZES]
    listed(out, "resized", resized)


main()
