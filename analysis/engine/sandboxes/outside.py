"""The side of a sandbox that starts it, and raises what went wrong inside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from law.config import Config

from analysis import carried
from analysis.engine import progress, slots
from analysis.engine.sandboxes import inside, probe
from analysis.engine.sandboxes.base import Crossing, Sandbox, SandboxError
from analysis.engine.sandboxes.crossing import raised
from analysis.engine.sandboxes.pinned import pinned_list
from analysis.engine.sandboxes.settings import check_name, choice_for, more_variables, sandbox_of
from analysis.engine.sandboxes.supervisors import EXIT_CODES, Setup, asked, open_run

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask

ACTIVE = "ANALYSIS_SANDBOX"
"""Variable that names the sandbox inside it."""
_KERNELS = ("OMP_", "OPENBLAS_", "MKL_", "BLIS_")
"""What says which numerical routines are used, and with how many threads: others may differ in the last digits."""
_PREFIXES = (
    *("ANALYSIS_", "LAW_", "LUIGI_", "X509_", "BEARER_", "SSL_CERT_", "XRD_", "LC_", "SLURM_JOB_"),
    *_KERNELS,
)
_NAMES = {
    *("LANG", "TZ", "TERM", "USER", "LOGNAME", "KRB5CCNAME", "CUDA_VISIBLE_DEVICES", "NO_COLOR", "PYTHONHASHSEED"),
    *("NUMEXPR_NUM_THREADS", "GFAL_CONFIG_DIR", "GFAL_PLUGIN_DIR"),
    *("http_proxy", "https_proxy", "no_proxy", "_CONDOR_JOB_AD", "ANALYSIS"),
}
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
    if sandbox.shares_files:
        _prepare(sandbox)
    state = sandbox.state()
    known = probe.mark([str(sandbox), state, *_places(task)])
    heard = _Heard(task)
    setup = _setup(task, sandbox, state)

    def request() -> dict[str, Any]:
        if not sandbox.shares_files:
            _prepare(sandbox)  # while it starts: to look into an image takes as long
        return _request(task, sandbox, known.exists())

    with (
        asked(sandbox, setup, request) as conversation,
        nullcontext() if sandbox.shares_files else _credentials().kept_fresh(open_run()),
    ):
        conversation.listen(heard.hear)
    if heard.answer is None:
        what = "it was killed" if heard.code is None else f"exit code {heard.code}"
        code = heard.code if heard.code is None or heard.code >= 0 else 128 - heard.code
        msg = f"{task.title()}: {sandbox} ended without an answer ({EXIT_CODES.get(code or 0, what)}): "
        msg += "look at what it printed"
        raise SandboxError(msg)
    if heard.answer["is_good"]:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()
    if heard.answer["error"] is not None:
        raise raised(Crossing(*heard.answer["error"]), str(sandbox))


class _Heard:
    """Takes in what the process inside tells.

    Args:
        task: that it runs.
    """

    def __init__(self, task: Any) -> None:
        self._task = task
        self.answer: dict[str, Any] | None = None
        self.code: int | None = None

    def hear(self, what: str, values: list[Any]) -> None:
        """One thing."""
        if what == "answer":
            self.answer = values[0]
        elif what == "ended":
            self.code = values[0]
        elif what == "progress":
            progress.send(*values)
        elif what == "status" and getattr(self._task, "set_status_message", None):  # luigi lends it to a task
            self._task.set_status_message(*values)
        elif what == "percentage" and getattr(self._task, "set_progress_percentage", None):
            self._task.set_progress_percentage(*values)


_prepared: set[str] = set()
_identities: dict[str, str] = {}
"""Of sandboxes that hold something else than a pinned list; inside, as they were found outside."""


def know(identities: Mapping[str, str]) -> None:
    """Take over what another process has found out."""
    _identities.update(identities)


def _prepare(sandbox: Sandbox) -> None:
    if (key := str(sandbox)) not in _prepared:
        sandbox.prepare()
        _prepared.add(key)


def _places(task: AnalysisTask) -> list[str]:
    """Directories that a task writes to; made if they are not there yet, for what is not there cannot be mounted."""
    if task.store.kind != "local":
        return []
    with suppress(OSError):  # said inside, where it is tried again
        Path(task.store.root).mkdir(parents=True, exist_ok=True)
    return [str(task.store.root)]


def _setup(task: AnalysisTask, sandbox: Sandbox, state: str) -> Setup:
    from analysis.engine.sandboxes.visible import mounts

    search = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and Path(path).is_dir()]
    search = list(dict.fromkeys([str(inside.REPOSITORY), *search]))
    return Setup(
        state=state,
        environment=_environment(task, sandbox),
        unset=tuple(name for name in _PYTHON if name in os.environ) if sandbox.shares_files else (),
        search=tuple(search),
        mounts=() if sandbox.shares_files else tuple(mounts(task, sandbox, search)),
    )


def _request(task: AnalysisTask, sandbox: Sandbox, is_known: bool) -> dict[str, Any]:
    from analysis.engine.backends.spec import given
    from analysis.engine.storage.resolved import resolved

    argv, modules = given()
    cls = type(task)
    modules = tuple(dict.fromkeys((cls.__module__, *modules)))
    wanted = None
    if not is_known:
        pins = probe.pinned_versions(pinned_list(sandbox.software)) if sandbox.software else {}
        wanted = probe.Wanted(str(sandbox), pins, tuple(_places(task)))
    return {
        "modules": modules,
        "family": task.get_task_family(),
        "parameters": {
            name: parameter.serialize(getattr(task, name))
            for name, parameter in cls.get_params()
            if name not in task.interactive_params
        },
        "argv": list(argv),
        "stores": resolved(same_disks=True).to_json(),
        "slots": slots.place(),
        "bars": progress.has_bars(),
        "identities": _identities,
        "files": carried.carried(),
        "wanted": wanted,
        # not where it is still to be seen whether all is there: the task is to tell what is missing
        "preload": () if wanted else (*modules, *task.preload),
    }


def _credentials() -> ModuleType:
    """What only containers need."""
    from analysis.engine.sandboxes import credentials

    return credentials


def _environment(task: AnalysisTask, sandbox: Sandbox) -> dict[str, str]:
    """Variables of the process inside; they cross in a file, and are neither quoted nor seen by others."""
    own: dict[str, str] = {}
    if not sandbox.shares_files:
        own = {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES) or name in _NAMES}
        if configured := Config.instance().config_file:  # which may be that of the directory where this runs
            own["LAW_CONFIG_FILE"] = configured
        own |= {"PYTHONDONTWRITEBYTECODE": "1", **_credentials().give(open_run())}
    return {
        **own,
        **more_variables(sandbox.kind),
        **task.sandbox_env(),
        "ANALYSIS_BASE": os.environ.get("ANALYSIS_BASE") or str(inside.REPOSITORY),
        ACTIVE: str(sandbox),
    }
