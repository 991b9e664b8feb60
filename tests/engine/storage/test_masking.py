from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.errors import StoreError
from analysis.engine.log import OneSentence
from analysis.engine.manifest import Manifest
from analysis.engine.recipe import Recipe
from analysis.engine.storage import masking
from analysis.engine.storage.credentials import CredentialError
from analysis.engine.storage.masking import masked, masked_bytes, remember
from tests.engine.storage.secrets_of_tests import token, valid_token

TOKEN = valid_token()
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"token {TOKEN} was refused", "token <secret> was refused"),
        (f"'{TOKEN[:60]}...", "'<secret>.."),
        (f"Authorization: Bearer {TOKEN}, b", "Authorization: Bearer <secret>, b"),
        ("-H 'Authorization: Bearer 0123456789abcdef0123'", "-H 'Authorization: Bearer <secret>'"),
        ("root://h//a?authz=Bearer%20xyz&b=1", "root://h//a?authz=<secret>&b=1"),
        ("https://h/a?x=1&X-Amz-Signature=0a1b&y", "https://h/a?x=1&X-Amz-Signature=<secret>&y"),
        ("https://me:pass@host/a", "https://me:<secret>@host/a"),
        (f"a {KEY} b", "a <secret> b"),
        (f"a {KEY[:50]}", "a <secret>"),
        (KEY.replace("RSA ", ""), "<secret>"),
        ("MDAxNWxvY2F0aW9u" + "A1_-" * 20, "<secret>"),
    ],
)
def test_what_is_masked(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert masked(expected) == expected
    assert masked_bytes(text.encode()) == expected.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "root://eos.cern.ch//store/user/me/f_1.root",
        "https://host:1094/a@b",
        "bearer of bad news: no token",
        "eyewitness.of.it and keyJ",
        "the signature=abc of a function, Signature: b",
        "0123456789abcdef" * 8,
    ],
)
def test_what_is_not(text: str) -> None:
    assert masked(text) == text


def test_bytes_that_are_no_text() -> None:
    assert masked_bytes(b"\xff\x00 " + TOKEN.encode() + b" \xfe") == b"\xff\x00 <secret> \xfe"


@given(st.text(), st.text(), st.dictionaries(st.text(), st.integers() | st.text()))
def test_token_never_stays(before: str, after: str, payload: dict[str, object]) -> None:
    secret = token(payload)
    assert secret not in masked(f"{before} {secret} {after}")


def test_secret_that_looks_like_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "opaque value of twenty"
    assert masked(f"x {text}") == f"x {text}"
    monkeypatch.setattr(masking, "_known", set())
    remember(text)
    remember("short")
    assert masked(f"x {text}, short") == "x <secret>, short"
    monkeypatch.setenv("BEARER_TOKEN", "another_opaque_one")
    assert masked("a another_opaque_one") == "a <secret>"


def fail(error: Exception) -> None:
    raise error


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged."""
    masking.install()
    stream, logger = io.StringIO(), logging.getLogger("test_masking")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_logs(logged: io.StringIO) -> None:
    logger = logging.getLogger("test_masking")
    logger.warning("refused: %s", TOKEN)
    try:
        fail(ValueError(TOKEN))
    except ValueError:
        logger.exception("with a traceback")
    logger.warning("%s of 2", 1)
    assert TOKEN not in logged.getvalue()
    assert "refused: <secret>\n" in logged.getvalue()
    assert "ValueError: <secret>\n" in logged.getvalue()
    assert "1 of 2\n" in logged.getvalue()


def test_one_sentence(logged: io.StringIO) -> None:
    logger, rewriting = logging.getLogger("test_masking"), OneSentence()
    logger.addFilter(rewriting)
    try:
        fail(StoreError(TOKEN))
    except StoreError:
        logger.exception("failed")
    logger.removeFilter(rewriting)
    assert logged.getvalue() == "StoreError: <secret>\n"


def test_traceback_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        fail(ValueError(TOKEN))
    except ValueError:
        masking.excepthook(*sys.exc_info())
    assert capsys.readouterr().err.endswith("\nValueError: <secret>\n")


def test_manifest_has_no_secret() -> None:
    recipe = Recipe("Toy", parameters={"url": f"https://h/a?authz={TOKEN}"})
    with pytest.raises(CredentialError, match=r"^the recipe of Toy has a token, .* take it out of parameters"):
        Manifest(recipe, ()).to_bytes()
