"""JSON Lines in and out: a streaming reader for files that nobody vouches for, and strict writers.

Lines end at LF and nowhere else, so U+2028, U+0085, VT and FF inside a string stay where they are. A
byte-order mark, CRLF, blank lines and a missing final newline change nothing. A row that cannot be read is
yielded with its reason and the rows after it go on; only what makes the whole file unusable is raised. Memory
is bounded by the longest row allowed, whatever the file holds. Gzip is recognised by its first bytes.

A file may also hold one JSON array of objects, or one object of objects (the key of each becomes its `_key`).
An array is told from a row of JSON Lines by what follows it; an object of objects is for `.json` files only.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import math
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import IO, Any, NamedTuple, cast

import orjson

from reasrm.errors import EnvironmentProblem, InputError, RowError
from reasrm.files import display_name
from reasrm.hashing import canonical_json
from reasrm.strictjson import MAX_DEPTH, dumps, parse_object, parses

__all__ = [
    "MAX_DEPTH",
    "RawRow",
    "RowLimits",
    "TruncatedInput",
    "dumps",
    "read_rows",
    "set_limits",
]

_BLANK = b" \t\r\n"
_BLOCK = 1 << 20
_NO_SUCH_FILE = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
_MAX_GZ_RATIO = 200.0

_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRUCTURE = re.compile(rb'[\[\]{},:"]')


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLimits:
    """What a file that nobody vouches for may cost.

    Args:
        row_bytes: Longest row; a longer one is reported and skipped without being held.
        unpacked_bytes: What any gzip file may expand to; beyond this, one that expands more than 200 times is refused.
    """

    row_bytes: int = 64 * 2**20
    unpacked_bytes: int = 256 * 2**20


_limits = [RowLimits()]


def set_limits(limits: RowLimits) -> None:
    """Set the limits of every file that this process reads from now on."""
    _limits[0] = limits


class RawRow(NamedTuple):
    """One row as it stands in the file.

    Args:
        place: `pairs.jsonl:1204`, or `pairs.json: item 18` in an array.
        line: Line number, or item number in an array, from 1.
        data: The row, or None if it cannot be read.
        error: Why it cannot be read, or None.
        digest: 8 bytes that change when the row does.
    """

    place: str
    line: int
    data: dict[str, Any] | None
    error: RowError | None
    digest: bytes


class TruncatedInput(InputError):
    """The file ends, or is damaged, in the middle; every complete row before that has been yielded.

    Args:
        message: What is wrong.
        place: The file.
        offset: Bytes of (decompressed) content up to the end of the last complete row.
        num_rows: Rows yielded.
    """

    def __init__(self, message: str, *, place: str, offset: int, num_rows: int) -> None:
        self.offset = offset
        self.num_rows = num_rows
        self.exit_code = 3 if num_rows else 4
        super().__init__(
            f"{message} after {num_rows} complete rows, at byte {offset} of the content",
            place=place,
            remedy="the rows before that were read; fetch the file again for the rest",
        )


_Line = tuple[int, int, bytes, bool]
"""Line number, offset of its end, its bytes, whether they are all of it."""

# The constructor of a NamedTuple is the dearest call per row; this is the same without the argument names.
_raw_row: Callable[[tuple[Any, ...]], RawRow] = partial(tuple.__new__, RawRow)


class _Item(NamedTuple):
    number: int
    text: bytes
    keyed: bool
    colon: int
    end: int
    whole: bool


def read_rows(path: str | os.PathLike[str], *, limits: RowLimits | None = None) -> Iterator[RawRow]:
    """Yield the rows of a `.jsonl`, `.jsonl.gz` or `.json` file in order, bad ones with their error.

    Error codes: `bad_utf8` (also an escaped lone surrogate), `bad_json`, `not_finite`, `big_integer`,
    `not_object`, `too_large`, `too_deep`, `duplicate_key`.

    Args:
        path: The file; a pipe will do.
        limits: Of rows and gzip files; by default what `set_limits` said.

    Raises:
        InputError: The file is missing, not text, uses CR line ends, or expands like a zip bomb.
        TruncatedInput: A gzip file or a JSON array ends too early; raised after its complete rows.
        EnvironmentProblem: The file cannot be read.
    """
    name = display_name(path)
    try:
        with io.BufferedReader(io.FileIO(path), _BLOCK) as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            # GzipFile is read directly: a buffer around it would drop complete rows when the data is cut.
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if packed else raw)
            source = _Source(name, stream, raw if packed else None, limits or _limits[0])
            yield from _rows(source)
    except OSError as error:
        if error.errno in _NO_SUCH_FILE:
            remedy = "pass the path of an existing file"
            raise InputError(f"cannot be read: {error.strerror}", place=name, remedy=remedy) from None
        raise EnvironmentProblem(f"cannot be read: {error.strerror or error}", place=name) from error


class _Source:
    """An open file: its lines, the offset read so far, and the guards of a gzip stream."""

    def __init__(
        self,
        name: str,
        stream: IO[bytes],
        packed: io.BufferedReader[Any] | None,
        limits: RowLimits,
    ) -> None:
        self.name = name
        self.cap = limits.row_bytes
        self._stream = stream
        self._packed = packed
        self._free = limits.unpacked_bytes
        self.offset = 0
        self._next_check = self._free if packed else math.inf

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes."""
        return self._count(self._stream.read(size))

    def lines(self) -> Iterator[_Line]:
        """Yield lines with their LF. One over the cap comes as its first bytes; the rest is skipped."""
        readline, limit, number = self._stream.readline, self.cap + 1, 0
        while True:
            text = readline(limit)
            if not text:
                return
            if not self.offset and text.startswith(b"\xef\xbb\xbf"):
                self.offset, text = 3, text[3:]
            self.offset += len(text)
            if self.offset > self._next_check:
                self._check_ratio()
            number += 1
            whole = len(text) < limit or text.endswith(b"\n")
            yield number, self.offset, text, whole
            while not whole:
                del text
                text = self._count(readline(_BLOCK))
                whole = not text or text.endswith(b"\n")

    def _count(self, text: bytes) -> bytes:
        self.offset += len(text)
        if self.offset > self._next_check:
            self._check_ratio()
        return text

    def _check_ratio(self) -> None:
        if self._packed is not None:
            self._next_check = self.offset + self._free // 4
            size = max(self._packed.tell(), 1)
            if self.offset > size * _MAX_GZ_RATIO:
                raise InputError(
                    f"expands {self.offset / size:.0f} times, to more than {self._free} bytes; "
                    f"beyond these, {_MAX_GZ_RATIO:g} times is the limit",
                    place=self.name,
                    remedy="if you trust it, decompress it yourself or pass --max-unpacked-bytes",
                )


def _rows(source: _Source) -> Iterator[RawRow]:
    """Decide what the file holds and yield its rows; turn damage in a gzip stream into `TruncatedInput`."""
    lines = source.lines()
    num_rows = end = 0
    try:
        head = _head(lines)
        kind = _container(head, source.name)
        if kind:
            text = b"".join(text for _, _, text, _ in head).lstrip(_BLANK)
            for item in _items(source, bytearray(text[1:]), kind):
                num_rows, end = item.number, item.end
                yield _item_row(source, item)
            return
        name, cap, blake2b = source.name, source.cap, hashlib.blake2b
        for number, line_end, text, whole in chain(head, lines):
            body = text.strip(_BLANK)
            if not body:
                continue
            place, data, error = f"{name}:{number}", None, None
            try:
                if not whole:
                    raise _too_large(place, cap)
                data = parse_object(body, place)
            except RowError as problem:
                error = problem
            num_rows, end = num_rows + 1, line_end
            yield _raw_row((place, number, data, error, blake2b(body, digest_size=8).digest()))
    except (EOFError, zlib.error, gzip.BadGzipFile) as damage:
        reason = f"the gzip data is cut or damaged ({damage})"
        raise TruncatedInput(reason, place=source.name, offset=end, num_rows=num_rows) from damage


def _head(lines: Iterator[_Line]) -> list[_Line]:
    """Return the lines up to the second one that is not blank: enough to tell what the file is."""
    head: list[_Line] = []
    num_filled = 0
    for line in lines:
        head.append(line)
        num_filled += bool(line[2].strip(_BLANK))
        if num_filled > 1 or not line[3]:
            break
    return head


def _container(head: list[_Line], name: str) -> bytes:
    """Return the opening bracket of the one array or object that the file is; empty for JSON Lines."""
    filled = [(text, body, whole) for _, _, text, whole in head if (body := text.strip(_BLANK))]
    if not filled:
        return b""
    text, body, whole = filled[0]
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") and b"\x00" in body[:4]:
        raise InputError("is UTF-16 text", place=name, remedy="convert it: iconv -f utf-16 -t utf-8 IN > OUT")
    is_json = name.removesuffix(".gz").endswith(".json")
    complete = whole and parses(body)
    if body[:1] == b"[" or (body[:1] == b"{" and is_json):
        if len(filled) > 1:
            # A second line that is JSON by itself shows rows, unless the first line only opens the container.
            rows = complete or (body[-1:] not in b"[{,:" and parses(filled[1][1]))
            return b"" if rows else body[:1]
        if body[:1] == b"[" or not complete:
            return body[:1]
        values = orjson.loads(body).values()
        return b"{" if values and all(type(value) is dict for value in values) else b""
    if b"\r" in body and not text.endswith(b"\n") and not complete:
        raise InputError(
            "lines end in CR alone (old Macintosh text)",
            place=name,
            remedy="convert it: tr '\\r' '\\n' < IN > OUT",
        )
    return b""


def _items(source: _Source, buffer: bytearray, opening: bytes) -> Iterator[_Item]:
    """Split the inside of an array or object at its own commas, holding one item at a time."""
    keyed = opening == b"{"
    base = source.offset - len(buffer)
    position = start = depth = number = 0
    colon, in_string, oversize, closed = -1, False, False, False
    while not closed:
        if in_string:
            match = _STRING_REST.match(buffer, position)
            position = match.end() if match else position
            if buffer[position : position + 1] == b'"':
                position, in_string = position + 1, False
                continue
            found = None
        else:
            found = _STRUCTURE.search(buffer, position)
        if found is None:
            # Nothing more to decide in this buffer (a lone backslash at its end waits for the next byte).
            position = position if in_string else len(buffer)
            oversize = oversize or len(buffer) - start > source.cap
            cut = position if oversize else start
            del buffer[:cut]
            base, position, start = base + cut, position - cut, start - min(start, cut)
            colon = max(colon - cut, -1)
            block = source.read(_BLOCK)
            if not block:
                reason = "the JSON ends before its closing bracket"
                raise TruncatedInput(reason, place=source.name, offset=base + start, num_rows=number)
            buffer += block
            continue
        token, position = found.group(), found.end()
        if token == b'"':
            in_string = True
        elif token in b"[{":
            depth += 1
        elif token in b"]}" and depth > 0:
            depth -= 1
        elif depth == 0 and token == b":":
            colon = found.start() if colon < 0 else colon
        elif depth == 0:
            closed = token != b","
            oversize = oversize or found.start() - start > source.cap
            text = b"" if oversize else bytes(memoryview(buffer)[start : found.start()])
            if number or not closed or oversize or text.strip(_BLANK):
                number += 1
                colon = colon - start if keyed and colon >= 0 else -1
                yield _Item(number, text, keyed, colon, base + position, not oversize)
            start, colon, oversize = position, -1, False
    _expect_end(source, token == (b"}" if keyed else b"]"), bytes(buffer[position:]), number)


def _expect_end(source: _Source, right_bracket: bool, rest: bytes, num_rows: int) -> None:
    while right_bracket and not rest.strip(_BLANK):
        rest = source.read(_BLOCK)
        if not rest:
            return
    raise InputError(
        f"is not one JSON array or object: unexpected content after {num_rows} rows",
        place=source.name,
        remedy="write one JSON array, or one object per line",
    )


def _item_row(source: _Source, item: _Item) -> RawRow:
    place = f"{source.name}: item {item.number}"
    try:
        if not item.whole:
            raise _too_large(place, source.cap)
        data = parse_object(item.text[item.colon + 1 :].strip(_BLANK), place)
        if item.keyed:
            data["_key"] = _key(item.text[: max(item.colon, 0)], place)
        digest = hashlib.blake2b(canonical_json(data), digest_size=8).digest()
        return RawRow(place, item.number, data, None, digest)
    except RowError as error:
        digest = hashlib.blake2b(item.text, digest_size=8).digest()
        return RawRow(place, item.number, None, error, digest)


def _key(text: bytes, place: str) -> str:
    try:
        key = orjson.loads(text.strip(_BLANK))
    except orjson.JSONDecodeError:
        key = None
    if isinstance(key, str):
        return key
    raise RowError("the row has no key", code="bad_json", place=place, remedy='write "key": {…}')


def _too_large(place: str, cap: int) -> RowError:
    remedy = "shorten it, or pass a larger --max-row-bytes"
    return RowError(f"the row is longer than {cap} bytes", code="too_large", place=place, remedy=remedy)
