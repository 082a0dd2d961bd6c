"""The command `demo`: make sample scenes and a mosaic of them."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from processor.cli.parser import OptionParser
from processor.cli.run import find_created, list_files
from processor.config import load_config
from processor.errors import ConfigError
from processor.process.logs import log_event

_LOGGER = logging.getLogger("processor.cli.commands")


def add_options(parser: OptionParser) -> None:
    """Add the folder, and which scenes."""
    parser.add_argument("folder", nargs="?", default="demo-output", help="where everything goes (default: %(default)s)")
    parser.add_argument(
        "--difficult",
        action="store_true",
        help="scenes with a hotspot, clouds that nothing marks, change, haze, misregistration",
    )


def execute(options: argparse.Namespace) -> str:
    """Make the scenes and the mosaic; returns the paths of its main files.

    Raises
    ------
    ConfigError
        If the folder cannot be made.
    """
    from processor.execution.run import Request, run  # noqa: PLC0415 - the engine takes seconds to load
    from processor.process.progress import choose_tracker  # noqa: PLC0415
    from processor.synthetic.scenes import make_demo_scenes  # noqa: PLC0415

    folder = Path(options.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the folder {folder}: {error.strerror}; name another one"
        raise ConfigError(msg) from error
    items = make_demo_scenes(folder / "scenes", difficult=options.difficult)
    log_event(_LOGGER, "scenes-made", f"made sample scenes with a known truth in {folder / 'scenes'}", items=str(items))
    request = Request(
        inputs=(str(items),), destination=str(folder), item_id="mosaic", overwrite=True, created=find_created(None)
    )
    config = load_config(flags={"check.images": [str(items.parent / "truth" / "truth.tif")]})
    return list_files(run(request, config, choose_tracker()))
