"""Copy a folder of scenes to the bucket of an S3 server, with an ItemCollection that names them there.

Run as ``python benchmarks/upload_scenes.py FOLDER s3://bucket/prefix --endpoint URL``; keys come from ``AWS_*``. Writes
``FOLDER/items-s3.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import s3fs


def main() -> None:
    """Parse the command line and copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target")
    parser.add_argument("--endpoint", required=True)
    options = parser.parse_args()
    store = s3fs.S3FileSystem(endpoint_url=options.endpoint, client_kwargs={"region_name": "us-east-1"})
    bucket = options.target.removeprefix("s3://").partition("/")[0]
    if not store.exists(bucket):
        store.mkdir(bucket)
    collection = json.loads((options.folder / "items.json").read_text(encoding="utf-8"))
    for feature in collection["features"]:
        for asset in feature["assets"].values():
            name = Path(asset["href"]).name
            store.put_file(str(options.folder / name), f"{options.target.removeprefix('s3://')}/{name}")
            asset["href"] = f"{options.target}/{name}"
    (options.folder / "items-s3.json").write_text(json.dumps(collection), encoding="utf-8")


if __name__ == "__main__":
    main()
