"""The proof that every mosaic carries: ``overview.png``, ``report.json`` and a self-contained ``report.html``."""

from __future__ import annotations
