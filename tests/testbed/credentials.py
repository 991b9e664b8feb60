"""Certificates, proxies and tokens of the testbed's storage, made without a network.

``/usr/bin/python3 credentials.py FOLDER prepare SERVER_USER USER...`` makes what is missing or near its end, and prints
a line if the servers have to be started again. ``token`` and ``proxy`` print one more credential. Needs Debian's
python3-cryptography and python3-jwt.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import sqlite3
import subprocess
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

DAY = 86400
YEAR = 365 * DAY
ISSUER = "https://localhost/testbed"
AUDIENCE = "https://wlcg.cern.ch/jwt/v1/any"
SUBJECT = "3f1b5c5e-7d52-4c0a-9a38-0c3f8c6f2a11"
"""Not a name, as with real issuers: the servers take no account from it, but from what the token allows."""
READ = "storage.read:/"
WRITE = "storage.read:/ storage.create:/ storage.modify:/"
PROXY_INFO = bytes.fromhex("300c300a06082b06010505071501")
"""ProxyCertInfo of RFC 3820 in DER: any number of further proxies, all rights of the user (id-ppl-inheritAll)."""


# ---- certificates


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: RSAPrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as text."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as text, without a pass phrase, in the form that all clients read ("RSA PRIVATE KEY")."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

    @classmethod
    def read(cls, stem: Path) -> Identity:
        """From the files ``STEM.pem`` and ``STEM.key``."""
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key: RSAPrivateKey = load_pem_private_key(stem.with_suffix(".key").read_bytes(), None)  # type: ignore[assignment]
        return cls(x509.load_pem_x509_certificate(stem.with_suffix(".pem").read_bytes()), key)

    def write(self, stem: Path, owner: str = "root") -> None:
        """Into the files ``STEM.pem`` and ``STEM.key``; only the owner reads the key."""
        write(stem.with_suffix(".pem"), self.certificate_pem)
        write(stem.with_suffix(".key"), self.key_pem, owner, 0o400)


def name(*parts: str) -> x509.Name:
    """Distinguished name of parts such as ``CN=Alice``, below that of the testbed."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    kinds = {"DC": NameOID.DOMAIN_COMPONENT, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "CN": NameOID.COMMON_NAME}
    pairs = (part.split("=", 1) for part in ("DC=org", "DC=testbed", *parts))
    return x509.Name([x509.NameAttribute(kinds[kind], value) for kind, value in pairs])


def issue(
    subject: x509.Name,
    issuer: Identity | None,
    lifetime: float,
    *,
    kind: str,
    serial: int | None = None,
) -> Identity:
    """Make a certificate.

    Args:
        subject: whose.
        issuer: who signs; none: itself.
        lifetime: [s] from now; negative: it has expired by that.
        kind: ``authority``, ``host``, ``user`` or ``proxy``.
        serial: number; default: a random one.

    Returns:
        Certificate and its new key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    end = time.time() + lifetime
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject if issuer else subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=serial or x509.random_serial_number(),
        not_valid_before=datetime.fromtimestamp(min(end, time.time()) - DAY, UTC),
        not_valid_after=datetime.fromtimestamp(end, UTC),
    )
    for extension, critical in extensions(kind, key, issuer):
        builder = builder.add_extension(extension, critical)
    return Identity(builder.sign((issuer.key if issuer else key), hashes.SHA256()), key)


def extensions(kind: str, key: RSAPrivateKey, issuer: Identity | None) -> list[tuple[x509.ExtensionType, bool]]:
    """What a certificate of a kind says of its use, and whether a reader must understand it."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID as Use

    is_authority = kind == "authority"
    found: list[tuple[x509.ExtensionType, bool]] = [
        (
            x509.KeyUsage(
                digital_signature=True,
                key_encipherment=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                content_commitment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            True,
        )
    ]
    if kind == "proxy":
        proxy_info = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
        return [*found, (x509.UnrecognizedExtension(proxy_info, PROXY_INFO), True)]
    found.append((x509.BasicConstraints(ca=is_authority, path_length=None), True))
    if is_authority:
        found.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
    else:
        uses = [Use.CLIENT_AUTH, Use.SERVER_AUTH] if kind == "host" else [Use.CLIENT_AUTH]
        found.append((x509.ExtendedKeyUsage(uses), False))
    if issuer is not None:  # from 3.13 on, Python takes no other certificate
        found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False))
    if kind == "host":
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1"))]
        found.append((x509.SubjectAlternativeName(names), False))
    return found


def proxy_of(user: Identity, lifetime: float) -> bytes:
    """A proxy of a user, as the clients want it: certificate, key, certificate of the user."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    serial = uuid.uuid4().int >> 66
    subject = [*user.certificate.subject, x509.NameAttribute(NameOID.COMMON_NAME, str(serial))]
    made = issue(x509.Name(subject), user, lifetime, kind="proxy", serial=serial)
    return made.certificate_pem + made.key_pem + user.certificate_pem


def make_certificates(folder: Path, server: str) -> None:
    """Make all certificates and the key that signs tokens.

    Args:
        folder: that of the storage; ``pki/`` in it is new after this.
        server: user of the servers.
    """
    pki, new = folder / "pki", folder / "pki.new"
    for old in (new, folder / "keys"):
        shutil.rmtree(old, ignore_errors=True)
    (new / "certificates").mkdir(parents=True)
    authority = issue(name("CN=Testbed CA"), None, 10 * YEAR, kind="authority")
    authority.write(new / "ca")
    trust(new / "ca.pem", new / "certificates")
    issue(name("CN=localhost"), authority, 10 * YEAR, kind="host").write(new / "host", server)
    for user in ("Alice", "Mallory"):
        issue(name("OU=Users", f"CN={user}"), authority, 10 * YEAR, kind="user").write(new / user.lower())
    stranger = issue(name("CN=Stranger CA"), None, 10 * YEAR, kind="authority")
    issue(name("OU=Users", "CN=Alice"), stranger, 10 * YEAR, kind="user").write(new / "stranger")
    make_issuer(new, folder / "keys", server)
    shutil.rmtree(pki, ignore_errors=True)
    new.rename(pki)


def trust(certificate: Path, folder: Path) -> None:
    """Add an authority to a folder of trusted ones, under the names by which OpenSSL and GSI look for it."""
    asked = ["openssl", "x509", "-noout", "-hash", "-in", str(certificate)]
    digest = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copyfile(certificate, folder / f"{digest}.0")
    write(
        folder / f"{digest}.signing_policy",
        "access_id_CA X509 '/DC=org/DC=testbed/CN=Testbed CA'\npos_rights globus CA:sign\n"
        "cond_subjects globus '\"/DC=org/DC=testbed/*\"'\n",
    )


# ---- tokens


def make_issuer(pki: Path, keys: Path, server: str) -> None:
    """Make the key that signs tokens, and tell the servers of it.

    They find its public half where scitokens-cpp keeps the keys that it fetched, and so never ask the issuer.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    write(pki / "issuer.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o400)
    point = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (point.x, point.y))
    public = {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "testbed", "x": x, "y": y}
    end = int(time.time()) + 10 * YEAR
    database = keys / "scitokens" / "scitokens_cpp.sqllite"
    database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE keycache (issuer text UNIQUE PRIMARY KEY NOT NULL, keys text NOT NULL)")
        known = json.dumps({"expires": end, "next_update": end, "jwks": {"keys": [public]}})
        connection.execute("INSERT INTO keycache VALUES (?, ?)", (ISSUER, known))
    for path in (keys, database.parent, database):
        shutil.chown(path, server, server)


def token_of(key: str, scope: str, lifetime: float, audience: str = AUDIENCE) -> str:
    """A WLCG token of alice (profile 1.0).

    Args:
        key: private key of the issuer.
        scope: what it allows, such as ``storage.read:/``.
        lifetime: [s] from now; negative: it has expired by that.
        audience: for which servers it is.

    Returns:
        Token.

    Source:
        WLCG Common JWT Profiles 1.0, doi:10.5281/zenodo.3460258.
    """
    import jwt

    end = int(time.time() + lifetime)
    start = min(end, int(time.time())) - 60
    claims = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": audience,
        "scope": scope,
        "wlcg.ver": "1.0",
        "jti": str(uuid.uuid4()),
    }
    times = {"iat": start, "nbf": start, "exp": end}
    return str(jwt.encode({**claims, **times}, key, algorithm="ES256", headers={"kid": "testbed"}))


# ---- files


def write(path: Path, content: str | bytes, owner: str = "root", mode: int = 0o644) -> None:
    """Write a file at once, with its owner and mode."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123
        file.write(content.encode() if isinstance(content, str) else content)
    shutil.chown(temporary, owner, owner)
    temporary.chmod(mode)
    temporary.replace(path)


def is_older(path: Path, age: float) -> bool:
    """Whether a file was made longer ago than that [s], or is not there."""
    return not path.exists() or time.time() - path.stat().st_mtime > age


def make_credentials(folder: Path, users: list[str]) -> None:
    """Make the proxies and tokens, each user of the machine its own copy.

    Args:
        folder: that of the storage; ``credentials/USER/`` in it is new after this.
        users: users of the machine.
    """
    key = (folder / "pki" / "issuer.key").read_text()
    alice, mallory, stranger = (Identity.read(folder / "pki" / name) for name in ("alice", "mallory", "stranger"))
    made: dict[str, str | bytes] = {
        "alice.proxy": proxy_of(alice, 7 * DAY),
        "mallory.proxy": proxy_of(mallory, 7 * DAY),
        "expired.proxy": proxy_of(alice, -3600),
        "stranger.proxy": proxy_of(stranger, 7 * DAY),
        "write.token": token_of(key, WRITE, 7 * DAY),
        "read.token": token_of(key, READ, 7 * DAY),
        "expired.token": token_of(key, WRITE, -3600),
        "audience.token": token_of(key, WRITE, 7 * DAY, "https://elsewhere.example.org"),
    }
    for user in users:
        own = folder / "credentials" / user
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.chown(own, user, user)
        for file, content in made.items():
            write(own / file, content, user, 0o600)


def prepare(folder: Path, server: str, users: list[str]) -> None:
    """Make what is missing or near its end."""
    pki_is_new = is_older(folder / "pki" / "issuer.key", 9 * YEAR)
    if pki_is_new:
        make_certificates(folder, server)
        print("new certificates")
    # the last ones to be written
    last = [folder / "credentials" / user / "audience.token" for user in users]
    if pki_is_new or any(is_older(path, 5 * DAY) for path in last):
        make_credentials(folder, users)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    part = commands.add_parser("prepare")
    part.add_argument("server")
    part.add_argument("users", nargs="+")
    part = commands.add_parser("token")
    part.add_argument("--scope", default=WRITE)
    part.add_argument("--lifetime", type=float, default=3600)
    part.add_argument("--audience", default=AUDIENCE)
    part = commands.add_parser("proxy")
    part.add_argument("user", choices=["alice", "mallory", "stranger"])
    part.add_argument("--lifetime", type=float, default=3600)
    given = parser.parse_args()
    pki = given.folder / "pki"
    if given.command == "prepare":
        prepare(given.folder, given.server, given.users)
    elif given.command == "token":
        print(token_of((pki / "issuer.key").read_text(), given.scope, given.lifetime, given.audience))
    else:
        print(proxy_of(Identity.read(pki / given.user), given.lifetime).decode(), end="")


if __name__ == "__main__":
    main()
