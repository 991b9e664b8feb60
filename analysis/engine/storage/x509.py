"""Proxies and certificates: whose they are, and how long they last. Read, never verified: that is for servers to do."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")
_TIME = rb"(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)"
_VALIDITY = re.compile(rb"\x30[\x1e-\x22]" + _TIME + _TIME)
_ATTRIBUTE = re.compile(rb"\x04[\x01-\x7f](/[\w./-]+?/Role=[\w.-]+)/Capability=[\w.-]+")
_OF_A_PROXY = re.compile(r"(/CN=(\d+|(limited )?proxy))+$")

_VERSION = 0xA0
_NAMES = {
    bytes.fromhex("550403"): "CN",
    bytes.fromhex("550406"): "C",
    bytes.fromhex("550407"): "L",
    bytes.fromhex("550408"): "ST",
    bytes.fromhex("55040a"): "O",
    bytes.fromhex("55040b"): "OU",
    bytes.fromhex("0992268993f22c640119"): "DC",
    bytes.fromhex("0992268993f22c640101"): "UID",
    bytes.fromhex("2a864886f70d010901"): "emailAddress",
}


class Chain(NamedTuple):
    """What the certificates of a file say.

    Args:
        subject: of the person or robot, without what a proxy adds.
        issuer: of the certificate of that person.
        attributes: memberships and roles in an experiment (VOMS), such as ``/cms/Role=NULL``.
        expires: when the first of them, or of their attributes, ends [Unix time].
    """

    subject: str
    issuer: str
    attributes: tuple[str, ...]
    expires: float


def has_key(text: str) -> bool:
    """Whether a file has a private key.

    Args:
        text: of the file (PEM).
    """
    return bool(_KEY.search(text))


def proxy_expires(text: str) -> float | None:
    """Unix time at which a proxy, its attributes, or a certificate that signed it ends; ``None`` without certificate.

    Args:
        text: of the file (PEM).

    Source:
        RFC 5280, 4.1.2.5: the validity is a sequence of two times, the only one of that form, each a ``UTCTime`` with
        a year of two digits, or from 2050 on a ``GeneralizedTime``; X.690 for their bytes. RFC 5755, 4.2.6: that of the
        attributes of an experiment, inside of the proxy, is two of the latter.
    """
    ends = [
        _unix_time((found[3] or found[4]).decode()) for der in _certificates(text) for found in _VALIDITY.finditer(der)
    ]
    return min(ends, default=None)


def chain(text: str) -> Chain | None:
    """What the certificates of a file say; ``None`` if there is none.

    Args:
        text: of the file (PEM).

    Source:
        RFC 5280, 4.1: the fields of a certificate; RFC 3820, 3.4: a proxy has the name of its signer and one more
        ``CN``.
    """
    expires, named = proxy_expires(text), list(filter(None, map(_names, _certificates(text))))
    if expires is None or not named:
        return None
    person = _OF_A_PROXY.sub("", named[0][1])
    issuer = next((issuer for issuer, subject in named if subject == person), named[-1][0])
    attributes = dict.fromkeys(
        found[1].decode(errors="replace") for der in _certificates(text) for found in _ATTRIBUTE.finditer(der)
    )
    return Chain(person, issuer, tuple(attributes), expires)


def _certificates(text: str) -> Iterator[bytes]:
    for content in _CERTIFICATE.findall(text):
        try:
            yield base64.b64decode("".join(content.split()), validate=True)
        except binascii.Error:
            continue


def _unix_time(digits: str) -> float:
    if len(digits) == len("yymmddhhmmss"):
        digits = ("19" if digits >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()


def _names(der: bytes) -> tuple[str, str] | None:
    """Issuer and subject of a certificate; ``None`` if it is none."""
    try:
        (_, certificate), *_ = _items(der)
        (_, signed), *_ = _items(certificate)
        fields = [content for kind, content in _items(signed) if kind != _VERSION]
        return _name(fields[2]), _name(fields[4])  # after number and algorithm; with the validity between
    except (IndexError, ValueError):
        return None


def _name(content: bytes) -> str:
    """A distinguished name as grid tools write it, ``/DC=ch/DC=cern/CN=me``."""
    found = []
    for _, alternatives in _items(content):
        for _, pair in _items(alternatives):
            (_, identifier), (_, value) = list(_items(pair))[:2]
            found.append(f"/{_NAMES.get(identifier, identifier.hex())}={value.decode(errors='replace')}")
    return "".join(found)


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and contents of a sequence (X.690, 8.1)."""
    while content:
        kind, size, start = content[0], content[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(content[2:start])
        if start + size > len(content):
            msg = "a field ends behind its sequence"
            raise ValueError(msg)
        yield kind, content[start : start + size]
        content = content[start + size :]
