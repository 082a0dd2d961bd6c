"""Numpy archives (.npz) that runs hand to later ones: equal arrays give equal bytes; strangers' files are read with care."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.errors import InputError

_MOST_BYTES: Final = 4 << 30  # of all arrays, unpacked
_MOST_MEMBERS: Final = 64  # signatures of members, some of which pixels may look like


def render_archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The archive of some arrays by name; none of them may need pickling."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def read_archive(
    data: bytes, source: str, shapes: Mapping[str, tuple[str, int]], *, version: int, what: str
) -> dict[str, NDArray[Any]]:
    """The arrays of an archive, each of the kind and number of dimensions that it has to have; pickled objects are refused.

    Parameters
    ----------
    data
        The archive.
    source
        Names the file in errors.
    shapes
        By name of the array: allowed kinds (letters of ``numpy.dtype.kind``) and number of dimensions; of ``version`` too.
    version
        That the array ``version`` has to say.
    what
        Kind of file, for messages.

    Raises
    ------
    InputError
        It is no such archive, holds more than 4 GiB or is of another version.
    """
    try:
        if data.count(b"PK\x01\x02") > _MOST_MEMBERS:  # before they are listed, which takes more memory than the file
            msg = f"{source} holds more arrays than a {what} can"
            raise InputError(msg)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > _MOST_BYTES or len(archive.infolist()) > len(shapes):
                msg = f"{source} holds {size} bytes in {len(archive.infolist())} arrays, more than a {what} can"
                raise InputError(msg)
            arrays = {name: _read_array(archive, f"{name}.npy") for name in shapes}
    # NotImplementedError: what zipfile raises for a compression or an encryption that it does not know
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        msg = f"{source} is no {what}: {error}"
        raise InputError(msg) from error
    if arrays["version"].shape or arrays["version"] != version:
        msg = f"{source} is of version {arrays['version']}, and this program reads {version}"
        raise InputError(msg)
    wrong = [
        name for name, (kinds, axes) in shapes.items() if arrays[name].dtype.kind not in kinds or arrays[name].ndim != axes
    ]
    if wrong:
        msg = f"{source}: {', '.join(wrong)} is not what a {what} has"
        raise InputError(msg)
    return arrays


def check_rules(rules: Iterable[tuple[str, bool]], source: str) -> None:
    """Refuse an archive whose arrays break a rule; each is asked once those before it hold.

    Parameters
    ----------
    rules
        What is said where a rule does not hold, and whether it does.

    Raises
    ------
    InputError
        Naming the first.
    """
    wrong = next((words for words, fits in rules if not fits), None)
    if wrong is not None:
        msg = f"{source}: {wrong}; give what another run published"
        raise InputError(msg)


def _read_array(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    """One array, once its header says no more than the archive has for it: numpy makes room for it before it reads.

    Raises
    ------
    ValueError
        It is none, or holds less than it says.
    """
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            msg = f"{member} is of version {version}"
            raise ValueError(msg)
        shape, _, dtype = read(stream)
    if math.prod(shape) * dtype.itemsize > archive.getinfo(member).file_size:
        msg = f"{member} holds less than the {shape} values of {dtype} that it says"
        raise ValueError(msg)
    with archive.open(member) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
