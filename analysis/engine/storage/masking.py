"""Secrets do not reach a terminal, a log, a report or a manifest: what looks like one is masked."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from analysis.engine.terminal import say

if TYPE_CHECKING:
    import logging
    from types import TracebackType

MASK = "<secret>"

_WORD = r"[A-Za-z0-9_-]"
_KEY = r"(?:[A-Z]+ )*PRIVATE KEY"
_PATTERNS = (
    # a token of three parts, the first of which is a JSON object; cut off or not
    (rf"\be(?:y[JA]|wo){_WORD}{{10,}}(?:\.{_WORD}*){{0,2}}", MASK),
    # a macaroon: four hexadecimal digits, then "location"
    (rf"\bMD[A-E]{_WORD}{{60,}}", MASK),
    # also those whose end was cut off
    (rf"(?s)-----BEGIN {_KEY}-----.*?(?:-----END {_KEY}-----|\Z)", MASK),
    (r"(?s)-----BEGIN CERTIFICATE-----.*?(?:-----END CERTIFICATE-----|\Z)", MASK),
    # of URLs, and of headers
    (r"(?i)(\b(?:authz|access_token)=)[^&;\s'\"<>]+", rf"\1{MASK}"),
    (r"(?i)([?&](?:x-amz-(?:signature|security-token|credential)|signature)=)[^&;\s'\"<>]+", rf"\1{MASK}"),
    (r"(?i)(\bbearer(?:\s+|%20))[a-z0-9._~+/=-]{16,}", rf"\1{MASK}"),
    (r"\b([a-z][a-z0-9+.-]*://[^/\s:@]*:)[^/\s@]+(?=@)", rf"\1{MASK}"),
)
_COMPILED = tuple((re.compile(pattern), instead) for pattern, instead in _PATTERNS)
_SHORTEST = 12
_known: set[str] = set()


class Secret(str):
    """A text that is not shown where values are: in tracebacks, in lists, in what a debugger prints."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK


def remember(secret: str) -> Secret:
    """Have a text masked from now on, whatever it looks like.

    Args:
        secret: the text; one that is too short to be a secret is not masked.
    """
    if len(secret) >= _SHORTEST:
        _known.add(str(secret))
    return Secret(secret)


def masked(text: str) -> str:
    """A text without tokens, private keys, certificates, and what authorizes in URLs and headers.

    Args:
        text: any.

    Examples:
        >>> masked("GET https://host/a?authz=Bearer%20abc&x=1: 403")
        'GET https://host/a?authz=<secret>&x=1: 403'
    """
    own = os.environ.get("BEARER_TOKEN", "").strip()
    for secret in {*_known, own} if len(own) >= _SHORTEST else _known:
        text = text.replace(secret, MASK)
    for pattern, instead in _COMPILED:
        text = pattern.sub(instead, text)
    return text


def masked_bytes(content: bytes) -> bytes:
    """The same of a text file; bytes that are no text stay as they are."""
    return masked(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def mask_record(record: logging.LogRecord) -> None:
    """Mask the message of a log record."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # logging itself will tell
        return
    if (found := masked(text)) != text:
        record.msg, record.args = found, ()


def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback with which a process ends."""
    import traceback

    say(masked("".join(traceback.format_exception(kind, error, trace))).rstrip("\n"))


def install() -> None:
    """Mask whatever this process logs, and the traceback with which it ends."""
    import logging

    factory = logging.getLogRecordFactory()
    if getattr(factory, "masks", False):
        return

    def masking_factory(*args: Any, **named: Any) -> logging.LogRecord:
        record = factory(*args, **named)
        mask_record(record)
        return record

    sys.excepthook = excepthook
    format_exception = logging.Formatter.formatException  # of all formatters: law's one makes the text itself
    logging.Formatter.formatException = lambda self, ei: masked(format_exception(self, ei))  # type: ignore[method-assign]
    masking_factory.masks = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(masking_factory)
