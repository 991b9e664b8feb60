from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.engine.code import module_digest
from tests.engine.toy_project import digest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f(1, 2)", "f((1, 2))"),
        ("x = 1", "x = True"),
        ("x = 'None'", "x = None"),
        ("[a, [b]]", "[[a], b]"),
        ("{**a}", "{None: a}"),
        ("if a:\n f()\ng()", "if a:\n f()\n g()"),
        ("f'{x}'", "f'{x!s}'"),
        ("f'{x}'", "'{x}'"),
        ("f'{x:1}'", "f'{x:2}'"),
        ("class A:\n x: int", "class A:\n x: str"),
        ("def f(x=1): pass", "def f(*, x=1): pass"),
        ("a.b", "b.a"),
        ("a - b - c", "a - (b - c)"),
        ("from a import b", "from .a import b"),
    ],
)
def test_canonical_text_tells_code_apart(one: str, other: str) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f'a' 'b' f'{x}'", "f'ab{x}'"),
        ("x = u'a'", 'x = "a"'),
        ("def f():\n 'doc'", "def f():\n pass"),
        ("def f():\n ...", "def f():\n pass"),
        ("if TYPE_CHECKING:\n import a\nelse:\n import b", "import b"),
        ("import typing\nif typing.TYPE_CHECKING:\n import a", "import typing"),
        ("x: int = 1", "x = 1"),
        ("def f(a: int, *b: str, c: int = 1) -> None: g()", "def f(a, *b, c=1): g()"),
        ("x = 1_000", "x = 1000"),
    ],
)
def test_canonical_text_has_one_form(one: str, other: str) -> None:
    assert digest(one) == digest(other)


def test_long_sum_is_read() -> None:
    assert digest(" + ".join(["x"] * 500)) != digest(" + ".join(["x"] * 501))


def test_digest_is_the_same_on_every_python() -> None:
    text = r"""
def f(x, *y, z=1.5e3, **w):
    a = f"{x!r:>{z}} {{}} {y=}" "tail" f"{x:%H:%M}"
    match x:
        case {"a": [1, *_], **rest} | None:
            return {**w, -1: "\U0001fae8é"}, b"\xff", 1j, ...
    with open(a) as b, c: yield lambda q: [i for i in x if i > 0][1:2, ...]
"""
    assert digest(text) == "6ebb611e5ba38385"


REPORT = """
import sys, json
from analysis.engine.modules import load_module
print(json.dumps({name: load_module(name).digest for name in sys.argv[1:]}))
"""


def test_digests_of_the_project_agree_among_interpreters() -> None:
    names = [
        ".".join(f.relative_to(REPOSITORY).with_suffix("").parts)
        for f in sorted((REPOSITORY / "analysis").rglob("*.py"))
        if f.name != "__init__.py" and "engine" not in f.parts
    ]
    own = {name: module_digest(name) for name in names}
    assert len(own) > 50
    for seed, python in enumerate([sys.executable, *interpreters()]):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            [python, "-c", REPORT, *names], capture_output=True, text=True, check=True, env=environment
        )
        assert json.loads(done.stdout) == own, python


def interpreters() -> list[str]:
    found = [shutil.which(f"python3.{minor}") for minor in (11, 12, 13)]
    return [p for p in found if p and not subprocess.run([p, "-c", ""], capture_output=True, check=False).returncode]
