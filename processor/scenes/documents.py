"""Documents that say which scenes there are, read from files, storage or a stream within one allowance of bytes and time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import IO

from processor.redaction import redact_url
from processor.storage.allowance import Allowance
from processor.storage.store import Store
from stac.decode import Decoder


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSource:
    """Where documents are read from, and within which bounds."""

    store: Store
    """Storage with its credentials."""
    allowance: Allowance
    """What is left for documents."""
    decoder: Decoder = field(default_factory=Decoder)
    """Of all documents of the input: they have the same words."""

    def read(self, href: str, most: int | None = None) -> bytes:
        """Read a document of at most so many bytes, and of what is left for all.

        Parameters
        ----------
        href
            Absolute path or URL.
        most
            Bytes that it may have; None: what is left for all.

        Raises
        ------
        InputError
            It is larger, is not there, or access is denied.
        StorageError
            Storage or the network failed, or the time is up.
        """
        left = max(0, self.allowance.left)
        read = partial(self.store.read_bytes, href, max_bytes=left, remedy="give a part of it, or raise --inputs.max_bytes")
        if most is not None and most < left:
            read = partial(self.store.read_bytes, href, max_bytes=most)
        data = self.allowance.within(read, redact_url(href)) if "://" in href else read()
        self.allowance.spend(len(data), redact_url(href))
        return data

    def read_stream(self, stream: IO[bytes] | bytes) -> bytes:
        """Read standard input, or take a document that a program hands over, within what is left for all.

        Raises
        ------
        InputError
            It is larger than that.
        """
        data = stream if isinstance(stream, bytes) else stream.read(self.allowance.left + 1)
        self.allowance.spend(len(data), "standard input")
        return data
