from __future__ import annotations

import calendar
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine.storage import credentials as module
from analysis.engine.storage import tokens, x509
from analysis.engine.storage.credentials import (
    Credential,
    CredentialError,
    bearer_token,
    check_audience,
    check_credential,
    check_scope,
    credentials,
    proxy_file,
)
from analysis.engine.storage.x509 import proxy_expires
from tests.engine.storage.secrets_of_tests import make_proxy, secret_file, token, valid_token

# made with openssl, which says: notAfter=Jan  2 03:04:05 2026 GMT, and notAfter=Jun  7 08:09:10 2051 GMT
SHORT = """
-----BEGIN CERTIFICATE-----
MIIBFjCBvAIBATAKBggqhkjOPQQDAjAiMRMwEQYKCZImiZPyLGQBGRYDb3JnMQsw
CQYDVQQDDAJjYTAeFw0yNjAxMDEwMDAwMDBaFw0yNjAxMDIwMzA0MDVaMAwxCjAI
BgNVBAMMAXAwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ7W/DqMqVBr73akCOL
k3fboddpFHRtTOpvEKPp38sZcWvL+vWVWSgjDv6ohEPtHVp8RMoovpaCzB+RYryw
55HsMAoGCCqGSM49BAMCA0kAMEYCIQDzbfOaL8zDrz2YCI7MYdCfRohFMYC/T0hO
zhYog/YQSAIhAKsUP/4zf495v5FvCOQj2h1viCibvZQhDDZSIEfoTBpO
-----END CERTIFICATE-----
"""
LONG = """
-----BEGIN CERTIFICATE-----
MIIBFzCBvgIBAjAKBggqhkjOPQQDAjAiMRMwEQYKCZImiZPyLGQBGRYDb3JnMQsw
CQYDVQQDDAJjYTAgFw0yNjAxMDEwMDAwMDBaGA8yMDUxMDYwNzA4MDkxMFowDDEK
MAgGA1UEAwwBcDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDtb8OoypUGvvdqQ
I4uTd9uh12kUdG1M6m8Qo+nfyxlxa8v69ZVZKCMO/qiEQ+0dWnxEyii+loLMH5Fi
vLDnkewwCgYIKoZIzj0EAwIDSAAwRQIgR1OvgtPhxPP8CZRkuI5GWVmo1Q9tMjYi
KMSH45iSzQACIQDSRGEkeWDjL8w/2cupfaMIPKgNST384a0vq7J0+dvNxw==
-----END CERTIFICATE-----
"""
SHORT_ENDS = float(calendar.timegm((2026, 1, 2, 3, 4, 5)))
LONG_ENDS = float(calendar.timegm((2051, 6, 7, 8, 9, 10)))
SHORT_ENDS = float(calendar.timegm((2026, 1, 2, 3, 4, 5)))
LONG_ENDS = float(calendar.timegm((2051, 6, 7, 8, 9, 10)))
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n"
UID = os.getuid()

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a proxy with")


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of ``/tmp``."""
    path = tmp_path / "shared"
    path.mkdir()
    monkeypatch.setattr(module, "_SHARED_FOLDER", path)
    return path


# certificates


def test_shortest_certificate_of_a_proxy_counts() -> None:
    assert proxy_expires(SHORT) == SHORT_ENDS
    assert proxy_expires(LONG) == LONG_ENDS
    assert proxy_expires(LONG + KEY + SHORT) == SHORT_ENDS
    assert proxy_expires(KEY) is None
    assert proxy_expires("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n") is None


def test_names_of_a_certificate() -> None:
    found = x509.chain(SHORT)
    assert found == x509.Chain("/CN=p", "/DC=org/CN=ca", (), SHORT_ENDS)
    assert x509.chain(KEY) is None
    assert x509.chain("-----BEGIN CERTIFICATE-----\nMAMC\n-----END CERTIFICATE-----\n") is None


@needs_openssl
def test_proxy_is_that_of_a_person(tmp_path: Path) -> None:
    proxy = make_proxy(tmp_path / "pki", days=2)
    (found,) = credentials({"X509_USER_PROXY": str(proxy)})
    assert found.subject == "/DC=org/DC=test/OU=People/CN=Jane Doe"
    assert found.issuer == "/DC=org/DC=test/CN=Test CA"
    assert found.expires == pytest.approx(time.time() + 2 * 86400, abs=600)
    assert proxy_file({"X509_USER_PROXY": str(proxy)}) == proxy
    assert "PRIVATE" not in repr(found)


@needs_openssl
def test_certificate_with_its_key(tmp_path: Path) -> None:
    """Where there is no proxy."""
    proxy = make_proxy(tmp_path / "pki")
    shell = {
        name: str(tmp_path / "pki" / f"user.{end}")
        for name, end in (("X509_USER_CERT", "pem"), ("X509_USER_KEY", "key"))
    }
    assert [(one.kind, one.subject) for one in credentials(shell)] == [
        ("certificate", "/DC=org/DC=test/OU=People/CN=Jane Doe")
    ]
    assert proxy_file(shell) is None
    assert [one.kind for one in credentials({**shell, "X509_USER_PROXY": str(proxy)})] == ["proxy"]
    (tmp_path / "pki" / "user.key").chmod(0o640)
    with pytest.raises(CredentialError, match=r"user.key, which X509_USER_KEY names, is open to others"):
        list(credentials(shell))


def test_attributes_end_before_the_proxy() -> None:
    """The membership that VOMS adds is inside of the proxy, with a validity of its own."""
    import base64

    times = [b"\x18\x0f20260101000000Z", b"\x18\x0f20260101120000Z"]
    inside = b"\x30\x22" + b"".join(times) + b"\x04\x20/cms/Role=NULL/Capability=NULL"
    text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(inside).decode()}\n-----END CERTIFICATE-----\n"
    found = x509.chain(SHORT + text)
    assert found is not None
    assert found.attributes == ("/cms/Role=NULL",)
    assert found.expires == calendar.timegm((2026, 1, 1, 12, 0, 0))


# tokens


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        (token({"exp": 1.6e9}), 1.6e9),
        (token({"exp": 1600000000, "sub": "??>>~~"}) + "\n", 1.6e9),
        (token({"sub": "me"}), None),
        (token([1]), None),
        (token({"exp": [1]}), None),
        (token({"exp": True}), None),
        ("opaque", None),
        ("a.b.c", None),
        ("", None),
    ],
)
def test_end_of_a_token(text: str, expires: float | None) -> None:
    assert tokens.token_expires(text) == expires


def test_claims_of_a_token() -> None:
    found = tokens.claims(token({"sub": "me", "iss": "i", "aud": ["a", "b"], "scope": "read:/ write:/x", "nbf": 3}))
    assert found == tokens.Claims("me", "i", ("a", "b"), ("read:/", "write:/x"), 3.0, None)
    assert tokens.claims(token({"aud": "a", "sub": 7})) == tokens.Claims(audience=("a",))


@pytest.mark.parametrize(
    ("scope", "reads", "writes"),
    [
        ("storage.read:/ storage.modify:/user/me", True, True),
        ("storage.read:/", True, False),
        ("storage.read:/user storage.create:/user/you", True, False),
        ("storage.create:/user/me", False, True),
        ("storage.read:/use storage.modify:/user/me/sub", False, False),
        ("read:/user write:/user/me", True, True),
        ("openid wlcg.groups:/cms", True, True),
        ("", True, True),
        ("storage.stage:/", False, False),
    ],
)
def test_scope(scope: str, reads: bool, writes: bool) -> None:
    found = tokens.claims(token({"scope": scope}))
    assert tokens.allows(found, "/user/me/v1", is_writing=False) == reads
    assert tokens.allows(found, "user/me", is_writing=True) == writes


def test_token_for_another_server() -> None:
    shell = {"BEARER_TOKEN": valid_token(aud="https://a.test")}
    assert bearer_token("https://a.test", shell=shell)
    assert bearer_token(shell=shell)
    with pytest.raises(CredentialError, match=r"^the token in BEARER_TOKEN is for https://a.test, not for b: get one"):
        bearer_token("b", shell=shell)
    assert bearer_token("b", shell={"BEARER_TOKEN": valid_token(aud="https://wlcg.cern.ch/jwt/v1/any")})
    assert bearer_token("b", shell={"BEARER_TOKEN": valid_token()})
    check_audience(Credential("x", None, ""), "b")


def test_token_that_may_only_read() -> None:
    (found,) = credentials({"BEARER_TOKEN": valid_token(scope="storage.read:/")})
    check_scope(found, "/a", is_writing=False)
    with pytest.raises(
        CredentialError, match=r"does not allow to write to /a, only storage.read:/: get .* storage.modify:/a$"
    ):
        check_scope(found, "/a", is_writing=True)
    check_scope(Credential("the proxy p", None, "", kind="proxy", scope=("/cms",)), "/a", is_writing=True)


# where they are


def test_discovery_of_a_token(tmp_path: Path, shared: Path) -> None:
    """Each place comes before those after it."""
    texts = [valid_token(jti=name) for name in "abcd"]
    secret_file(shared / f"bt_u{UID}", texts[3])
    assert bearer_token(shell={}) == texts[3]
    (tmp_path / "run").mkdir()
    shell = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert bearer_token(shell=shell) == texts[3]
    secret_file(tmp_path / "run" / f"bt_u{UID}", f" {texts[2]}\n")
    assert bearer_token(shell=shell) == texts[2]
    shell["BEARER_TOKEN_FILE"] = str(secret_file(tmp_path / "named", texts[1]))
    assert bearer_token(shell=shell) == texts[1]
    shell["BEARER_TOKEN"] = f"{texts[0]}\n"
    assert bearer_token(shell=shell) == texts[0]


def test_nothing_there(tmp_path: Path) -> None:
    shell = {"XDG_RUNTIME_DIR": str(tmp_path), "X509_USER_PROXY": "", "BEARER_TOKEN": " ", "BEARER_TOKEN_FILE": ""}
    assert bearer_token(shell=shell) is None
    assert proxy_file(shell) is None
    assert list(credentials(shell)) == []


def test_credentials_of_the_shell(tmp_path: Path, shared: Path) -> None:
    proxy, file = secret_file(tmp_path / "proxy", SHORT + KEY + LONG), tmp_path / "token"
    secret_file(file, token({"exp": 7}))
    shell = {"X509_USER_PROXY": str(proxy), "BEARER_TOKEN_FILE": str(file)}
    assert [found[:2] for found in credentials(shell)] == [(f"the proxy {proxy}", SHORT_ENDS), (f"the token {file}", 7)]
    shell["BEARER_TOKEN"] = token({"exp": 8})
    assert [found[:2] for found in credentials(shell)][1:] == [("the token in BEARER_TOKEN", 8)]
    usual = secret_file(shared / f"x509up_u{UID}", LONG + KEY)
    assert [(found.path, found.variable) for found in credentials({})] == [(usual, "")]


def test_file_is_read_again(tmp_path: Path) -> None:
    """As after it was renewed."""
    file = secret_file(tmp_path / "token", valid_token(jti="old"))
    shell = {"BEARER_TOKEN_FILE": str(file)}
    old = bearer_token(shell=shell)
    file.write_text(valid_token(jti="new"))
    assert bearer_token(shell=shell) not in (old, None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
@pytest.mark.parametrize("variable", ["X509_USER_PROXY", "BEARER_TOKEN_FILE"])
def test_file_that_others_can_read(tmp_path: Path, variable: str, mode: int) -> None:
    path = secret_file(tmp_path / "open", LONG + KEY, mode)
    expected = rf"^{path}, which {variable} names, is open to others, .* mode is {mode:04o}\): run 'chmod 600 {path}'$"
    with pytest.raises(CredentialError, match=expected):
        list(credentials({variable: str(path)}))
    with pytest.raises(CredentialError, match=expected):
        (proxy_file if variable == "X509_USER_PROXY" else lambda shell: bearer_token(shell=shell))(
            {variable: str(path)}
        )


@pytest.mark.skipif(UID != 0, reason="only root can give files away")
def test_file_of_somebody_else_does_not_count(shared: Path) -> None:
    """In a folder where everybody can write."""
    path = secret_file(shared / f"bt_u{UID}", valid_token())
    os.chown(path, 1, 1)
    assert bearer_token(shell={}) is None


@pytest.mark.parametrize("variable", ["X509_USER_PROXY", "BEARER_TOKEN_FILE"])
def test_credential_that_is_not_there(tmp_path: Path, variable: str) -> None:
    path = tmp_path / "gone"
    with pytest.raises(CredentialError, match=rf"^{path}, which {variable} names, cannot be read \(no such file"):
        list(credentials({variable: str(path)}))


@pytest.mark.parametrize(("text", "lacks"), [(KEY, "certificate"), (SHORT, "private key")])
def test_file_that_is_no_proxy(tmp_path: Path, text: str, lacks: str) -> None:
    path = secret_file(tmp_path / "proxy", text)
    with pytest.raises(CredentialError, match=f"has no {lacks}: make a new one with 'voms-proxy-init"):
        list(credentials({"X509_USER_PROXY": str(path)}))


@pytest.mark.parametrize(("text", "problem"), [("", "is empty"), ("two words", "is no token: it has spaces")])
def test_file_that_is_no_token(tmp_path: Path, text: str, problem: str) -> None:
    path = secret_file(tmp_path / "token", text)
    with pytest.raises(CredentialError, match=f"^the token {path} {problem}"):
        bearer_token(shell={"BEARER_TOKEN_FILE": str(path)})


# how long


def test_how_long_a_credential_lasts() -> None:
    proxy = Credential("the proxy p", 10_000.0, "renew it")
    expected = "the proxy p is valid for 50 min only, and a job may take 2 h 0 min: renew it"
    assert check_credential(proxy, 7200, 7000.0) == expected
    assert check_credential(proxy, 3000, 7000.0) == ""
    assert check_credential(proxy, 0, 9999.0) == ""
    assert check_credential(proxy._replace(expires=None), 7200, 1e12) == ""
    with pytest.raises(CredentialError, match=r"^the proxy p expired 17 min ago: renew it, then run again$"):
        check_credential(proxy, 7200, 11_000.0)


def test_expired_token(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "token", valid_token(-120))
    with pytest.raises(CredentialError, match=rf"^the token {file} expired 2 min ago: get a new one, e.g. with 'htg"):
        bearer_token(shell={"BEARER_TOKEN_FILE": str(file)})


def test_leftovers(shared: Path) -> None:
    """What no variable names and has expired stands in nobody's way, if there is something else."""
    secret_file(shared / f"bt_u{UID}", valid_token(-120))
    with pytest.raises(CredentialError, match="expired 2 min ago"):
        bearer_token(shell={})
    usual = secret_file(shared / f"x509up_u{UID}", LONG + KEY)
    assert bearer_token(shell={}) is None
    assert proxy_file({}) == usual
    usual.write_text(SHORT + KEY)
    assert proxy_file({}) is None or time.time() < SHORT_ENDS


@pytest.mark.parametrize("show", [repr, lambda text: str([text])])
def test_secret_is_not_shown(show: Callable[[object], str]) -> None:
    text = valid_token()
    found = bearer_token(shell={"BEARER_TOKEN": text})
    assert found == text
    assert show(found).strip("[]") == "<secret>"
