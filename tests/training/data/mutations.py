"""Foreign data gone wrong: one seeded mutation of a data set that was right."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

ODD = (
    None, True, 5, -1, 0.5, float("nan"), 10**40, "", " ", "\ud800", "é" * 300, "x" * 5000, "\0", "../secret.png",
    "SECRET", "images/link.png", "link/secret.png", "train", "Train", "dev", "nowhere", [], {}, ["a"], [5], [[["a"]]],
    [None, "a"], {"raw": "a"}, {"en": "a"}, {"raw": ["a", "b"]}, '["a", "b"]', "['a', 'b']", '{"raw": 5}', "[" * 3000,
    "a\nb", "\x1b[31m", "C:\\a.png", "~/x.png", "file:///etc/hostname", "\u2028", "=1+1",
)
JUNK = (b"null", b"[]", b"{}", b"5", b"a: b: c", b'{"file": 1}', b"\0")
OTHER_NAMES = ("metadata.jsonl", "dataset_y.json", "z.parquet")
TEXTS = (".json", ".jsonl", ".csv", ".yaml", ".md", ".txt")
IMAGES = (".png", ".tif")


def mutate(folder: Path, secret: Path, rng: random.Random) -> str:
    """Change one or two things of a data set in place; gives what was done."""
    return "; ".join(_one(folder, secret, rng) for _ in range(rng.choice((1, 1, 1, 2))))


def _one(folder: Path, secret: Path, rng: random.Random) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if not files:
        return "nothing left"
    # Lists decide more than a single image does.
    lists = [path for path in files if path.suffix not in IMAGES]
    path = rng.choice(lists if lists and rng.random() < 0.6 else files)
    kinds = [_bytes, _bytes, _place]
    if path.suffix in TEXTS:
        kinds += [_text, _text]
    if path.suffix in (".json", ".jsonl"):
        kinds += [_value] * 6
    if path.suffix in IMAGES:
        kinds += [_image] * 4
    kind = rng.choice(kinds)
    return f"{path.relative_to(folder)}: {kind.__name__[1:]} {kind(path, secret, rng)}"


def _bytes(path: Path, _: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    how = rng.choice(("flip", "flip", "cut", "insert", "remove", "repeat", "empty", "zero", "swap"))
    place = rng.randrange(len(data) + 1)
    length = rng.choice((1, 2, 4, 16, 512))
    if how == "flip":
        for _number in range(rng.choice((1, 1, 3, 20))):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del data[place:]
    elif how == "insert":
        data[place:place] = rng.randbytes(length)
    elif how == "remove":
        del data[place : place + length]
    elif how == "repeat":
        data += data[place:]
    elif how == "empty":
        data = bytearray()
    elif how == "zero":
        data[place : place + length] = bytes(min(length, max(0, len(data) - place)))
    elif how == "swap":
        data = data[place:] + data[:place]
    path.write_bytes(data)
    return f"{how} at {place}"


def _text(path: Path, _: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    how = rng.choice(("mark", "utf16", "latin1", "crlf", "cr", "twice", "shuffle", "semicolons", "quotes", "deep",
                      "blank", "junk"))
    lines = data.split(b"\n")
    if how == "mark":
        data = b"\xef\xbb\xbf" + data
    elif how == "utf16":
        data = data.decode().encode("utf-16")
    elif how == "latin1":
        data = data.replace(b"a", "ä".encode("latin-1"), 3)
    elif how in ("crlf", "cr"):
        data = data.replace(b"\n", b"\r\n" if how == "crlf" else b"\r")
    elif how == "twice":
        data = data + data
    elif how == "shuffle":
        rng.shuffle(lines)
        data = b"\n".join(lines)
    elif how == "semicolons":
        data = data.replace(b",", b";")
    elif how == "quotes":
        data = data.replace(b'"', b"'", rng.randrange(1, 9))
    elif how == "deep":
        data = b"[" * 100_000 + b"\n" + data
    elif how == "blank":
        data = b"\n \n" + data + b"\n\n"
    elif how == "junk":
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(JUNK))
        data = b"\n".join(lines)
    path.write_bytes(data)
    return how


def _value(path: Path, secret: Path, rng: random.Random) -> str:
    """Another value in JSON, a key less, or a key twice."""
    text = path.read_text(errors="replace")
    documents = text.split("\n") if path.suffix == ".jsonl" else [text]
    place = rng.randrange(len(documents))
    try:
        content = json.loads(documents[place])
    except (ValueError, RecursionError):
        return "not JSON already"
    spots = list(_spots(content))
    if not spots:
        return "no value"
    holder, key = rng.choice(spots)
    value = rng.choice(ODD)
    value = str(secret) if value == "SECRET" else value
    how = rng.choice(("set", "set", "set", "remove", "twice"))
    changed = None
    if how == "set":
        holder[key] = value
    elif how == "remove" or not isinstance(holder, dict):
        del holder[key]
    else:
        entry = f"{json.dumps(key)}: {json.dumps(holder[key])}"
        changed = json.dumps(content).replace(entry, f"{entry}, {entry}", 1)
    documents[place] = json.dumps(content) if changed is None else changed
    path.write_text("\n".join(documents))
    return f"{how} {key} {value!r:.20}"


def _spots(value: object):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _spots(inner)
    elif isinstance(value, list):
        for key, inner in enumerate(value):
            yield value, key
            yield from _spots(inner)


def _place(path: Path, secret: Path, rng: random.Random) -> str:
    how = rng.choice(("gone", "link", "dangling", "loop", "pipe", "folder", "renamed", "copied", "folder link",
                      "outside link"))
    if how in ("folder link", "outside link"):
        below = path.parent
        name = rng.choice(("link", "train", "images", "validation"))
        if not (below / name).exists():
            os.symlink(secret.parent if how == "outside link" else below, below / name)
        return f"{how} {name}"
    if how == "copied":
        other = path.with_name(rng.choice(("copy" + path.suffix, *OTHER_NAMES)))
        if not other.exists():
            shutil.copy(path, other)
        return f"{how} to {other.name}"
    data = path.read_bytes()
    path.unlink()
    if how == "link":
        os.symlink(secret, path)
    elif how == "dangling":
        os.symlink(path.parent / "nothing", path)
    elif how == "loop":
        os.symlink(path, path)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "renamed":
        path.with_name("other" + path.suffix).write_bytes(data)
    return how


def _image(path: Path, _: Path, rng: random.Random) -> str:
    """Another kind of image under the same name."""
    how, data = rng.choice(list(odd_images().items()))
    path.write_bytes(data)
    return how


def odd_images() -> dict[str, bytes]:
    """Image files of many kinds, small on disk."""
    random_pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    picture = Image.fromarray(random_pixels[..., :3])
    turned = Image.Exif()
    turned[0x112] = 6
    wrong = Image.Exif()
    wrong[0x112] = 77
    made = {
        "jpeg": _saved(picture, "JPEG"), "jpeg turned": _saved(picture, "JPEG", exif=turned),
        "jpeg turned wrongly": _saved(picture, "JPEG", exif=wrong), "webp": _saved(picture, "WEBP"),
        "cmyk": _saved(picture.convert("CMYK"), "JPEG"), "gif": _saved(picture, "GIF"), "bmp": _saved(picture, "BMP"),
        "avif": _saved(picture, "AVIF"), "jpeg 2000": _saved(picture, "JPEG2000"), "ppm": _saved(picture, "PPM"),
        "rgba": _saved(Image.fromarray(random_pixels), "PNG"),
        "rgba tiff": _saved(Image.fromarray(random_pixels), "TIFF"),
        "palette": _saved(picture.convert("P"), "PNG", transparency=3), "la": _saved(picture.convert("LA"), "PNG"),
        "one bit": _saved(picture.convert("1"), "PNG"),
        "16 bits": _saved(Image.fromarray(random_pixels[..., 0].astype(np.uint16) * 9), "PNG"),
        "float": _saved(Image.fromarray(random_pixels[..., 0].astype(np.float32)), "TIFF"),
        "int32": _saved(Image.fromarray(random_pixels[..., 0].astype(np.int32)), "TIFF"),
        "pages": _saved(picture, "TIFF", save_all=True, append_images=[picture]),
        "animated": _saved(picture, "GIF", save_all=True, append_images=[picture.rotate(90)]),
        "eps": _saved(picture, "EPS"), "ico": _saved(picture, "ICO"),
        "one pixel": _saved(picture.resize((1, 1)), "PNG"), "line": _saved(picture.resize((3000, 1)), "PNG"),
        "large": claimed(60_000, 60_000), "endless": claimed(2**31 - 1, 2**31 - 1), "no pixels": claimed(0, 5),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "empty": b"",
        "vrt": b"<VRTDataset rasterXSize='4' rasterYSize='4'><VRTRasterBand dataType='Byte' band='1'/></VRTDataset>",
    }
    return made | {"lab": _saved(Image.new("LAB", (9, 9)), "TIFF")}


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def claimed(width: int, height: int) -> bytes:
    """A PNG file that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))
