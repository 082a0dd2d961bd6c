"""The plan and what it will cost, as a document for people and programs."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import yaml

from processor.mosaic.budget import estimate_memory, estimate_scratch
from processor.mosaic.plan import Plan
from processor.redaction import redact_url

_LARGEST_LISTING: Final = 100
_BYTES: Final = re.compile(r"^( *\w*bytes\w*: )(\d+)$", re.MULTILINE)


def _count_bytes_read(plan: Plan) -> tuple[int, int | None]:
    """Bytes that both passes read at most: of decoded pixels, and of the files; None where a file's size is unknown."""
    decoded, stored = 0, 0.0
    known = True
    for position, scene in enumerate(plan.scenes):
        measured, whole = plan.measure_grid(position), scene.grid.width * scene.grid.height
        pixels = measured.width * measured.height + whole
        decoded += pixels * plan.bands * np.dtype(scene.dtype).itemsize
        known = known and scene.source.size is not None
        stored += (scene.source.size or 0) * pixels / whole
    return decoded, round(stored) if known else None


def render_plan(plan: Plan, *, item: str, digest: str) -> str:
    """The plan as YAML, with amounts of bytes repeated in MB or GB for people; ``item`` is where the Item will be."""
    document = {"item": item, "digest": digest, **describe_plan(plan)}
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return _BYTES.sub(lambda match: f"{match[0]}  # {_show_bytes(int(match[2]))}", text)


def _show_bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"


class _Dumper(yaml.SafeDumper):
    """Writes the members of a list on a line each."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        """A list; what is in it stands on one line."""
        node = super().represent_sequence(tag, sequence, flow_style)
        for child in node.value:
            if isinstance(child, yaml.CollectionNode):
                child.flow_style = True
        if all(
            isinstance(child, yaml.ScalarNode) and not isinstance(value, str)
            for child, value in zip(node.value, sequence, strict=True)
        ):
            node.flow_style = True
        return node


def describe_plan(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values; of more than 100 scenes or overlaps only the first 100 are listed."""
    decoded, stored = _count_bytes_read(plan)
    names = [scene.name for scene in plan.scenes]
    grid, blocks, edge = plan.grid, plan.blocks, plan.window_edge
    scenes = [
        {
            "name": scene.name,
            "width": scene.grid.width,
            "height": scene.grid.height,
            "dtype": scene.dtype,
            "measured_at": "full resolution" if level is None else f"overview 1:{scene.source.overviews[level]}",
            "href": redact_url(scene.source.href),
        }
        for scene, level in list(zip(plan.scenes, plan.levels, strict=True))[:_LARGEST_LISTING]
    ]
    return {
        "stages": list(plan.methods.names),
        "scenes": {"count": len(plan.scenes), "first": scenes},
        "overlaps": {
            "count": len(plan.pairs),
            "first": [[names[i], names[j]] for i, j in plan.pairs[:_LARGEST_LISTING]],
        },
        "grid": {
            "width": grid.width,
            "height": grid.height,
            "pixel_width": grid.pixel_width,
            "pixel_height": grid.pixel_height,
            "bounds": list(grid.bounds.as_tuple()),
            "bands": plan.bands,
            "dtype": plan.dtype,
            "nodata": None if np.isnan(plan.nodata) else plan.nodata,
            "block_rows": None if blocks is None else blocks.rows,
            "block_cols": None if blocks is None else blocks.cols,
        },
        "tasks": {
            "measure": len(plan.chunks),
            "render": -(-grid.width // edge) * -(-grid.height // edge) if plan.methods.merge.is_on else 0,
        },
        "estimate": {
            "decoded_bytes_read_at_most": decoded,
            "stored_bytes_read_at_most": stored,
            "memory_bytes_at_most": estimate_memory(plan),
            "scratch_bytes_at_most": estimate_scratch(plan),
        },
        "findings": [finding.message for finding in plan.findings],
    }
