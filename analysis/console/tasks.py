"""Tasks by name and parameters, as ``law run`` finds them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

import law
import luigi
from luigi.cmdline_parser import CmdlineParser
from luigi.task_register import Register, TaskClassAmbigiousException, TaskClassNotFoundException

from analysis.engine.errors import ParameterError
from analysis.engine.task import AnalysisTask
from analysis.errors import AnalysisError


class TaskIndexError(AnalysisError):
    """A module of tasks cannot be imported."""


class UnknownTaskError(AnalysisError):
    """There is no such task."""


def load_tasks() -> None:
    """Import all modules of tasks: ours, and those that ``law.cfg`` names.

    Raises:
        TaskIndexError: if one cannot be imported.
    """
    listed = [name.strip() for name in law.config.options("modules")] if law.config.has_section("modules") else []
    for name in dict.fromkeys(["analysis.tasks", *listed]):
        try:
            importlib.import_module(name)
        except Exception as error:
            msg = f"module {name} cannot be imported ({type(error).__name__}: {error}): mend it and run this again"
            raise TaskIndexError(msg) from error


@contextmanager
def asked_task(family: str, parameters: Sequence[str]) -> Iterator[AnalysisTask]:
    """The task that a command line asks for, with its parameters, defaults and errors as in ``law run``.

    Args:
        family: task family, or ``module.Class`` for one that is in no listed module.
        parameters: the words that follow it, as ``--name value``.

    Yields:
        The task; while it is used, parameters of what it requires (``--Family-name value``) are in force.

    Raises:
        UnknownTaskError: if there is no such task.
        ParameterError: if a parameter makes no sense.
        SystemExit: if there is no such parameter.
    """
    cls = _task_class(family)
    with CmdlineParser.global_instance([cls.get_task_family(), *parameters], allow_override=True) as parser:
        given = {name: getattr(parser.known_args, name) for name, _ in cls.get_params()}
        # no run starts here: with a root task, the engine would plan one, and ask before an expensive one
        parser.known_args.root_task = None
        try:
            values = {name: parameter.parse(given[name]) for name, parameter in cls.get_params() if given[name]}
            task = cls(**values)
            task.check()
        except (luigi.parameter.ParameterException, ValueError) as error:
            msg = f"{family}: {error}"
            raise ParameterError(msg) from error
        yield task


def _task_class(family: str) -> type[AnalysisTask]:
    module, _, name = family.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name, None) if module else Register.get_task_cls(family)
    except (ModuleNotFoundError, TaskClassNotFoundException, TaskClassAmbigiousException):
        cls = None
    if not isinstance(cls, type) or not issubclass(cls, AnalysisTask) or cls.exclude_index:
        close = get_close_matches(name, _families(), n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(_families())}"
        msg = f"there is no task {family}: {hint}"
        raise UnknownTaskError(msg)
    return cls


def _families() -> list[str]:
    """Families of all tasks that can be run."""
    classes = {name: cls for name, cls in Register._get_reg().items() if isinstance(cls, type)}
    return sorted(n for n, cls in classes.items() if issubclass(cls, AnalysisTask) and not cls.exclude_index)
