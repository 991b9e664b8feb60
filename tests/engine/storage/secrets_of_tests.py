"""Proxies and tokens for tests: real ones, of an authority of our own that nobody trusts."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path


def token(payload: object, header: Mapping[str, object] | None = None) -> str:
    """A token such as servers issue them: without padding."""
    parts = (json.dumps(part).encode() for part in (header or {"alg": "none"}, payload))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2lnbmF0dXJl"])


def valid_token(seconds: float = 36_000, **more: object) -> str:
    """A token that is valid for a while."""
    return token({"sub": "me", "iss": "https://issuer.test", "exp": time.time() + seconds, **more})


def secret_file(path: Path, content: str, mode: int = 0o600) -> Path:
    """A file as tools make them for secrets."""
    path.write_text(content)
    path.chmod(mode)
    return path


def make_proxy(folder: Path, *, days: int = 1, name: str = "proxy") -> Path:
    """A proxy (RFC 3820) of a certificate of a person: proxy, its key, certificate, in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    _certificate(folder, "ca", "/DC=org/DC=test/CN=Test CA", None, 3650)
    _certificate(folder, "user", "/DC=org/DC=test/OU=People/CN=Jane Doe", "ca", 365)
    extension = folder / "proxy.cnf"
    extension.write_text("proxyCertInfo=critical,language:id-ppl-inheritAll\nkeyUsage=critical,digitalSignature\n")
    _certificate(folder, "leaf", "/DC=org/DC=test/OU=People/CN=Jane Doe/CN=1234567", "user", days, extension)
    parts = (folder / part for part in ("leaf.pem", "leaf.key", "user.pem"))
    return secret_file(folder / name, "".join(part.read_text() for part in parts))


def make_server(folder: Path) -> Path:
    """Key and certificate of a server on 127.0.0.1, in one file; the folder is one of authorities that trusts it."""
    folder.mkdir(parents=True, exist_ok=True)
    _certificate(folder, "ca", "/DC=org/DC=test/CN=Test CA", None, 3650)
    extension = folder / "server.cnf"
    extension.write_text("subjectAltName=IP:127.0.0.1\n")
    _certificate(folder, "server", "/DC=org/DC=test/CN=server", "ca", 1, extension)
    _openssl("rehash", folder)
    parts = (folder / part for part in ("server.key", "server.pem"))
    return secret_file(folder / "server.both", "".join(part.read_text() for part in parts))


def _certificate(
    folder: Path, name: str, subject: str, signer: str | None, days: int, extension: Path | None = None
) -> None:
    key, request, out = (folder / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
    new = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", subject]
    if signer is None:
        _openssl(*new, "-x509", "-days", days, "-out", out)
    else:
        by = ["-CA", folder / f"{signer}.pem", "-CAkey", folder / f"{signer}.key", "-CAcreateserial"]
        _openssl(*new, "-out", request)
        more = ["-extfile", extension] if extension else []
        _openssl("x509", "-req", "-in", request, *by, "-days", days, "-out", out, *more)
    key.chmod(0o600)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, env=os.environ)
