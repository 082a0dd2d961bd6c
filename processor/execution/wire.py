"""Records as bytes: what tasks hand to one another through a store, compact, the same for the same records, and never code.

An object is a frame around a compressed payload, with its SHA-256: what was cut short or changed on the way is noticed before
any of it is used. The payload is a JSON text, in which arrays and geometries stand by number, and then the arrays themselves,
little-endian, booleans as bits, geometries as WKB. Decoding makes nothing but records of the types that the codec was given.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from processor.errors import TransientError

T = TypeVar("T")

_MAGIC: Final = b"mosaic1\n"
_FRAME: Final = struct.Struct("<8sQQ32s")  # magic, bytes of the compressed payload, of the payload, SHA-256 of the first
PREFIX_BYTES: Final = _FRAME.size
"""Bytes of an object that tell its size."""

_MAX_PAYLOAD: Final = 1 << 32
_ALIGNMENT: Final = 8
_LEVEL: Final = 1  # of zlib: samples and masks are what is large, and they shrink at any level
_PLAIN: Final = (bool, int, float, str)
_KINDS: Final = frozenset("biuf")
_MARKS: Final = ("record", "tuple", "mapping", "array", "geometry")


class DamagedError(TransientError):
    """An object is not what was written: it was cut short or changed. Made anew, it is as good as before."""


def read_frame_size(prefix: bytes) -> int:
    """Bytes of a whole object, from its first :data:`PREFIX_BYTES`.

    Raises
    ------
    DamagedError
        They are not the beginning of one.
    """
    return PREFIX_BYTES + _read_frame(prefix)[0]


def _read_frame(data: bytes) -> tuple[int, int, bytes]:
    """Bytes of the compressed payload and of the payload, and the digest of the former."""
    if len(data) < PREFIX_BYTES:
        msg = f"it ends after {len(data)} bytes"
        raise DamagedError(msg)
    magic, packed, size, digest = _FRAME.unpack_from(data)
    if magic != _MAGIC or size > _MAX_PAYLOAD:
        msg = "it does not begin as a result of a task does"
        raise DamagedError(msg)
    return packed, size, digest


class Codec:
    """Turns records into bytes and back.

    Besides records of the given types there may be None, booleans, numbers, text, tuples, mappings, numpy arrays of numbers
    and shapely geometries in them.

    Parameters
    ----------
    types
        Dataclasses that may occur, no two of one name.
    """

    def __init__(self, types: Iterable[type]) -> None:
        self._types: dict[str, type] = {}
        for kind in types:
            if not is_dataclass(kind) or self._types.setdefault(kind.__name__, kind) is not kind:
                msg = f"{kind.__name__} is no dataclass, or there are two of that name"
                raise TypeError(msg)

    def encode(self, value: object) -> bytes:
        """The bytes of a record, the same for equal ones.

        Raises
        ------
        TypeError
            Something in it is of a type that the codec does not know.
        """
        arrays: list[tuple[dict[str, Any], bytes]] = []
        text = json.dumps(self._pack(value, arrays), separators=(",", ":"), ensure_ascii=False)
        head = json.dumps([[info for info, _ in arrays]], separators=(",", ":"))
        lines = f"{head}\n{text}".encode()
        pieces = [struct.pack("<Q", len(lines)), _pad(lines), *(_pad(data) for _, data in arrays)]
        payload = b"".join(pieces)
        packed = zlib.compress(payload, _LEVEL)
        return _FRAME.pack(_MAGIC, len(packed), len(payload), hashlib.sha256(packed).digest()) + packed

    def decode(self, data: bytes, expected: type[T]) -> T:
        """The record that bytes stand for.

        Raises
        ------
        DamagedError
            The bytes were cut short or changed, or stand for something else.
        """
        packed_size, size, digest = _read_frame(data)
        packed = data[PREFIX_BYTES:]
        if len(packed) != packed_size or hashlib.sha256(packed).digest() != digest:
            msg = f"it has {len(data)} bytes that are not those that were written"
            raise DamagedError(msg)
        try:
            value = self._read(_inflate(packed, size))
        except (
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            RecursionError,
            struct.error,
            zlib.error,
            shapely.GEOSException,
        ) as error:
            msg = f"it cannot be decoded ({error})"
            raise DamagedError(msg) from error
        if not isinstance(value, expected):
            msg = f"it holds a {type(value).__name__} instead of a {expected.__name__}"
            raise DamagedError(msg)
        return value

    def _pack(self, value: object, arrays: list[tuple[dict[str, Any], bytes]]) -> Any:
        """A value as JSON has it; arrays are put aside."""
        if value is None or type(value) in _PLAIN:
            return value
        if isinstance(value, np.generic):
            return self._pack(value.item(), arrays)
        if isinstance(value, tuple):
            return {"tuple": [self._pack(member, arrays) for member in value]}
        if isinstance(value, Mapping):
            return {"mapping": [[self._pack(key, arrays), self._pack(member, arrays)] for key, member in value.items()]}
        if isinstance(value, np.ndarray | BaseGeometry):
            is_array = isinstance(value, np.ndarray)
            arrays.append(_pack_array(value if is_array else np.frombuffer(shapely.to_wkb(value, byte_order=1), np.uint8)))
            return {"array" if is_array else "geometry": len(arrays) - 1}
        name = type(value).__name__
        if self._types.get(name) is not type(value):
            msg = f"a {name} cannot be handed to another task"
            raise TypeError(msg)
        return {"record": name, "of": [self._pack(getattr(value, field.name), arrays) for field in fields(value)]}  # type: ignore[arg-type]

    def _read(self, payload: bytes) -> Any:
        (length,) = struct.unpack_from("<Q", payload)
        head, text = payload[_ALIGNMENT : _ALIGNMENT + length].split(b"\n", 1)
        (infos,) = json.loads(head)
        place = _ALIGNMENT + _padded(length)
        arrays: list[NDArray[Any]] = []
        for info in infos:
            array, size = _read_array(payload, place, info)
            arrays.append(array)
            place += _padded(size)
        if place != len(payload):
            msg = "the arrays have another length"
            raise ValueError(msg)
        return self._unpack(json.loads(text), arrays)

    def _unpack(self, value: Any, arrays: list[NDArray[Any]]) -> Any:
        if not isinstance(value, dict):
            return value
        mark = next(mark for mark in _MARKS if mark in value)
        content = value[mark]
        if mark == "tuple":
            return tuple(self._unpack(member, arrays) for member in content)
        if mark == "mapping":
            return {self._unpack(key, arrays): self._unpack(member, arrays) for key, member in content}
        if mark == "array":
            return arrays[content]
        if mark == "geometry":
            return shapely.from_wkb(arrays[content].tobytes())
        kind = self._types[content]
        return kind(
            **dict(zip((field.name for field in fields(kind)), (self._unpack(v, arrays) for v in value["of"]), strict=True))
        )


def _inflate(packed: bytes, size: int) -> bytes:
    """Decompress what must become ``size`` bytes, never more."""
    engine = zlib.decompressobj()
    payload = engine.decompress(packed, size + 1)
    if len(payload) != size or not engine.eof:
        msg = f"it does not hold the {size} bytes that it says"
        raise ValueError(msg)
    return payload


def _pack_array(array: NDArray[Any]) -> tuple[dict[str, Any], bytes]:
    """An array's description and bytes.

    Raises
    ------
    TypeError
        It does not hold numbers or booleans.
    """
    if array.dtype.kind not in _KINDS:
        msg = f"an array of {array.dtype} cannot be handed to another task"
        raise TypeError(msg)
    info = {"dtype": array.dtype.name, "shape": list(array.shape)}
    if array.dtype.kind == "b":
        return info, np.packbits(array.reshape(-1)).tobytes()
    return info, array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _read_array(payload: bytes, place: int, info: Mapping[str, Any]) -> tuple[NDArray[Any], int]:
    """An array, read only, and how many bytes it takes."""
    dtype, shape = np.dtype(info["dtype"]), tuple(int(edge) for edge in info["shape"])
    if dtype.kind not in _KINDS or min(shape, default=0) < 0:
        msg = f"there is no array of {info}"
        raise ValueError(msg)
    count = int(np.prod(shape, dtype=object))
    if dtype.kind == "b":
        bits = np.frombuffer(payload, np.uint8, -(-count // 8), place)
        return np.unpackbits(bits, count=count).view(np.bool_).reshape(shape), len(bits)
    array = np.frombuffer(payload, dtype.newbyteorder("<"), count, place)
    return array.astype(dtype, copy=False).reshape(shape), array.nbytes


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _pad(data: bytes) -> bytes:
    return data.ljust(_padded(len(data)), b"\0")
