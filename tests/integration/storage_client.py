"""A process that does with law's targets what it is told: with those of plain law, or with ours.

``python -m tests.integration.storage_client plain``; a line of standard input is a call, ``[verb, arguments,
options]`` as JSON, and its answer is a line: ``[value, class of the error or null, its text]``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

STORE = "wlcg_fs"


class Makers(NamedTuple):
    """How a side makes what is tried.

    Args:
        target: a file, by its path in the store.
        state: of the workflow with so many branches: whether it is complete, and how many branches are.
        cache_folder: where local copies are.
    """

    target: Callable[[str], Any]
    state: Callable[[int], tuple[bool, int]]


def plain() -> Makers:
    from benchmarks.plain_law.stored import PlainStored, file_system, law

    def state(n: int) -> tuple[bool, int]:
        task = PlainStored(n=n)
        return task.complete(), task.output()["collection"].count()

    return Makers(lambda path: law.wlcg.WLCGFileTarget(path, fs=file_system()), state)


def ours() -> Makers:
    from analysis.engine.storage import law_fs
    from analysis.engine.storage.stores import store_named

    store = store_named(STORE)
    return Makers(lambda path: law_fs.target(store, PurePosixPath(f"{STORE}:/") / path.lstrip("/")), state=_no_state)


def _no_state(n: int) -> tuple[bool, int]:
    raise NotImplementedError(n)


@cache
def makers() -> Makers:
    return {"plain": plain, "ours": ours}[sys.argv[1]]()


def target(path: str) -> Any:
    return makers().target(path)


def folder(path: str) -> Any:
    return target(f"{path}/a").parent


def put(source: str, path: str) -> None:
    target(path).copy_from_local(source)


def get(path: str, destination: str) -> str:
    """Content, by a copy."""
    target(path).copy_to_local(destination)
    return Path(destination).read_text()


def dump(path: str, text: str) -> None:
    target(path).dump(text, formatter="text")


def listing(path: str, **options: Any) -> list[str]:
    return sorted(folder(path).listdir(**options))


def fill_folder(path: str, names: list[str]) -> None:
    """Replace what is in a folder."""
    with folder(path).localize("w") as local:
        for name in names:
            local.child(name, type="f").dump(name, formatter="text")


def file_systems(n: int) -> int:
    """How many are made for as many targets that name theirs."""
    from benchmarks.plain_law.stored import law

    make = (lambda path: law.wlcg.WLCGFileTarget(path, fs=STORE)) if sys.argv[1] == "plain" else target
    targets = [make(f"{i}.txt") for i in range(n)]
    return len({id(made.fs) for made in targets})


_held: list[tuple[AbstractContextManager[Any], Any]] = []


def hold(path: str, **options: Any) -> str:
    """Have a local copy, until :func:`let_go`; its content now."""
    context = target(path).localize("r", **options)
    local = context.__enter__()
    _held.append((context, local))
    return Path(local.path).read_text()


def held() -> str | None:
    """What is in that local copy."""
    local = Path(_held[-1][1].path)
    return local.read_text() if local.exists() else None


def let_go() -> None:
    _held.pop()[0].__exit__(None, None, None)


def race(path: str) -> int:
    """How many of two threads hold the lock of a cached file at the same time if they come together."""
    import threading

    lock_of = target(path).fs.cache.lock
    meet, inside, most = threading.Barrier(2), [0], [0]
    cache = target(path).fs.cache
    usual = cache._await

    def come(*args: Any, **kwargs: Any) -> Any:
        found = usual(*args, **kwargs)
        meet.wait(10)
        return found

    cache._await = come

    def take() -> None:
        with lock_of(path):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            meet.wait(10)
            inside[0] -= 1

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return most[0]


VERBS: dict[str, Callable[..., Any]] = {
    "exists": lambda path: bool(target(path).exists()),
    "size": lambda path: target(path).stat().st_size,
    "load": lambda path: target(path).load(formatter="text"),
    "uri": lambda path: target(path).uri(),
    "remove": lambda path: target(path).remove(silent=False),
    "remove_folder": lambda path: folder(path).remove(silent=False),
    "copy": lambda path, other: target(path).copy_to(target(other)),
    "move": lambda path, other: target(path).move_to(target(other)),
    "list": listing,
    "list_files": lambda path: listing(path, type="f"),
    "list_folders": lambda path: listing(path, type="d", retries=0),
    "state": lambda n: makers().state(n),
    "options": lambda: dict(target("a").fs.file_interface.gfal_options),
    **{f.__name__: f for f in (put, get, dump, fill_folder, file_systems, hold, held, let_go, race)},
}


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # client libraries print
    for line in sys.stdin:
        verb, arguments, options = json.loads(line)
        try:
            answer = [VERBS[verb](*arguments, **options), None, ""]
        except Exception as error:
            answer = [None, type(error).__name__, str(error)]
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
