"""A process that does with law's targets what it is told: with those of plain law, or with ours.

``python -m tests.integration.storage_client plain``; a line of standard input is a call, ``[verb, arguments,
options]`` as JSON, and its answer is a line: ``[value, class of the error or null, its text]``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
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
        workflow: one with so many branches, each of which writes its number into a file.
        complete: how many branches of it are complete.
    """

    target: Callable[[str], Any]
    workflow: Callable[[int], Any]
    complete: Callable[[Any], int]


def plain() -> Makers:
    import law

    from benchmarks.plain_law.stored import PlainStored, file_system

    return Makers(
        lambda path: law.wlcg.WLCGFileTarget(path, fs=file_system()),
        lambda n: PlainStored(n=n),
        lambda workflow: workflow.output()["collection"].count(),
    )


def ours() -> Makers:
    from analysis.engine.snapshot import Snapshot, State
    from analysis.engine.storage import law_fs
    from analysis.engine.storage.stores import store_named
    from benchmarks.trivial_ours import OurTrivial

    store = store_named(STORE)
    return Makers(
        lambda path: law_fs.target(store, PurePosixPath(f"{STORE}:/") / path.lstrip("/")),
        lambda n: OurTrivial(n=n),
        lambda workflow: list(Snapshot().states(workflow).values()).count(State.CURRENT),
    )


@cache
def makers() -> Makers:
    return {"plain": plain, "ours": ours}[sys.argv[1]]()


def target(path: str) -> Any:
    return makers().target(path)


def folder(path: str) -> Any:
    return target(f"{path}/a").parent


def run(n: int, first: int, last: int) -> None:
    """Run some branches of a workflow."""
    branches = makers().workflow(n).get_branch_tasks()
    for branch in range(first, last):
        branches[branch].run()


def complete(n: int) -> bool:
    return bool(makers().workflow(n).complete())


def state(n: int) -> int:
    """How many branches are complete."""
    return makers().complete(makers().workflow(n))


def options() -> dict[str, Any]:
    """What the client library is told, from ``law.cfg``."""
    if sys.argv[1] == "plain":
        return dict(target("a").fs.file_interface.gfal_options)
    from analysis.engine.storage.settings import remote_settings

    return {"timeout": remote_settings(STORE).timeout}


def put(source: str, path: str) -> None:
    target(path).copy_from_local(source)


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
    import law

    makers()  # loads law's package
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
    """How many of two threads that come together fill the cache with one file."""
    meet, filled = threading.Barrier(2), []

    def plain() -> None:
        with target(path).fs.cache.lock(path):
            filled.append(path)
            meet.wait(10)  # nobody leaves before the other one is in

    def ours() -> None:
        def fetch(copy: Path) -> None:
            filled.append(path)
            copy.write_bytes(b"0")

        meet.wait(10)
        with target(path).fs.store.cache.open(path, 1, "00310031", fetch):
            pass

    if sys.argv[1] == "plain":
        files = target(path).fs.cache
        usual = files._await

        def wait(*args: Any, **kwargs: Any) -> Any:
            """Both have looked before either goes on."""
            found = usual(*args, **kwargs)
            meet.wait(10)
            return found

        files._await = wait
    threads = [threading.Thread(target=plain if sys.argv[1] == "plain" else ours) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return len(filled)


VERBS: dict[str, Callable[..., Any]] = {
    "exists": lambda path: bool(target(path).exists()),
    "size": lambda path: target(path).stat().st_size,
    "uri": lambda path: target(path).uri(),
    "remove": lambda path: target(path).remove(silent=False),
    "remove_folder": lambda path: folder(path).remove(silent=False),
    "copy": lambda path, other: target(path).copy_to(target(other)),
    "move": lambda path, other: target(path).move_to(target(other)),
    "list": listing,
    "list_files": lambda path: listing(path, type="f"),
    "list_folders": lambda path: listing(path, type="d", retries=0),
    **{f.__name__: f for f in (run, complete, state, options, put, dump, fill_folder, file_systems)},
    **{f.__name__: f for f in (hold, held, let_go, race)},
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
