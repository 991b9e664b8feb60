"""The side of a sandbox that starts it, and raises what went wrong inside."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from law.config import Config

from analysis.engine import progress, slots
from analysis.engine.sandboxes import inside, probe
from analysis.engine.sandboxes.base import PATIENCE, Crossing, Running, Sandbox, SandboxError, Start
from analysis.engine.sandboxes.crossing import raised
from analysis.engine.sandboxes.pinned import pinned_list
from analysis.engine.sandboxes.settings import check_name, choice_for, more_variables, sandbox_of

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask

ACTIVE = "ANALYSIS_SANDBOX"
"""Variable that names the sandbox inside it."""
_INSIDE = Path(inside.__file__)
_PREFIXES = ("ANALYSIS_", "LAW_", "LUIGI_", "X509_", "BEARER_", "SSL_CERT_", "XRD_", "LC_", "OMP_", "SLURM_JOB_")
_NAMES = {
    *("LANG", "TZ", "TERM", "USER", "LOGNAME", "KRB5CCNAME", "CUDA_VISIBLE_DEVICES", "NO_COLOR", "PYTHONHASHSEED"),
    *("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "GFAL_CONFIG_DIR", "GFAL_PLUGIN_DIR"),
    *("http_proxy", "https_proxy", "no_proxy", "_CONDOR_JOB_AD", "ANALYSIS"),
}
_EXIT_CODES = {97: "its script failed", 137: "killed, often for lack of memory", 139: "it crashed"}
_PYTHON = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE")


def chosen(task: AnalysisTask) -> Sandbox | None:
    """What a task runs in, if it is not here.

    Returns:
        ``None`` without a sandbox, in it, or in any other one: a sandbox has none in it.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    if ACTIVE in os.environ:
        return None
    sandbox = declared(task)
    return None if sandbox is None or sandbox.is_here() else sandbox


def declared(task: AnalysisTask) -> Sandbox | None:
    """What a task runs in, wherever this is; ``None`` without a sandbox.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    kind, name = check_name(task.sandbox or choice_for(task.get_task_family()), "--sandbox")
    return None if kind == "none" else sandbox_of(kind, name, task.pinned_list)


def foreign_identity(task: AnalysisTask) -> dict[str, str]:
    """What a task runs in, for its recipe: empty if that is the pinned list, whatever it is installed in.

    Raises:
        SandboxError: if it cannot be found out.
    """
    sandbox = declared(task)
    if sandbox is None or sandbox.software:
        return {}
    key = str(sandbox)
    if key not in _identities:
        _identities[key] = sandbox.identity()
    return {key: _identities[key]}


def enter(task: AnalysisTask, sandbox: Sandbox) -> None:
    """Run a task, be it a whole workflow, in a sandbox.

    Raises:
        SandboxError: if the sandbox cannot be had, or ended without an answer.
        BaseException: what the task raised.
    """
    _prepare(str(sandbox), sandbox)
    known = probe.mark([str(sandbox), sandbox.state(), *_places(task)])
    with _scratch() as scratch, _life(scratch), _channel(task, scratch):
        start = _start(task, sandbox, scratch, is_known=known.exists())
        running = sandbox.start(start)
        code = _wait(running)
        try:
            answer = json.loads((scratch / inside.ANSWER).read_text())
        except OSError as error:
            what = _EXIT_CODES.get(code or 0, f"exit code {code}")
            msg = f"{task.title()}: {sandbox} ended without an answer ({what}): look at what it printed"
            raise SandboxError(msg) from error
        if answer["is_good"]:
            known.parent.mkdir(parents=True, exist_ok=True)
            known.touch()
        if answer["error"] is not None:
            raise raised(Crossing(*answer["error"]), str(sandbox))


_prepared: set[str] = set()
_identities: dict[str, str] = {}
"""Of sandboxes that hold something else than a pinned list; inside, as they were found outside."""


def know(identities: Mapping[str, str]) -> None:
    """Take over what another process has found out."""
    _identities.update(identities)


def _prepare(key: str, sandbox: Sandbox) -> None:
    if key not in _prepared:
        sandbox.prepare()
        _prepared.add(key)


def _wait(running: Running) -> int | None:
    try:
        return running.wait()
    except BaseException:  # Ctrl-C
        running.stop()
        raise


def _places(task: AnalysisTask) -> list[str]:
    """Directories that a task writes to; made if they are not there yet, for what is not there cannot be mounted."""
    if task.store.kind != "local":
        return []
    with suppress(OSError):  # said inside, where it is tried again
        Path(task.store.root).mkdir(parents=True, exist_ok=True)
    return [str(task.store.root)]


def _start(task: AnalysisTask, sandbox: Sandbox, scratch: Path, is_known: bool) -> Start:
    from analysis.engine.sandboxes.visible import mounts

    user = (os.getuid(), os.getgid())
    search = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and Path(path).is_dir()]
    search = list(dict.fromkeys([str(inside.REPOSITORY), *search]))
    seen = [] if sandbox.shares_files else mounts(task, sandbox, scratch, search)
    request = _request(task, sandbox, scratch, search)
    if not is_known:
        pins = probe.pinned_versions(pinned_list(sandbox.software)) if sandbox.software else {}
        request["wanted"] = probe.Wanted(str(sandbox), pins, tuple(_places(task)))
    (scratch / inside.REQUEST).write_text(json.dumps(request))
    return Start(("-P", str(_INSIDE), str(scratch)), scratch, {"PYTHONUNBUFFERED": "1"}, seen, user)


def _request(task: AnalysisTask, sandbox: Sandbox, scratch: Path, search: list[str]) -> dict[str, Any]:
    from analysis.engine.backends.spec import given
    from analysis.engine.storage.resolved import resolved

    argv, modules = given()
    cls = type(task)
    return {
        "modules": list(dict.fromkeys((cls.__module__, *modules))),
        "family": task.get_task_family(),
        "parameters": {
            name: parameter.serialize(getattr(task, name))
            for name, parameter in cls.get_params()
            if name not in task.interactive_params
        },
        "argv": list(argv),
        "search": search,
        "environment": _environment(task, sandbox, scratch),
        "unset": [] if not sandbox.shares_files else [name for name in _PYTHON if name in os.environ],
        "patience": PATIENCE,
        "stores": resolved(same_disks=True).to_json(),
        "slots": slots.place(),
        "bars": progress.has_bars(),
        "identities": _identities,
        "wanted": None,
    }


def _environment(task: AnalysisTask, sandbox: Sandbox, scratch: Path) -> dict[str, str]:
    """Variables of the process inside; they cross in a file, and are neither quoted nor seen by others."""
    own: dict[str, str] = {}
    if not sandbox.shares_files:
        for name in ("home", "tmp"):
            (scratch / name).mkdir()
        own = {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES) or name in _NAMES}
        if configured := Config.instance().config_file:  # which may be that of the directory where this runs
            own["LAW_CONFIG_FILE"] = configured
        own |= {"HOME": str(scratch / "home"), "TMPDIR": str(scratch / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    return {
        **own,
        **more_variables(sandbox.kind),
        **task.sandbox_env(),
        "ANALYSIS_BASE": os.environ.get("ANALYSIS_BASE") or str(inside.REPOSITORY),
        ACTIVE: str(sandbox),
    }


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="analysis-sandbox-") as name:
        yield Path(name).resolve()


@contextmanager
def _life(scratch: Path) -> Iterator[None]:
    """Hold the lock that lets what is inside live."""
    descriptor = os.open(scratch / inside.LIFE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _channel(task: AnalysisTask, scratch: Path) -> Iterator[None]:
    """Take in what the process inside tells on the way."""
    path = scratch / inside.CHANNEL
    os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # to write as well: no end of file between two writers
    reader = threading.Thread(target=_read, args=(os.fdopen(os.dup(descriptor), "rb"), task), daemon=True)
    reader.start()
    try:
        yield
    finally:
        os.write(descriptor, b"[]\n")
        reader.join(PATIENCE)
        os.close(descriptor)


def _read(lines: Any, task: Any) -> None:
    with lines, suppress(ValueError):
        for line in lines:
            what, *values = json.loads(line) or [""]
            if not what:
                return
            if what == "progress":
                progress.send(*values)
            elif what == "status" and getattr(task, "set_status_message", None):  # luigi lends it to a task
                task.set_status_message(*values)
            elif what == "percentage" and getattr(task, "set_progress_percentage", None):
                task.set_progress_percentage(*values)
