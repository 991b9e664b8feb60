"""Addresses in remote stores: which of them are safe, and the URLs they become."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import quote, unquote

from analysis.errors import AnalysisError

HTTP = frozenset({"http", "https", "dav", "davs"})
"""Schemes in whose URLs special characters are written as ``%20`` and the like."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
"""Names of stores."""

_PLAIN = re.compile(r"(?!\.{1,2}\Z)[\w.+=@~,-]+", re.ASCII)  # what most names are: safe, whatever decodes them
_UNSAFE = {"", ".", ".."}
_INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, line separators


class AddressError(AnalysisError, ValueError):
    """An address leads out of its store, or cannot be one."""


def root_of(name: str) -> PurePosixPath:
    """Address of the root of the store of that name.

    Examples:
        >>> str(root_of("wlcg_fs") / "v1" / "Report")
        'wlcg_fs:/v1/Report'
    """
    return PurePosixPath(f"{name}:")


def parse(text: str) -> PurePosixPath:
    """The address that a text such as ``wlcg_fs:/v1/Report`` is.

    Raises:
        AddressError: if it is none, or not a safe one. A :class:`PurePosixPath` would hide empty parts and dots.
    """
    name, colon, path = text.partition(":")
    if not colon or not NAME.fullmatch(name) or path.startswith("//") or path[:1] not in ("", "/"):
        msg = f"{text!r} is no address of a store: write NAME:/PATH with the name of a section of law.cfg"
        raise AddressError(msg)
    parts = path.strip("/").split("/") if path.strip("/") else []
    if "//" in path:
        msg = f"address {text!r} has an empty part: write one / between two names"
        raise AddressError(msg)
    for part in parts:
        check_part(part, text)
    return root_of(name).joinpath(*parts)


def parts_of(address: PurePath, root: PurePosixPath) -> tuple[str, ...]:
    """The parts of an address below the root of its store.

    Args:
        address: what is to be looked at.
        root: address of the root.

    Raises:
        AddressError: if it is of another store, or not a safe one.
    """
    if isinstance(address, Path):
        msg = f"{str(address)!r} is a path on this machine, not an address of the store {root}/"
        raise AddressError(msg)
    if address.parts[:1] != root.parts:
        msg = f"address {str(address)!r} is not in the store {root}/: ask the store that its first part names"
        raise AddressError(msg)
    for part in address.parts[1:]:
        check_part(part, str(address))
    return address.parts[1:]


def file_parts(address: PurePath, root: PurePosixPath) -> tuple[str, ...]:
    """The same for what can be written or removed: not the root.

    Raises:
        AddressError: as above, and if it is the root.
    """
    parts = parts_of(address, root)
    if not parts:
        msg = f"address {str(address)!r} is the root of the store: it is neither a file, nor is it ever removed"
        raise AddressError(msg)
    return parts


def check_part(part: str, address: str) -> None:
    """Look whether a part of an address is the name of something in its folder, however often it is decoded.

    Raises:
        AddressError: if it is not.
    """
    if _PLAIN.fullmatch(part):
        return
    plain = part
    while True:
        reason = _danger(plain)
        if reason:
            encoded = " once it is decoded" if plain != part else ""
            msg = f"address {address!r} is not safe: its part {part!r} {reason}{encoded}: use another name"
            raise AddressError(msg)
        decoded = unquote(plain, errors="surrogateescape")
        if decoded == plain:
            return
        plain = decoded


def _danger(part: str) -> str:
    if part in _UNSAFE:
        return "leads to another folder"
    if "/" in part:
        return "has a / in it"
    if any(unicodedata.category(character) in _INVISIBLE for character in part):
        return "has a control character in it"
    return ""


def url_of(base: str, parts: tuple[str, ...]) -> str:
    """URL of an address.

    Args:
        base: URL of the root of the store, without a slash at its end.
        parts: parts of the address, safe.

    Raises:
        AddressError: if no URL of that scheme can say it.

    Examples:
        >>> url_of("davs://host/store", ("v1", "a b#1"))
        'davs://host/store/v1/a%20b%231'
        >>> url_of("root://host//store", ("v1", "a b#1"))
        'root://host//store/v1/a b#1'
    """
    if base.partition("://")[0].lower() in HTTP:
        parts = tuple(quote(part) for part in parts)
    elif any("?" in part for part in parts):  # what follows is for the server, not part of the name
        msg = f"'{base}/{'/'.join(parts)}' has a ? in a name, which only https:// and davs:// can say: use another name"
        raise AddressError(msg)
    return "/".join((base, *parts))
