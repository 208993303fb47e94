"""GeoTIFF: an image with its resolution, marked as synthetic. It has no coordinates, since it shows no place."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import how_to_install
from terrasynth.synthesis.core.errors import InputError, RunError, one_line
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.export.formats.imagefolder import PICTURES
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.rows import Row, as_json

CENTIMETRES = "3"  # of TIFFTAG_RESOLUTIONUNIT


class GeotiffExporter:
    """`SPLIT/ID.tif`, deflate, RGB, beside a `metadata.jsonl`; the tags say what is known.

    Args:
        gsd: Ground sampling distance in meters a pixel, where a row's scene names none; None for unknown.
    """

    name = "geotiff"
    own: ClassVar[Sequence[str]] = (rf"(train|validation|test)/({PICTURES}|metadata\.jsonl)",)
    data_files = "{split}/**"
    load = (
        'import rasterio\nwith rasterio.open("FOLDER/train/ID.tif") as file:\n'
        "    pixels, tags = file.read(), file.tags()   # uint8 (3, H, W)"
    )
    loses = "the bytes of the stored file, not its pixels"

    def __init__(self, gsd: float | None = None) -> None:
        if find_spec("rasterio") is None:
            raise InputError(f"the format geotiff needs rasterio, which is not installed; {how_to_install('geo')}")
        if gsd is not None and (isinstance(gsd, bool) or not isinstance(gsd, int | float) or not 0 < gsd < 1e6):
            raise InputError(f"option gsd {gsd!r} is no number of metres a pixel; write gsd=0.3")
        self._gsd = None if gsd is None else float(gsd)

    def options(self) -> dict[str, object]:
        """What decides the files beside the rows."""
        return {"gsd": self._gsd}

    def write(self, plan: Plan, out: Output) -> None:
        """Write a file for each image, and a line for each in `SPLIT/metadata.jsonl`."""
        for split in plan.splits:
            with out.file(f"{split}/metadata.jsonl") as metadata:
                for row in plan.rows(split):
                    name = f"{row.id}.tif"
                    out.picture(f"{split}/{name}", encode_tiff(decode(row.picture), self._tags(row, plan)))
                    metadata.write((as_json({"file_name": name} | row.flat()) + "\n").encode())

    def _tags(self, row: Row, plan: Plan) -> dict[str, str]:
        synthetic = bool(row.columns["synthetic"])
        tags = {
            "SYNTHETIC": "YES" if synthetic else "NO",
            "DATASET": plan.run.name,
            "SAMPLE_ID": row.id,
            "LABEL": row.label,
            "CAPTION": as_json(row.text),  # as JSON: XML, in which tags are kept, has no word for some characters
            "TIFFTAG_SOFTWARE": "terrasynth",
        }
        if synthetic:
            known = {name.upper(): row.columns[name] for name in ("generator", "revision", "seed", "guidance", "steps",
                                                                  "prompt_source")}
            tags |= {name: str(value) for name, value in known.items()} | {"RUN_IDENTITY": plan.run.identity}
        gsd, told_by = self._resolution(row)
        if gsd is not None:
            per_centimetre = str(0.01 / gsd)
            tags |= {"GSD_METRES": f"{gsd:g}", "GSD_SOURCE": told_by, "TIFFTAG_RESOLUTIONUNIT": CENTIMETRES,
                     "TIFFTAG_XRESOLUTION": per_centimetre, "TIFFTAG_YRESOLUTION": per_centimetre}
        return tags

    def _resolution(self, row: Row) -> tuple[float | None, str]:
        asked = json.loads(row.scene).get("gsd")
        return (float(asked), "asked for by the prompt") if asked else (self._gsd, "stated at export")


def encode_tiff(picture: NDArray[np.uint8], tags: dict[str, str]) -> bytes:
    """An image, uint8 (H, W, 3), as the bytes of a TIFF file without coordinates; equal input gives equal bytes.

    Raises:
        RunError: It cannot be encoded.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    height, width, bands = picture.shape
    profile: dict[str, Any] = {"driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": "uint8",
                               "photometric": "RGB", "interleave": "pixel", "compress": "deflate", "predictor": 2}
    try:
        with warnings.catch_warnings(), rasterio.MemoryFile() as memory:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with memory.open(**profile) as file:
                file.write(np.moveaxis(picture, 2, 0))
                file.update_tags(**tags)
            return bytes(memory.read())
    except RasterioError as error:
        raise RunError(f"{tags['SAMPLE_ID']} cannot be written as a TIFF file: {one_line(error)}") from error
