"""The bare floor: GDAL's own COG driver writes the plain mosaic of some scenes, without any correction.

Whatever makes a mosaic has to read these pixels, encode them and write them; nothing does less. A VRT written by hand names
the scenes in input order (later ones on top); nodata of a scene shows what lies below it, as with ``gdalbuildvrt``.

Run as ``python benchmarks/floor.py ITEMS OUT.tif [--codec deflate] [--level 6] [--threads 2] …``. GDAL's block cache is what
``GDAL_CACHEMAX`` in the environment says, else GDAL's own default of 5 % of the machine's memory.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import rasterio
import rasterio.shutil

GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}


def read_scenes(items: Path) -> list[str]:
    """Return the rasters of an ItemCollection with one asset an Item, in its order, as GDAL names them."""
    features = json.loads(items.read_text(encoding="utf-8"))["features"]
    hrefs = [next(iter(feature["assets"].values()))["href"] for feature in features]
    return [
        f"/vsis3/{href.removeprefix('s3://')}" if href.startswith("s3://") else str((items.parent / href).resolve())
        for href in hrefs
    ]


def add_child(parent: ET.Element, tag: str, text: object = None, **attributes: object) -> ET.Element:
    """Append an element with a text and attributes."""
    child = ET.SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})
    child.text = None if text is None else str(text)
    return child


def describe_scene(path: str) -> dict[str, Any]:
    """Return profile, bounds and block shape of a scene."""
    with rasterio.open(path) as scene:
        return {**scene.profile, "path": path, "bounds": scene.bounds, "block": scene.block_shapes[0]}


def make_vrt(paths: list[str]) -> str:
    """Make the VRT of scenes that share pixel size, phase, bands and dtype: the text of its XML."""
    scenes = [describe_scene(path) for path in paths]
    first = scenes[0]
    pixel_width, pixel_height = first["transform"].a, -first["transform"].e
    left, top = min(scene["bounds"].left for scene in scenes), max(scene["bounds"].top for scene in scenes)
    right, bottom = max(scene["bounds"].right for scene in scenes), min(scene["bounds"].bottom for scene in scenes)
    width, height = round((right - left) / pixel_width), round((top - bottom) / pixel_height)
    root = ET.Element("VRTDataset", {"rasterXSize": str(width), "rasterYSize": str(height)})
    add_child(root, "SRS", first["crs"].to_wkt())
    add_child(root, "GeoTransform", f"{left!r}, {pixel_width!r}, 0, {top!r}, 0, {-pixel_height!r}")
    data_type, nodata = GDAL_TYPES[first["dtype"]], first["nodata"]
    for band in range(1, first["count"] + 1):
        raster_band = add_child(root, "VRTRasterBand", dataType=data_type, band=band)
        if nodata is not None:
            add_child(raster_band, "NoDataValue", nodata)
        for scene in scenes:
            source = add_child(raster_band, "SimpleSource" if nodata is None else "ComplexSource")
            add_child(source, "SourceFilename", scene["path"], relativeToVRT=0)
            add_child(source, "SourceBand", band)
            add_child(
                source,
                "SourceProperties",
                RasterXSize=scene["width"],
                RasterYSize=scene["height"],
                DataType=data_type,
                BlockXSize=scene["block"][1],
                BlockYSize=scene["block"][0],
            )
            add_child(source, "SrcRect", xOff=0, yOff=0, xSize=scene["width"], ySize=scene["height"])
            col = round((scene["bounds"].left - left) / pixel_width)
            row = round((top - scene["bounds"].top) / pixel_height)
            add_child(source, "DstRect", xOff=col, yOff=row, xSize=scene["width"], ySize=scene["height"])
            if nodata is not None:
                add_child(source, "NODATA", nodata)
    return ET.tostring(root, encoding="unicode")


def main() -> None:
    """Parse the command line and write the mosaic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--codec", default="deflate")
    parser.add_argument("--level", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blocksize", type=int, default=512)
    options = parser.parse_args()
    vrt = options.output.with_suffix(".vrt")
    vrt.write_text(make_vrt(read_scenes(options.items)), encoding="utf-8")
    rasterio.shutil.copy(
        vrt,
        options.output,
        driver="COG",
        COMPRESS=options.codec.upper(),
        LEVEL=options.level,
        PREDICTOR="YES",
        NUM_THREADS=options.threads,
        BLOCKSIZE=options.blocksize,
        OVERVIEWS="AUTO",
        OVERVIEW_RESAMPLING="AVERAGE",
        BIGTIFF="IF_SAFER",
    )


if __name__ == "__main__":
    main()
