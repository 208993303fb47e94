"""Real inputs, damaged: as bytes, as trees of JSON or YAML, as tensors, and as folders. One seed, one damage."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ODD = (
    None, True, False, 0, -1, 1, 2, 3, 7, 33, 2**31, 2**63, 10**18, -(10**18), 0.5, -0.5, 1e-300, 1e308, float("inf"),
    float("-inf"), float("nan"), "", " ", "0", "nan", "x" * 5000, "auto", "../..", "/", "/dev/null", "~nobody-here/x",
    "a/b", "\x1b[31mred", "\u202eabc", "caf\u00e9", "\U0001f6f0", "{caption}", "{}", "%s", "a\x00b", "line\nline",
    "| a | b |",
    "<script>", "[]", [], [[]], [None], ["a", "a"], {}, {"": {}}, {"a": 1}, [1, 2, 3], {"x": [{"y": {}}]},
)


def damaged_bytes(content: bytes, draw: random.Random) -> bytes:
    """Bytes with one thing wrong with them."""
    place = draw.randrange(len(content) + 1)
    several = draw.randrange(1, 1 + max(1, len(content) // 4))
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: content[:place],
        lambda: content[place:],
        lambda: content[:place] + content[place + several :],
        lambda: content[:place] + content[place : place + several] * 2 + content[place + several :],
        lambda: content[:place] + draw.randbytes(several % 64 + 1) + content[place:],
        lambda: content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :],
        lambda: content[:place] + b"\x00" * (several % 9 + 1) + content[place:],
        lambda: b"\xef\xbb\xbf" + content,
        lambda: content.replace(b"\n", b"\r\n"),
        lambda: content.replace(b"\n", b"\r"),
        lambda: content.decode("latin-1").encode("utf-16"),
        lambda: content[:place] + "\u00e9\u2028\x85".encode() + content[place:],
        lambda: content[:place] + b"\xff\xfe" + content[place:],
        lambda: draw.randbytes(len(content) % 5000),
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
        lambda: b"<!DOCTYPE html><html>log in</html>",
    )
    return draw.choice(changes)()


def damaged_tree(tree: Any, draw: random.Random) -> Any:
    """A tree of mappings and lists with one or two nodes changed."""
    for _ in range(draw.choice((1, 1, 2))):
        tree = _changed(tree, draw)
    return tree


def _changed(tree: Any, draw: random.Random) -> Any:
    inside = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    if not inside or draw.random() < 0.15:
        return draw.choice(ODD)
    key, value = draw.choice(inside)
    if draw.random() < 0.6 and isinstance(value, dict | list) and value:
        changed: Any = _changed(value, draw)
    else:
        changed = draw.choice(ODD) if draw.random() < 0.7 else [value] if draw.random() < 0.5 else {"a": value}
    if isinstance(tree, list):
        return [*tree[:key], *([] if draw.random() < 0.2 else [changed]), *tree[key + 1 :]]
    kept = {name: each for name, each in tree.items() if name != key}
    how = draw.random()
    if how < 0.2:
        return kept
    if how < 0.4:
        return {**kept, draw.choice((f"{key}x", str(key).upper(), "", "a.b", f" {key}")): value}
    return {**tree, key: changed}


def damaged_text(content: bytes, kind: str, draw: random.Random) -> bytes:
    """A JSON or YAML file with its tree or its bytes damaged, or a line of a text file."""
    if draw.random() < 0.35:
        return damaged_bytes(content, draw)
    if kind == "json":
        return json.dumps(damaged_tree(json.loads(content), draw)).encode()
    if kind == "yaml":
        return yaml.safe_dump(damaged_tree(yaml.safe_load(content), draw), allow_unicode=True).encode()
    lines = content.split(b"\n")
    line = draw.randrange(len(lines))
    if kind == "jsonl" and lines[line]:
        lines[line] = json.dumps(damaged_tree(json.loads(lines[line]), draw)).encode()
    else:
        lines[line] = damaged_bytes(lines[line], draw)
    return b"\n".join(lines)


def damaged_tensors(content: bytes, draw: random.Random) -> bytes:
    """A safetensors file with its header or its bytes damaged."""
    if draw.random() < 0.25:
        return damaged_bytes(content, draw)
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    names = [name for name in header if name != "__metadata__"]
    chosen = draw.choice(names)
    how = draw.randrange(9)
    if how == 0:  # of another length than it says
        return struct.pack("<Q", draw.choice((0, 1, length - 1, length + 1, 2**32, 2**63 - 1))) + content[8:]
    if how == 1:
        header = damaged_tree(header, draw)
    elif how == 2:
        for name in draw.sample(names, len(names) // 2):
            header[f"{name}.more"] = header.pop(name)
    elif how == 3:
        return _packed({name: each for name, each in header.items() if name not in names[::2]}, data)
    elif how == 4:
        header[chosen]["shape"] = [*header[chosen]["shape"][::-1], 1]
    elif how == 5:
        header[chosen]["dtype"] = draw.choice(("F16", "BF16", "I64", "BOOL", "F8_E4M3", "X1", 5))
    elif how == 6:
        header[chosen]["data_offsets"] = draw.choice(([0, 0], [0, len(data) + 4], [-4, 4], [8, 4], "0", [0]))
    elif how == 7:
        begin, end = header[chosen]["data_offsets"]
        value = struct.pack("<f", draw.choice((float("nan"), float("inf"), 1e38)))
        data = data[:begin] + (value * ((end - begin) // 4 + 1))[: end - begin] + data[end:]
    else:
        header["__metadata__"] = draw.choice(({"format": "tf"}, {"lora_adapter_metadata": "{}"}, 5, {"format": 5},
                                              {"lora_adapter_metadata": '{"unet.r": 3, "unet.lora_alpha": "x"}'}))
    return _packed(header, data)


def _packed(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def damage_folder(folder: Path, draw: random.Random) -> str:
    """Damage one file of a folder in place; says which and how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = draw.choice(files)
    name = path.relative_to(folder).as_posix()
    how = draw.random()
    if how < 0.08:
        path.unlink()
        return f"{name} removed"
    if how < 0.12:
        path.unlink()
        path.mkdir()
        return f"{name} a folder"
    if how < 0.16:
        path.unlink()
        path.symlink_to(draw.choice((path.name, "/nowhere", "..", "/dev/null")))
        return f"{name} a link to {os.readlink(path)}"
    if how < 0.2:
        path.rename(path.with_name(draw.choice((f"{path.name}.bak", f"x{path.name}", path.name.upper()))))
        return f"{name} renamed"
    content = path.read_bytes()
    kind = path.suffix.lstrip(".")
    changed = damaged_tensors(content, draw) if kind == "safetensors" else damaged_text(content, kind, draw)
    path.write_bytes(changed)
    return f"{name} changed"
