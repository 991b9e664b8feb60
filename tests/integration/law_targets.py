"""What our targets do on a server; ``python -m tests.integration.law_targets NAME`` is one check, alone in its process.

``law.cfg`` has the stores ``one`` and ``two``: one folder of one server, reached by two protocols.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import law

from analysis.engine.storage import stores
from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.law_fs import target

CHECKS: dict[str, Callable[[], None]] = {}


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


def file(path: str, store: str = "one") -> Any:
    found = stores.store_named(store)
    return target(found, found.root / path)


def folder(path: str, store: str = "one") -> Any:
    found = stores.store_named(store)
    return target(found, found.root / path, is_folder=True)


def raises(error: type[BaseException], call: Callable[[], object]) -> None:
    try:
        call()
    except error:
        return
    msg = f"no {error.__name__}"
    raise AssertionError(msg)


@check
def load_and_dump() -> None:
    one = file("deep/er/a.json")
    assert not one.exists()
    for content in ({"x": 1}, [2, 3]):
        one.dump(content)
        assert one.load() == content
        assert file("deep/er/a.json", "two").load() == content
    assert one.stat().st_size == 6
    assert folder("deep/er").listdir() == ["a.json"]
    raises(FileNotFoundError, file("nothing.json").load)
    raises(FileNotFoundError, file("nothing.json").stat)


@check
def arrays() -> None:
    import numpy as np

    values = np.arange(4_000_000, dtype=np.float64)
    one = file("a.npz")
    one.dump({"values": values})
    assert (one.load()["values"] == values).all()


@check
def names() -> None:
    for name in ("a b.json", "a#1.json", "a+ü.json", "a%41.json", "100%.json", "a&b=c;d.json", "[x].json", "'q'.json"):
        one = file(f"names of/{name}")
        try:
            one.dump(name)
        except OSError as error:  # clients and servers of WebDAV do not agree on how some names are quoted
            if error.errno != errno.EINVAL or not folder("").uri().startswith("davs"):
                raise
            assert not any(name in files for _, _, files, _ in folder("").walk())
            continue
        assert one.load() == name, name
        assert name in folder("names of").listdir(), name
        one.remove()
        assert not one.exists(), name


@check
def listings() -> None:
    for path in ("a.json", "b.txt", "x/c.json", "x/y/d.json"):
        file(f"l/{path}").dump(1)
    all_ = folder("l")
    assert all_.listdir() == ["a.json", "b.txt", "x"]
    assert all_.listdir(type="f") == ["a.json", "b.txt"]
    assert all_.listdir(type="d", pattern="?") == ["x"]
    assert [found[1:3] for found in all_.walk()] == [
        (["x"], ["a.json", "b.txt"]),
        (["y"], ["c.json"]),
        ([], ["d.json"]),
    ]
    assert all_.glob("*/*.json") == ["x/c.json"]
    assert all_.child("x").type == "d"
    raises(FileNotFoundError, folder("nothing").listdir)
    raises(NotADirectoryError, folder("l/a.json").listdir)
    collection = law.SiblingFileCollection([file(f"l/{name}") for name in ("a.json", "b.txt", "c.txt")])
    assert collection.count() == 2


@check
def removal() -> None:
    for path in ("r/a.json", "r/x/y/d.json"):
        file(path).dump(1)
    raises(OSError, lambda: folder("r/x").remove(recursive=False))
    assert file("r/x/y/d.json").exists()
    folder("r").remove()
    assert not folder("r").exists()
    file("r/a.json").remove()
    raises(FileNotFoundError, lambda: file("r/a.json").remove(silent=False))
    raises(AddressError, folder("").remove)


@check
def copies() -> None:
    one = file("c/a.json")
    one.dump("content")
    one.copy_to(file("c/b.json", "two"))
    file("c/c.json").copy_from(file("c/b.json", "two"))
    one.move_to(file("c/new/d.json"))
    file("c/new/d.json").move_to(file("c/e.json", "two"))
    with tempfile.TemporaryDirectory() as local:
        file("c/e.json").copy_to_local(f"{local}/e.json")
        file("c/f.json").move_from_local(f"{local}/e.json")
        assert os.listdir(local) == []  # noqa: PTH208
    assert folder("c").listdir() == ["b.json", "c.json", "e.json", "f.json", "new"]
    assert {file(f"c/{name}.json").load() for name in "bcef"} == {"content"}


@check
def folders() -> None:
    for path in ("f/a.json", "f/x/b.json"):
        file(path).dump(path)
    folder("f").copy_to(folder("g", "two"))
    assert file("g/x/b.json").load() == "f/x/b.json"
    with folder("g").localize("w") as local:
        local.child("new.json", type="f").dump(1)
    assert folder("g").listdir() == ["new.json"]
    with folder("g").localize("a") as local:
        assert local.listdir() == ["new.json"]
        local.child("more.json", type="f").dump(1)
    assert folder("g").listdir() == ["more.json", "new.json"]


@check
def streams() -> None:
    one = file("s.txt")
    with one.open("w") as stream:
        stream.write("one")
        assert not one.exists()
    with one.open("a") as stream:
        stream.write("two")
    stream = one.open("a")
    stream.write("three")
    stream.close()
    with one.open("r") as stream:
        assert stream.read() == "onetwothree"

    def fail() -> None:
        with one.open("w") as stream:
            stream.write("half")
            raise ZeroDivisionError

    raises(ZeroDivisionError, fail)
    assert one.load() == "onetwothree"


@check
def a_folder_where_a_file_should_be() -> None:
    file("d/x/a.json").dump(1)
    raises(IsADirectoryError, lambda: file("d/x").dump(2, formatter="json"))
    raises(IsADirectoryError, lambda: file("d/x").load(formatter="json"))
    assert file("d/x/a.json").load() == 1


@check
def paths_that_lead_out() -> None:
    one = file("a.json")
    for path in ("/../x", "v1/../../x", "%2e%2e/x", "v1/%252e%252e/x"):
        raises(AddressError, lambda path=path: type(one)(path, one.fs))  # type: ignore[misc]
        raises(AddressError, lambda path=path: one.fs.exists(path))  # type: ignore[misc]
        raises(AddressError, lambda path=path: one.fs.remove(path))  # type: ignore[misc]


def _load(one: Any) -> Any:
    return one.load()


@check
def after_a_fork_and_pickled() -> None:
    one = file("p.json")
    one.dump([1, 2])
    assert one.load() == [1, 2]
    assert pickle.loads(pickle.dumps(one)).fs is one.fs
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(_load, [one] * 8) == [[1, 2]] * 8
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_load, (one,)) == [1, 2]


@check
def nobody_answers() -> None:
    lost = file("a.json", "lost")
    for call in (
        *(lost.exists, lost.stat, lost.load, lost.remove, lost.parent.listdir, lost.parent.exists, lost.status_text),
        *(lambda: lost.dump(1), lambda: lost.copy_to_local(Path.cwd() / "x"), lambda: lost.parent.glob("*")),
    ):
        raises(OSError, call)
    assert not Path("x").exists()


if __name__ == "__main__":
    CHECKS[sys.argv[1]]()
