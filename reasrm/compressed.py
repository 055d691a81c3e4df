"""Compressed streams, told by their first bytes: gzip, bzip2, xz and Zstandard, each also in several members."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import IO, Any, cast

__all__ = ["DAMAGE", "SUFFIXES", "decompressing", "is_damage"]

SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What reading a cut or damaged stream raises; of OSError only what `is_damage` says."""


def is_damage(error: BaseException) -> bool:
    """Whether an error of `DAMAGE` speaks of the content, not of the machine."""
    return not isinstance(error, OSError) or error.errno is None


def decompressing(raw: io.BufferedReader[Any]) -> tuple[IO[bytes], str | None]:
    """Return the content of an open file as a stream, and the name of its compression if it is compressed.

    Reads raise one of `DAMAGE` where the data is cut; every complete line before that comes out first.
    """
    head = raw.peek(8)[:8]
    kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    # The streams are read directly: a buffer around them would drop complete rows when the data is cut.
    if kind == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw)), kind
    if kind == "bzip2":
        return cast(IO[bytes], bz2.BZ2File(raw)), kind
    if kind == "xz":
        return cast(IO[bytes], lzma.LZMAFile(raw)), kind
    if kind == "zstd":
        return cast(IO[bytes], io.BufferedReader(_Zstandard(raw), 1 << 16)), kind
    return raw, None


class _Zstandard(io.RawIOBase):
    """A Zstandard stream, read by Arrow."""

    def __init__(self, raw: io.BufferedReader[Any]) -> None:
        import pyarrow as pa  # a tenth of a second, and only this kind of file needs it

        super().__init__()
        self._stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
