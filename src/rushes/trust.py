"""What this user allows files from elsewhere to name: modules that are run, hosts, and keys that go to a host.

A settings file, a project or a model folder may come from anybody. What the user types is allowed; what a file names is
allowed where the user allowed it before, by one word in a file outside every project: `module:NAME`, `host:HOST`,
`key:VARIABLE@HOST` or `link:/FOLDER`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel

from rushes.files import write_text
from rushes.text_reader import read_text

VARIABLE = "RUSHES_TRUST"  # words for one process, such as a job of a cluster, apart by blanks
GROUP = "rushes"  # of entry points: modules that an installed package offers need no word
# Marks of settings, in `Annotated`: what is done with the text.
MODULE, ADDRESS, KEY = "module that is run", "address that is called", "variable whose value is sent"
_WORD = re.compile(r"module:\w+(\.\w+)+|host:[^\s@/]+|key:[A-Za-z_]\w*@[^\s@/]+|link:/\S+")


@dataclass(frozen=True)
class TrustResult:
    """What this user allows."""

    file: Path | None  # one word a line; without its line a word is no longer allowed; null = this user has no folder
    allowed: tuple[str, ...]  # those of the environment too


@dataclass(frozen=True)
class GuardedSetting:
    """A setting that may only be a user's choice."""

    where: tuple[str, ...]  # path of the setting
    word: str  # that allows it
    what: str  # comes of it


def trust_file() -> Path | None:
    """Where words are kept: in the user's folder of configurations; None where the user has none, as in a container."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        return (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "rushes" / "trusted"
    except RuntimeError:  # a number without an entry in the system's list of users, and no HOME
        return None


def allowed() -> tuple[str, ...]:
    """All words that hold for this process, sorted; those of the environment alone where the file cannot be read."""
    return tuple(sorted({*_words_of_file(), *os.environ.get(VARIABLE, "").split()}))


def _words_of_file() -> list[str]:
    """Words of the file."""
    path = trust_file()
    try:
        return read_text(path).split() if path is not None and path.is_file() else []
    except PermissionError:  # the home of another user
        return []


def allow(words: Sequence[str]) -> TrustResult:
    """Keep words for all projects of this user, beside those that are kept.

    Raises:
        ValueError: one that is no such word; the file cannot be written.
    """
    for word in words:
        if not _WORD.fullmatch(word):
            raise ValueError(
                f"{word!r} is not something to allow; write module:PACKAGE.MODULE, host:HOST[:PORT], "
                "key:VARIABLE@HOST[:PORT] or link:/FOLDER (write a blank as %20)"
            )
    path, before = trust_file(), allowed()
    if set(words) - set(before):
        try:
            if path is None:
                raise OSError(errno.ENOENT, "this user has no home folder")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            there = read_text(path).split() if path.is_file() else []  # one that cannot be read is not replaced
            write_text(path, "".join(f"{word}\n" for word in sorted({*there, *words})))
        except OSError as error:
            raise ValueError(
                f"{path or '~/.config/rushes/trusted'}: what you allow cannot be stored there ({error.strerror}); set "
                f"{VARIABLE} to {' '.join(words)!r} in the environment, or XDG_CONFIG_HOME to a folder that you can "
                "write to"
            ) from error
    return TrustResult(path, tuple(sorted({*before, *words})))


def link_word(folder: str) -> str:
    """What allows a project's own folder to be a link to this one, which has no links in its path."""
    return f"link:{quote(os.fsencode(folder))}"


def way_to_allow(word: str) -> str:
    """What a user does to allow something, in words."""
    return f"run `rushes trust {word}` once for all projects, or add {word} to {VARIABLE}"


def asked(table: BaseModel, where: tuple[str, ...] = ()) -> Iterator[GuardedSetting]:
    """Settings of a table, and of those in it, that name code, a host beyond this machine, or a key."""
    host = ""
    for name, field in type(table).model_fields.items():
        value, path = getattr(table, name), (*where, name)
        if isinstance(value, BaseModel):
            yield from asked(value, path)
        elif MODULE in field.metadata and "." in value:
            yield GuardedSetting(path, f"module:{value}", "runs code")
        elif ADDRESS in field.metadata:
            host = host_of(value)
            if host and not is_loopback(host):
                yield GuardedSetting(path, f"host:{host}", f"sends captions and frames of clips to {host}")
        elif KEY in field.metadata and value and host:  # a table says first where, then which key
            yield GuardedSetting(path, f"key:{value}@{host}", f"sends the value of your environment variable to {host}")


def refused(table: BaseModel) -> Iterator[GuardedSetting]:
    """Those of `asked` that neither the user nor an installed package allows."""
    words: frozenset[str] | None = None
    for each in asked(table):
        words = frozenset(allowed()) if words is None else words
        if each.word not in words and each.word.removeprefix("module:") not in _offered(each.word):
            yield each


def _offered(word: str) -> set[str]:
    """Modules that installed packages offer as entry points."""
    return {each.module for each in entry_points(group=GROUP)} if word.startswith("module:") else set()


def host_of(url: str) -> str:
    """The host that a request to this address goes to, with its port unless that is 443 of https; "" = to none.

    It is read by the library that sends requests, so that the two never differ.
    """
    import httpx

    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return ""
    name = parts.netloc.decode("ascii")
    return f"{name}:80" if name and parts.scheme == "http" and parts.port is None else name


def is_loopback(host: str) -> bool:
    """Whether a host, as `host_of` gives it, is this machine by its name alone."""
    name = re.sub(r":\d+$", "", host).strip("[]")
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
