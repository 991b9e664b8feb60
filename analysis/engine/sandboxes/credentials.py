"""Proxies and tokens in a sandbox with a file system of its own: copies that are renewed as those outside are.

A file that is mounted would stay what it was when the sandbox was started, as a renewed one takes its name only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from analysis.engine.backends.jobcredentials import VARIABLES, content_of, given, written
from analysis.engine.storage import refresh
from analysis.engine.storage.credentials import CredentialError

FOLDER = "credentials"
"""In the directory of a run."""
GIVEN = "ANALYSIS_CREDENTIALS_GIVEN"
"""Variable that says that credentials are renewed outside."""
_INTERVAL = 5.0
"""How often it is looked whether one was renewed [s]."""
_one_at_a_time = threading.Lock()


def give(run: Path) -> dict[str, str]:
    """Copy what there is now, if it is not what was copied before.

    Args:
        run: directory that is visible inside.

    Returns:
        Variables that name the copies. What cannot be read is left out: who needs it says so.
    """
    folder, variables = run / FOLDER, {GIVEN: "1"}
    with suppress(CredentialError, OSError), _one_at_a_time:
        refresh.keep_fresh()
        for kind, one in given().items():
            if one.path is not None:
                folder.mkdir(mode=0o700, exist_ok=True)
                variables[VARIABLES[kind]] = str(written(folder / kind, content_of(one)))
    return variables


@contextmanager
def kept_fresh(run: Path) -> Iterator[None]:
    """Copy what is renewed during a ``with`` block.

    Args:
        run: directory that is visible inside.
    """
    if not (run / FOLDER).is_dir():
        yield
        return
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_INTERVAL):
            give(run)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
