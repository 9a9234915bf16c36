"""From files to blocks of whole lines, in pieces that can be read apart."""

import glob
import os
import random
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, BinaryIO

import zstandard

from pipelines.errors import InputError
from schemas.shape import MAX_LINE_BYTES

BLOCK_BYTES = 32 << 20
SUFFIXES = tuple(name + packed for name in (".ndjson", ".jsonl", ".json") for packed in ("", ".gz", ".zst"))

# Decompressors are fed this little at a time: zstd grows a thousand-byte bomb to 32 MB at most, gzip to 1 MB.
_COMPRESSED_BYTES = 1 << 10
_SEARCH_BYTES = 1 << 16
_SHORT_BYTES = 64  # what must be in a record takes more
_LOOKS, _LOOK_BYTES = 32, 4 << 10
_MIB = 1 << 20
_SAMPLE_BYTES, _SAMPLE_EVERY = 4 << 10, 16 << 20


@dataclass(frozen=True)
class Span:
    """The lines of a file that start in [start, end); `end` None is a compressed file, which is read whole."""

    path: str
    start: int
    end: int | None


@dataclass(frozen=True)
class State:
    """By what it is told that a file is the one that it was."""

    path: str
    number: int
    size: int
    changed_ns: int


def expand(patterns: Sequence[str]) -> list[str]:
    """The files that names, directories (searched in depth for `SUFFIXES`) and globs stand for: sorted, each once.

    Links are followed, and each directory is searched once, so that a loop of links ends. Raises InputError for a
    pattern that stands for no file, for a file that may not be read or a link that leads nowhere, and for a directory
    on the way that may not be listed: what is in it would be missing without a word.
    """
    files = sorted({os.path.normpath(path) for pattern in patterns for path in _matches(pattern)})
    for path in files:
        if not stat.S_ISREG(_stat(path).st_mode):
            raise InputError(f"{path} is no regular file: write what it gives to a file first")
        if not os.access(path, os.R_OK):
            raise InputError(f"{path} cannot be read: check its permissions")
    return files


def _matches(pattern: str) -> list[str]:
    named = [pattern] if os.path.lexists(pattern) else _globbed(pattern)
    found = [path for name in named for path in (_inside(name) if os.path.isdir(name) else [name])]
    if not found:
        raise InputError(f"{pattern} stands for no file: give files, globs, or directories with {', '.join(SUFFIXES)}")
    return found


def _globbed(pattern: str) -> list[str]:
    """What a glob stands for. By itself it passes over directories that it may not list."""
    head, name = os.path.split(pattern)
    while name:
        for directory in glob.glob(os.path.join(head, ""), recursive=True) if glob.has_magic(name) else ():
            _check_listable(directory)
        head, name = os.path.split(head)
    return glob.glob(pattern, recursive=True)


def _inside(directory: str) -> list[str]:
    found, seen, waiting = [], set(), [directory]
    while waiting:
        directory = waiting.pop()
        if (real := os.path.realpath(directory)) in seen:
            continue
        seen.add(real)
        _check_listable(directory)
        with os.scandir(directory) as entries:
            for entry in entries:
                if os.path.isdir(entry.path):
                    waiting.append(entry.path)
                elif entry.name.endswith(SUFFIXES) and stat.S_ISREG(_stat(entry.path).st_mode):
                    found.append(entry.path)
    return found


def _check_listable(directory: str) -> None:
    if not os.access(directory or ".", os.R_OK | os.X_OK):
        raise InputError(f"{directory} cannot be listed: check its permissions")


def states(paths: Iterable[str]) -> tuple[State, ...]:
    """What files are before they are read. Raises InputError."""
    return tuple(_state(path) for path in paths)


def check_unchanged(before: Iterable[State]) -> None:
    """Raises InputError for a file that is another than it was. A run names what it stores after the content that it
    found first: rows of any other content would stay beside those of the next run over it. One that is gone was read to
    its end, or the run would know."""
    for state in before:
        if os.path.lexists(state.path) and _state(state.path) != state:
            raise InputError(
                f"{state.path} changed while it was read: nothing is stored; run again when it is complete"
            )


def spans(paths: Iterable[str]) -> list[Span]:
    """Pieces of about BLOCK_BYTES; together they hold every line of every file exactly once. Raises InputError."""
    pieces: list[Span] = []
    for path in paths:
        if _decompressor(path):
            pieces.append(Span(path, 0, None))
        else:
            size = _size(path)
            pieces += [Span(path, at, min(at + BLOCK_BYTES, size)) for at in range(0, size, BLOCK_BYTES)]
    return pieces


def read_blocks(span: Span) -> Iterator[bytes]:
    """The lines of a span, in blocks of whole lines of about BLOCK_BYTES at most; only a file's last may lack its LF.

    Of a line that is too long no more than its first MAX_LINE_BYTES and one are sure to come through: it is rejected
    for its length whatever follows, and must not fill the memory. Where a file breaks off or a compressed stream is
    corrupt, the whole lines before come out first, then InputError is raised, which names the file only.
    """
    try:
        with _open(span.path) as file:
            yield from _whole_lines(_thinned(_pieces(file, span)))
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise InputError(f"{span.path} cannot be read to its end ({type(error).__name__}): send it again") from None


def _pieces(file: BinaryIO, span: Span) -> Iterator[bytes]:
    new = _decompressor(span.path)
    if new:
        return _gathered(_members(file, new))
    assert span.end is not None
    return _stretch(file, span.start, span.end)


def _whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    tail = b""
    for piece in pieces:
        start = 0
        if len(tail) > MAX_LINE_BYTES:  # the rest of a line that is too long already says nothing more
            start = piece.find(b"\n")
            if start < 0:
                continue
        cut = piece.rfind(b"\n") + 1
        if cut == 0:
            tail = (tail + piece)[: MAX_LINE_BYTES + 1]
            continue
        yield b"".join((tail, memoryview(piece)[start:cut]))
        tail = piece[cut : cut + MAX_LINE_BYTES + 1]
    if tail:
        yield tail


def _stretch(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """The bytes from the first line that starts in [start, end) to the end of the last."""
    at = _line_start(file, start, end)
    stop = _line_start(file, end, None) if at < end else at
    file.seek(at)
    while at < stop:
        piece = file.read(min(BLOCK_BYTES, stop - at))
        if not piece:
            raise EOFError  # the file was cut short while it was read
        at += len(piece)
        yield piece


def _line_start(file: BinaryIO, position: int, limit: int | None) -> int:
    """The first place at or after `position` where a line starts; `limit` if there is none before it."""
    if position == 0:
        return 0
    at = position - 1
    file.seek(at)
    while limit is None or at < limit:
        piece = file.read(_SEARCH_BYTES)
        if not piece:
            return at if limit is None else limit
        found = piece.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(piece)
    return limit


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of BLOCK_BYTES; what came before a failure comes out before it."""
    held: list[memoryview] = []
    size = 0
    try:
        for piece in map(memoryview, pieces):
            while len(piece) >= BLOCK_BYTES - size:
                rest = BLOCK_BYTES - size
                yield b"".join([*held, piece[:rest]])
                held, size, piece = [], 0, piece[rest:]
            held.append(piece)
            size += len(piece)
    except (EOFError, zlib.error, zstandard.ZstdError):
        yield b"".join(held)
        raise
    yield b"".join(held)


def _thinned(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, in small pieces where lines are so short that they hold nothing: wherever lines are counted or
    sought each of them takes memory of its own."""
    for piece in pieces:
        step = _MIB if _has_short_lines(piece) else BLOCK_BYTES
        yield from (piece[at : at + step] for at in range(0, len(piece), step))


def _has_short_lines(piece: bytes) -> bool:
    """Whether lines are shorter on average than any that holds a record. It is looked at a few places, since to count
    all costs a twentieth of a run; at places that nobody foresees, so that what hides from it is little."""
    if len(piece) < _MIB:
        return False
    places = [random.randrange(len(piece) - _LOOK_BYTES) for _ in range(_LOOKS)]
    return sum(piece.count(b"\n", at, at + _LOOK_BYTES) for at in places) > _LOOKS * _LOOK_BYTES // _SHORT_BYTES


def _members(file: BinaryIO, new: Callable[[], Any]) -> Iterator[bytes]:
    """The content of a compressed file of any number of members. EOFError if the last one is not complete."""
    member = None
    while chunk := file.read(_COMPRESSED_BYTES):
        while chunk:
            if member is None or member.eof:
                member = new()
            yield member.decompress(chunk)
            chunk = member.unused_data if member.eof else b""
    if member is not None and not member.eof:
        raise EOFError


def _decompressor(path: str) -> Callable[[], Any] | None:
    if path.endswith(".gz"):
        return lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    if path.endswith(".zst"):
        return lambda: zstandard.ZstdDecompressor().decompressobj()
    return None


def input_id(paths: Iterable[str]) -> str:
    """16 hex digits that name an input by its content: files' names and order do not count. Raises InputError.

    It is part of the name of every file that a bounded run leaves. So a second run over the same input replaces what
    the first one left, file by file, and a run over any other input takes nothing away. Equal files count as often as
    they are given, since their lines are read as often.

    A file is known by its size, its first and last MiB and 4 KiB at every 16 MiB: an edit that keeps the size and
    touches nothing of these goes unseen, which is the price for not reading the input twice.
    """
    digests = sorted(_digest(path) for path in paths)
    return blake2b(b"".join(digests), digest_size=8, person=b"douane input").hexdigest()


def _digest(path: str) -> bytes:
    size = _size(path)
    digest = blake2b(size.to_bytes(8), digest_size=16, person=b"douane file")
    samples = [(at, _SAMPLE_BYTES) for at in range(0, size, _SAMPLE_EVERY)]
    try:
        with _open(path) as file:
            for at, length in ((0, _MIB), (max(0, size - _MIB), _MIB), *samples):
                file.seek(at)
                digest.update(file.read(length))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): check that it is still there") from None
    return digest.digest()


def _size(path: str) -> int:
    return _stat(path).st_size


def _state(path: str) -> State:
    found = _stat(path)
    return State(path, found.st_ino, found.st_size, found.st_mtime_ns)


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        why = "is a link that leads nowhere" if os.path.islink(path) else f"cannot be read ({error.strerror})"
        raise InputError(f"{path} {why}: check that it is still there") from None


def _open(path: str) -> BinaryIO:
    """The one place where an input is opened: another file system is added here, in `_stat` and in `_matches`."""
    return open(path, "rb")
