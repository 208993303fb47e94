"""Small image-caption data in every format that is read, written by the libraries that people write it with."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.tiny import tiny_pictures

CLASSES = ("harbor", "forest")
FIVE = ("train", "train", "train", "val", "test")
HF = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Item:
    """One image with what is said of it."""

    label: str
    number: int
    split: str
    pixels: np.ndarray
    captions: tuple[str, ...]

    def png(self) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG")
        return buffer.getvalue()


def items(per_class: int = 5, size: int = 24) -> list[Item]:
    """Items of two classes; of five of a class three are for training, one for val, one for test."""
    return [Item(label, number, FIVE[number % 5], pixels, (f"A {label} , number {number} .", f"One more {label} ."))
            for seed, label in enumerate(CLASSES)
            for number, pixels in enumerate(tiny_pictures(per_class, size=size, seed=seed))]


def save(path: Path, item: Item) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(item.png())


def pairs_jsonl(folder: Path, **further: object) -> Path:
    lines = []
    for item in items():
        name = f"images/{item.label}_{item.number}.png"
        save(folder / name, item)
        lines.append({"file": name, "class": item.label, "split": item.split, "captions": item.captions, **further})
    return write_lines(folder / "pairs.jsonl", lines)


def imagefolder(folder: Path, kind: str = "jsonl", at_root: bool = False) -> Path:
    lists: dict[str, list[dict]] = {}
    for item in items():
        split, name = HF[item.split], f"{item.label}_{item.number}.png"
        save(folder / split / name, item)
        row = {"file_name": f"{split}/{name}" if at_root else name, "text": item.captions[0], "label": item.label}
        lists.setdefault("" if at_root else split, []).append(row)
    for split, rows in lists.items():
        if kind == "jsonl":
            write_lines(folder / split / "metadata.jsonl", rows)
        elif kind == "parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), folder / split / "metadata.parquet")
        else:
            with (folder / split / "metadata.csv").open("w", newline="") as stream:
                writer = csv.DictWriter(stream, rows[0])
                writer.writeheader()
                writer.writerows(rows)
    return folder


def karpathy(folder: Path, name: str = "dataset_x.json", images: str = "images", file: str = "{label}_{n}.png") -> Path:
    rows = []
    for place, item in enumerate(items()):
        called = file.format(label=item.label, n=item.number, place=place + 1)
        save(folder / images / called, item)
        sentences = [{"raw": text, "tokens": text.lower().split(), "sentid": 0} for text in item.captions]
        rows.append({"filename": called, "imgid": place, "split": item.split, "sentences": sentences})
    (folder / name).write_text(json.dumps({"images": rows, "dataset": "x"}))
    return folder


def nwpu(folder: Path) -> Path:
    top: dict[str, list[dict]] = {}
    for item in items():
        name = f"{item.label}_{item.number:03d}.png"
        save(folder / "NWPU_images" / item.label / name, item)
        top.setdefault(item.label, []).append({
            "filename": name, "split": item.split, "imgid": item.number, "raw": item.captions[0],
            "raw_1": item.captions[1], "raw_2": item.captions[0], "sentids": [0, 1, 2],
        })
    (folder / "dataset_nwpu.json").write_text(json.dumps(top))
    return folder


def levir(folder: Path) -> Path:
    rows = []
    for place, item in enumerate(items()):
        name = f"{item.split}_{place:06d}.png"
        save(folder / "images" / item.split / "B" / name, item)
        earlier = Item(item.label, item.number, item.split, 255 - item.pixels, item.captions)
        save(folder / "images" / item.split / "A" / name, earlier)
        rows.append({"filepath": item.split, "filename": name, "imgid": place, "split": item.split, "changeflag": 1,
                     "sentences": [{"raw": f" {text}", "tokens": text.split()} for text in item.captions]})
    (folder / "LevirCCcaptions.json").write_text(json.dumps({"images": rows}))
    return folder


def parquet(folder: Path, card: str | None = None) -> Path:
    from datasets import ClassLabel, Dataset
    from datasets import Image as ImageFeature

    for split, name in HF.items():
        own = [item for item in items() if item.split == split]
        table = Dataset.from_dict({
            "image": [{"bytes": item.png(), "path": None} for item in own],
            "captions": [list(item.captions) for item in own],
            "label": [CLASSES.index(item.label) for item in own],
        })
        table = table.cast_column("image", ImageFeature()).cast_column("label", ClassLabel(names=list(CLASSES)))
        path = folder / "data" / f"{name}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(str(path))
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder


def saved(folder: Path) -> Path:
    from datasets import Dataset, DatasetDict
    from datasets import Image as ImageFeature

    parts = {}
    for split, name in HF.items():
        own = [item for item in items() if item.split == split]
        parts[name] = Dataset.from_dict({
            "image": [{"bytes": item.png(), "path": None} for item in own], "text": [item.captions[0] for item in own],
            "class": [item.label for item in own],
        }).cast_column("image", ImageFeature())
    DatasetDict(parts).save_to_disk(folder)
    return folder


def webdataset(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in HF.items():
        with tarfile.open(folder / f"{name}-000000.tar", "w") as archive:
            for item in items():
                if item.split == split:
                    key = f"{item.label}_{item.number}"
                    for suffix, data in (("png", item.png()), ("txt", item.captions[0].encode()),
                                         ("json", json.dumps({"label": item.label}).encode())):
                        member = tarfile.TarInfo(f"{key}.{suffix}")
                        member.size = len(data)
                        archive.addfile(member, io.BytesIO(data))
    return folder


def geotiff(folder: Path) -> Path:
    """An imagefolder of 16-bit GeoTIFF files with four bands, blue first, beside a data YAML that says so."""
    import rasterio

    rows = []
    for item in items():
        name = f"{HF[item.split]}/{item.label}_{item.number}.tif"
        (folder / "tiles" / name).parent.mkdir(parents=True, exist_ok=True)
        bands = np.concatenate([item.pixels[..., ::-1], item.pixels[..., :1]], axis=2).astype(np.uint16) * 10 + 300
        with rasterio.open(folder / "tiles" / name, "w", driver="GTiff", width=bands.shape[1], height=bands.shape[0],
                           count=4, dtype="uint16") as file:
            file.write(np.moveaxis(bands, 2, 0))
        rows.append({"file_name": name, "text": item.captions[0], "label": item.label})
    write_lines(folder / "tiles" / "metadata.jsonl", rows)
    (folder / "data.yaml").write_text("data: tiles\nbands: [3, 2, 1]\nrange: [300, 2850]\ngsd: 10\n")
    return folder / "data.yaml"


def coco(folder: Path) -> Path:
    """As COCO's own: a file of captions for each split, images in folders of the splits."""
    for split in HF:
        own = [(number, item) for number, item in enumerate(items()) if item.split == split]
        for _, item in own:
            save(folder / f"{split}2017" / f"{item.label}_{item.number}.png", item)
        annotations = [{"id": 10 * number + place, "image_id": number, "caption": caption}
                       for number, item in own for place, caption in enumerate(item.captions)]
        images = [{"id": number, "file_name": f"{item.label}_{item.number}.png", "width": 24, "height": 24,
                   "label": item.label} for number, item in own]
        path = folder / "annotations" / f"captions_{split}2017.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "licenses": []}))
    return folder


def class_folders(folder: Path, captions: bool = True, splits: bool = True) -> Path:
    for item in items():
        path = folder / (HF[item.split] if splits else "") / item.label / f"{item.number}.png"
        save(path, item)
        if captions:
            path.with_suffix(".txt").write_text("\n".join(item.captions) + "\n")
    return folder


FORMATS = {
    "pairs": pairs_jsonl, "imagefolder": imagefolder, "csv": lambda folder: imagefolder(folder, "csv"),
    "metadata-parquet": lambda folder: imagefolder(folder, "parquet"),
    "root-metadata": lambda folder: imagefolder(folder, at_root=True), "karpathy": karpathy, "nwpu": nwpu,
    "levir": levir, "parquet": parquet, "saved": saved, "webdataset": webdataset, "geotiff": geotiff,
    "coco": coco, "class-folders": class_folders,
}


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.parent
