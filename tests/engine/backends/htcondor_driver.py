"""Calls one method of the HTCondor backend, as the user who runs this: a request and its answer in JSON.

The tests run as root in CI, of whom HTCondor takes no jobs.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.engine.backends.base import BackendError, Submission
from analysis.engine.backends.htcondor import HTCondor, HTCondorSettings
from analysis.engine.backends.resources import Resources


def _submission(request: dict[str, Any]) -> Submission:
    folder = Path(request["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    if request.get("code") is not None:
        (folder / "job.sh").write_text(request["code"])
    for name in request.get("inputs", ()):
        (folder / name).write_text(f"content of {name}")
    return Submission(
        token=request["token"],
        name=request.get("name", "test of the HTCondor backend"),
        folder=folder,
        script=folder / "job.sh",
        arguments=tuple(request["arguments"]),
        resources=Resources(**request.get("resources", {})),
        environment=request.get("environment", {}),
        inputs=tuple(folder / name for name in request.get("inputs", ())),
    )


def call(request: dict[str, Any]) -> Any:
    backend = HTCondor(HTCondorSettings(**request["settings"]))
    calls: dict[str, Callable[[], Any]] = {
        "check": backend.check,
        "client": lambda: type(backend.client).__name__,
        "submit": lambda: backend.submit(_submission(request)),
        "find": lambda: backend.find(request["token"], request["since"]),
        "query": lambda: {
            job: dataclasses.asdict(status) for job, status in backend.query(request["ids"], request["since"]).items()
        },
        "cancel": lambda: backend.cancel(request["ids"]),
    }
    return calls[request["call"]]()


def main() -> None:
    request = json.load(sys.stdin)
    try:
        answer = {"result": call(request)}
    except BackendError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
