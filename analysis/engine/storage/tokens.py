"""Bearer tokens: what they say of themselves. Read, never verified: that is for servers to do."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

ANYWHERE = frozenset({"https://wlcg.cern.ch/jwt/v1/any", "ANY"})
"""Audiences that stand for all servers."""

_READING = frozenset({"storage.read", "storage.modify", "read"})
_WRITING = frozenset({"storage.create", "storage.modify", "write"})
_OF_STORAGE = _READING | _WRITING | {"storage.stage", "storage.poll"}


class Claims(NamedTuple):
    """What a token says.

    Args:
        subject: whose it is.
        issuer: who gave it.
        audience: the servers it is for; empty for any.
        scope: what it allows.
        begins: when it begins to be valid [Unix time]; ``None`` if it does not say.
        expires: when it ends [Unix time]; ``None`` if it does not say.
    """

    subject: str = ""
    issuer: str = ""
    audience: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    begins: float | None = None
    expires: float | None = None


def claims(token: str) -> Claims:
    """What a token says; nothing if it is of a kind that cannot be read.

    Args:
        token: three parts in base64url without padding, with points between them.

    Source:
        RFC 7519, 4.1: claims; WLCG Common JWT Profiles 1.0, "Scope Claims".
    """
    try:
        payload = token.strip().split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return Claims()
    if not isinstance(found, Mapping):
        return Claims()
    return Claims(
        subject=_text(found.get("sub")),
        issuer=_text(found.get("iss")),
        audience=_texts(found.get("aud")),
        scope=_texts(found.get("scope")),
        begins=_number(found.get("nbf")),
        expires=_number(found.get("exp")),
    )


def token_expires(token: str) -> float | None:
    """Unix time at which a token expires; ``None`` if it does not say."""
    return claims(token).expires


def is_for(found: Claims, audience: str) -> bool:
    """Whether a token is for a server.

    Args:
        found: what it says.
        audience: of the server.
    """
    return not found.audience or bool({audience, *ANYWHERE} & set(found.audience))


def allows(found: Claims, path: str, is_writing: bool) -> bool:
    """Whether the scope of a token has a path; one without any scope for storage leaves it to the server.

    Args:
        found: what it says.
        path: below the root of the server, e.g. ``/store/user/me``.
        is_writing: whether files are written there.

    Source:
        WLCG Common JWT Profiles 1.0, "Capability-based Authorization"; SciTokens Claims, "scope".
    """
    given = [scope.partition(":")[::2] for scope in found.scope]
    if not any(what in _OF_STORAGE for what, _ in given):
        return True
    wanted, place = _WRITING if is_writing else _READING, PurePosixPath("/", path.lstrip("/"))
    return any(what in wanted and place.is_relative_to(PurePosixPath("/", below.lstrip("/"))) for what, below in given)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(item for item in value if isinstance(item, str))
    return tuple(_text(value).split())


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
