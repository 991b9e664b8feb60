"""What this user shows to servers: X.509 proxies and bearer tokens, found where all tools of the grid look for them.

A file is read again when it has changed, so whatever renews it is noticed, in batch jobs as well. Nothing here is ever
written to a log, a report or a manifest, see :mod:`analysis.engine.storage.masking`.

Source:
    WLCG Bearer Token Discovery 1.0 (doi:10.5281/zenodo.3937438); for proxies, the rules of Globus and VOMS.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from analysis.engine.backends.statusline import show_duration
from analysis.engine.storage import tokens, x509
from analysis.engine.storage.masking import Secret, remember
from analysis.engine.storage.x509 import proxy_expires
from analysis.errors import AnalysisError

__all__ = [
    "Credential",
    "CredentialError",
    "bearer_token",
    "check_audience",
    "check_credential",
    "check_scope",
    "credentials",
    "keep_fresh",
    "proxy_file",
]

PROXY, TOKEN, CERTIFICATE = "proxy", "token", "certificate"
"""Kinds of credentials."""

_NEW_PROXY = "make a new one with 'voms-proxy-init --voms VO --valid 96:00'"
_NEW_TOKEN = "get a new one, e.g. with 'htgettoken' or 'oidc-token'"
_NEW_CERTIFICATE = "ask your certificate authority for a new one"
_SHARED_FOLDER = Path("/tmp")
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class CredentialError(AnalysisError):
    """A credential is of no use: expired, not readable, readable for others, or not what the server wants."""


class Credential(NamedTuple):
    """What is shown to a storage or a batch system; without the secret itself.

    Args:
        name: what it is, and where.
        expires: Unix time; ``None`` if it does not say.
        renewal: how to get a new one.
        kind: :data:`PROXY`, :data:`TOKEN` or :data:`CERTIFICATE`.
        path: its file; ``None`` if it has none.
        variable: that names it; empty if it lies where such files are looked for, and may be for something else.
        subject: whose it is.
        issuer: who gave it.
        audience: the servers it is for; none for any.
        scope: what it allows: scopes of a token, attributes of a proxy.
    """

    name: str
    expires: float | None
    renewal: str
    kind: str = TOKEN
    path: Path | None = None
    variable: str = ""
    subject: str = ""
    issuer: str = ""
    audience: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()

    def is_valid(self, now: float) -> bool:
        """Whether it has not expired.

        Args:
            now: Unix time.
        """
        return self.expires is None or now < self.expires


class _Place(NamedTuple):
    """A file that a variable names, or that lies where such files are looked for."""

    path: Path
    variable: str


# what is there


def credentials(shell: Mapping[str, str] = os.environ) -> Iterator[Credential]:
    """What there is: a proxy, or else a certificate with its key, and a token; what a tool of the grid would take.

    Args:
        shell: variables of this shell.

    Raises:
        CredentialError: if a variable names a file that cannot be read, is none, or can be read by others.
    """
    if found := _find_proxy(shell):
        yield found
    elif (place := _named(shell, "X509_USER_CERT")) and (key := _named(shell, "X509_USER_KEY")):
        yield _certificate(place, key)
    if token := _find_token(shell):
        yield token[0]


def proxy_file(shell: Mapping[str, str] = os.environ) -> Path | None:
    """The proxy that client libraries take now; ``None`` if there is none.

    Args:
        shell: variables of this shell.

    Raises:
        CredentialError: if it has expired, cannot be read, or can be read by others; one that no variable names and
            that has expired counts as none.
    """
    found, now = _find_proxy(shell), time.time()
    if found is None or not (found.variable or found.is_valid(now)):
        return None
    check_credential(found, 0, now)
    return found.path


def bearer_token(audience: str = "", *, shell: Mapping[str, str] = os.environ) -> Secret | None:
    """The token for a server, as it is now; ``None`` if there is none.

    A file is read again if it has changed.

    Args:
        audience: of the server, if that is known.
        shell: variables of this shell.

    Raises:
        CredentialError: if it has expired, is not for that server, cannot be read, or can be read by others; one that
            no variable names and that has expired counts as none if there is a valid proxy.
    """
    found, now = _find_token(shell), time.time()
    if found is None:
        return None
    credential, text = found
    if not (credential.variable or credential.is_valid(now)) and proxy_file(shell) is not None:
        return None
    check_credential(credential, 0, now)
    check_audience(credential, audience)
    return text


def check_credential(credential: Credential, runtime: int, now: float) -> str:
    """Compare how long a credential is valid with how long a job may take.

    Args:
        credential: the credential.
        runtime: of a job [s]; zero if there is no limit.
        now: Unix time.

    Returns:
        A warning if it may end before a job does; empty otherwise.

    Raises:
        CredentialError: if it has ended.
    """
    name, expires, renewal = credential[:3]
    if expires is None:
        return ""
    left = expires - now
    if left <= 0:
        msg = f"{name} expired {show_duration(-left)} ago: {renewal}, then run again"
        raise CredentialError(msg)
    if left < runtime:
        return f"{name} is valid for {show_duration(left)} only, and a job may take {show_duration(runtime)}: {renewal}"
    return ""


def check_audience(credential: Credential, audience: str) -> None:
    """Look whether a token is for a server.

    Args:
        credential: the token.
        audience: of the server; empty if that is not known.

    Raises:
        CredentialError: if it is for others.
    """
    if audience and not tokens.is_for(tokens.Claims(audience=credential.audience), audience):
        others = ", ".join(credential.audience)
        msg = f"{credential.name} is for {others}, not for {audience}: get one with that audience"
        raise CredentialError(msg)


def check_scope(credential: Credential, path: str, *, is_writing: bool) -> None:
    """Look whether a token has the scope for a path.

    Args:
        credential: the token.
        path: below the root of the server, e.g. ``/store/user/me``.
        is_writing: whether files are written there.

    Raises:
        CredentialError: if it has not.
    """
    if credential.kind != TOKEN or tokens.allows(tokens.Claims(scope=credential.scope), path, is_writing):
        return
    need = "storage.modify" if is_writing else "storage.read"
    msg = (
        f"{credential.name} does not allow to {'write to' if is_writing else 'read'} {path}, only "
        f"{' '.join(credential.scope)}: get one with the scope {need}:{path}"
    )
    raise CredentialError(msg)


# what becomes of it


def keep_fresh() -> bool:
    """Have what is about to expire renewed, by the command of the configuration; cheap if there is nothing to do.

    Returns:
        Whether something else is shown to servers now than at the last call: a request that was denied may be worth
        another try.
    """
    from analysis.engine.storage import refresh

    return refresh.keep_fresh()


# where it is


def _find_proxy(shell: Mapping[str, str]) -> Credential | None:
    place = _named(shell, "X509_USER_PROXY") or _lying(_SHARED_FOLDER / f"x509up_u{os.getuid()}")
    return _proxy(place, _content(place, _NEW_PROXY)) if place else None


def _find_token(shell: Mapping[str, str]) -> tuple[Credential, Secret] | None:
    if text := shell.get("BEARER_TOKEN", "").strip():
        return _token(text, None, "BEARER_TOKEN")
    name, own = f"bt_u{os.getuid()}", shell.get("XDG_RUNTIME_DIR")
    place = _named(shell, "BEARER_TOKEN_FILE") or (_lying(Path(own, name)) if own else None)
    place = place or _lying(_SHARED_FOLDER / name)
    return _token(_content(place, _NEW_TOKEN).strip(), *place) if place else None


def _named(shell: Mapping[str, str], variable: str) -> _Place | None:
    return _Place(Path(path), variable) if (path := shell.get(variable)) else None


def _lying(path: Path) -> _Place | None:
    """A file that no variable names; one of somebody else, made to be found, is none."""
    try:
        return _Place(path, "") if path.lstat().st_uid == os.getuid() and path.is_file() else None
    except OSError:
        return None


# what it says


def _proxy(place: _Place, text: str) -> Credential:
    expires = proxy_expires(text)
    if expires is None or not x509.has_key(text):
        lacks = "certificate" if expires is None else "private key"
        msg = f"{_title(place)} has no {lacks}: {_NEW_PROXY}{_or_unset(place)}"
        raise CredentialError(msg)
    return _of_chain(f"the proxy {place.path}", text, expires, PROXY, place, _NEW_PROXY)


def _certificate(place: _Place, key: _Place) -> Credential:
    text = _read(place, _NEW_CERTIFICATE)
    expires = proxy_expires(text)
    if expires is None or not x509.has_key(_content(key, _NEW_CERTIFICATE)):
        what, lacks = (place, "certificate") if expires is None else (key, "private key")
        msg = f"{_title(what)} has no {lacks}: correct the variable, or unset it"
        raise CredentialError(msg)
    return _of_chain(f"the certificate {place.path}", text, expires, CERTIFICATE, place, _NEW_CERTIFICATE)


def _of_chain(name: str, text: str, expires: float, kind: str, place: _Place, renewal: str) -> Credential:
    found = x509.chain(text)
    return Credential(
        name,
        expires,
        renewal,
        kind=kind,
        path=place.path,
        variable=place.variable,
        subject=found.subject if found else "",
        issuer=found.issuer if found else "",
        scope=found.attributes if found else (),
    )


def _token(text: str, path: Path | None, variable: str) -> tuple[Credential, Secret]:
    name = f"the token {path}" if path else f"the token in {variable}"
    if not text or len(text.split()) > 1:
        msg = f"{name} is {'no token: it has spaces or line breaks' if text else 'empty'}: {_NEW_TOKEN}"
        raise CredentialError(msg)
    found = tokens.claims(text)
    credential = Credential(
        name,
        found.expires,
        _NEW_TOKEN,
        kind=TOKEN,
        path=path,
        variable=variable,
        subject=found.subject,
        issuer=found.issuer,
        audience=found.audience,
        scope=found.scope,
    )
    return credential, remember(text)


def _content(place: _Place, renewal: str) -> str:
    """Content of a file with a secret; XRootD's client takes neither a proxy nor a token that others may read."""
    text = _read(place, renewal)
    mode = stat.S_IMODE(place.path.stat().st_mode)
    if mode & _OF_OTHERS:
        msg = (
            f"{_title(place)} is open to others, so client libraries refuse it (its mode is {mode:04o}): run "
            f"'chmod 600 {place.path}'"
        )
        raise CredentialError(msg)
    return text


def _read(place: _Place, renewal: str) -> str:
    try:
        return place.path.read_text(errors="replace")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        msg = f"{_title(place)} cannot be read ({reason}): {renewal}{_or_unset(place)}"
        raise CredentialError(msg) from error


def _title(place: _Place) -> str:
    return f"{place.path}, which {place.variable} names," if place.variable else str(place.path)


def _or_unset(place: _Place) -> str:
    return ", or unset the variable" if place.variable else ", or remove the file"
