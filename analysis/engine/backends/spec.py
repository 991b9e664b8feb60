"""What a job needs to know of the run that submitted it, so that it makes the same workflow again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis import carried
from analysis.engine.backends.base import BackendError
from analysis.engine.backends.resources import Resources

if TYPE_CHECKING:
    from analysis.engine.recipe import Digest, Recipe
    from analysis.engine.snapshot import Snapshot
    from analysis.engine.task import AnalysisTask
    from analysis.engine.workflow import AnalysisWorkflow

SCHEMA = 1
DIGITS = 10
"""Hexadecimal digits of a recipe's hash in the argument of a job."""

_NOT_GIVEN = frozenset({"branch", "branches", "workflow", "effective_workflow"})
"""Parameters that say which part of a workflow runs, and where: a job has the whole of it, here."""


class SpecError(BackendError):
    """The description of a job cannot be used."""


@dataclass(frozen=True)
class JobSpec:
    """What all jobs of a submission share.

    Args:
        modules: to import so that luigi knows the task, and those that the command line sets parameters of.
        family: task family of the workflow.
        parameters: parameters of the workflow, as on the command line.
        argv: what the command line says of other tasks, such as ``--TrainModel-folds=5``.
        folder: folder of the workflow's outputs, relative to the store.
        recipe: recipe that the submitting side finds, of the branches' common part.
        backend: batch system.
        git_commit: of the submitting side.
        git_dirty: whether its files differ from the commit.
        cores: number of cores.
        memory: that a job may use [bytes]; 0 for any.
        runtime: that a job may take [s]; 0 for any.
        root: directory of the store of the workflow; empty if it is on servers.
        disks: directories of all stores on a disk that the workflow uses, which a machine has to see.
        stores: all stores, see :class:`~analysis.engine.storage.resolved.Resolved`.
        sandbox: kind of the sandbox that jobs start; empty for none.
        identities: what sandboxes of other tasks hold, see :func:`~analysis.engine.backends.jobsandbox.identities`.
        files: that the command line names, see :mod:`analysis.carried`.
    """

    modules: tuple[str, ...]
    family: str
    parameters: Mapping[str, str]
    folder: str
    backend: str
    argv: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    git_commit: str = "unknown"
    git_dirty: bool = False
    cores: int = 1
    memory: int = 0
    runtime: int = 0
    root: str = ""
    disks: tuple[str, ...] = ()
    stores: Mapping[str, Any] = field(default_factory=dict)
    sandbox: str = ""
    identities: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Text of the file."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """From :meth:`to_json`.

        Raises:
            SpecError: if it is none, or one of another version of this project.
        """
        try:
            content = json.loads(text)
            schema = content.pop("schema")
            if schema == SCHEMA:
                return cls(**{**content, **{name: tuple(content[name]) for name in ("modules", "argv", "disks")}})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"the description of the job cannot be read ({type(error).__name__}: {error}): submit it again"
            raise SpecError(msg) from error
        msg = f"the description of the job has version {schema}, the code of this job knows {SCHEMA}: submit it again"
        raise SpecError(msg)

    @classmethod
    def read(cls, path: Path) -> JobSpec:
        """From a file.

        Raises:
            SpecError: if it cannot be read.
        """
        try:
            return cls.from_json(path.read_text())
        except OSError as error:
            msg = f"the description of the job, {path}, cannot be read ({error.strerror})"
            raise SpecError(msg) from error


# the argument of a job


class Branch(NamedTuple):
    """A branch that a job is to run.

    Args:
        number: branch number.
        digest: :func:`short_digest` of the recipe that the submitting side finds.
    """

    number: int
    digest: str


def short_digest(digest: Digest) -> str:
    """Hash of both halves of a recipe's digest, as the argument of a job has it."""
    from analysis.engine.recipe import hash_text

    return hash_text(str(digest), DIGITS)


def format_branches(branches: Iterable[Branch]) -> str:
    """The argument of a job.

    Examples:
        >>> format_branches([Branch(17, "0a1b2c3d4e"), Branch(18, "5f6a7b8c9d")])
        '17:0a1b2c3d4e,18:5f6a7b8c9d'
    """
    return ",".join(f"{branch.number}:{branch.digest}" for branch in branches)


def parse_branches(argument: str) -> list[Branch]:
    """From :func:`format_branches`.

    Raises:
        SpecError: if it is none.
    """
    parts = [part.partition(":") for part in argument.split(",")]
    if not all(number.isdecimal() and len(digest) == DIGITS for number, _, digest in parts):
        msg = f"the argument of the job, {argument[:60]!r}, is not a list of branches and digests"
        raise SpecError(msg)
    return [Branch(int(number), digest) for number, _, digest in parts]


# on the submitting side


def make_spec(
    workflow: AnalysisWorkflow,
    backend: str,
    resources: Resources | None = None,
    snapshot: Snapshot | None = None,
    same_disks: bool = True,
) -> JobSpec:
    """Describe the jobs of a workflow.

    Args:
        workflow: the workflow, with any selection of branches, but at least one.
        backend: batch system.
        resources: what each job gets.
        snapshot: one that knows recipes already.
        same_disks: whether jobs see the files of this machine.
    """
    from analysis.engine import provenance
    from analysis.engine.backends.jobsandbox import identities, started_kind
    from analysis.engine.snapshot import Snapshot
    from analysis.engine.storage.resolved import local_root, resolved

    resources = resources or Resources()
    recipes = (snapshot or Snapshot()).recipes
    argv, modules = given()
    cls = type(workflow)
    return JobSpec(
        modules=tuple(dict.fromkeys((cls.__module__, *modules))),
        family=workflow.get_task_family(),
        parameters={
            name: parameter.serialize(getattr(workflow, name))
            for name, parameter in cls.get_params()
            if name not in _NOT_GIVEN and name not in workflow.interactive_params
        },
        argv=argv,
        folder=workflow.relative_folder,
        recipe=_common(recipes.recipe(workflow.branch_task(workflow.branch_numbers()[0]))),
        sandbox=started_kind(workflow),
        identities=identities(workflow, recipes),
        backend=backend,
        git_commit=provenance.git_commit(),
        git_dirty=provenance.git_dirty(),
        cores=resources.cores,
        memory=resources.memory,
        runtime=resources.runtime,
        root=str(local_root(workflow.get_task_family()) or ""),
        disks=tuple(map(str, disks(workflow))),
        stores=resolved(same_disks).to_json(),
        files=carried.carried(),
    )


def disks(workflow: AnalysisWorkflow) -> list[Path]:
    """Directories of the stores on a disk that a workflow, and what it requires, reads and writes."""
    from analysis.engine.recipes import required_tasks
    from analysis.engine.storage.resolved import is_mixed, local_root

    families: set[str] = {workflow.get_task_family()}
    seen: set[str] = set()
    if not is_mixed():
        return [root for family in families if (root := local_root(family))]
    todo: list[AnalysisTask] = list(workflow.branch_tasks())
    while todo:
        task = todo.pop()
        families.add(task.get_task_family())
        new = {required.key: required for required in required_tasks(task) if required.key not in seen}
        seen |= new.keys()
        todo += new.values()
    return sorted({root for family in families if (root := local_root(family))})


def given() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the command line says of parameters as those of a certain task, and the modules of these tasks.

    Parameters of the task that it asks for, without the name of the task, have their effect in the workflow already.
    """
    from luigi.cmdline_parser import CmdlineParser
    from luigi.task_register import Register

    parser = CmdlineParser.get_instance()
    argv, modules = [], []
    for family, is_without_section, name, _ in Register.get_all_params() if parser else ():
        value = getattr(parser.known_args, f"{family}_{name}", None)
        if is_without_section or value is None or value is False:  # such as --workers
            continue
        flag = f"--{family}-{name}".replace("_", "-")
        argv.append(flag if value is True else f"{flag}={value}")
        modules.append(Register.get_task_cls(family).__module__)
    return tuple(argv), tuple(modules)


def _common(recipe: Recipe) -> dict[str, Any]:
    """What the recipes of all branches have in common, and the titles of requirements with their digests."""
    return dataclasses.replace(recipe, branch=None, external={}).to_json()


# in the job


@contextmanager
def workflow_of(spec: JobSpec) -> Iterator[AnalysisWorkflow]:
    """The workflow that is described, whole.

    Args:
        spec: the description.

    Yields:
        The workflow. Until the end, parameters of other tasks are what the command line of the submitting side says.

    Raises:
        SpecError: if the description does not fit to the code.
    """
    import importlib

    from luigi.cmdline_parser import CmdlineParser
    from luigi.task_register import Register

    from analysis.engine import session

    carried.take(spec.files)
    for module in spec.modules:
        importlib.import_module(module)
    session.has_no_root()
    if not spec.argv:
        yield _make(spec, Register.get_task_cls(spec.family))
        return
    with CmdlineParser.global_instance([spec.family, *spec.argv]):
        yield _make(spec, Register.get_task_cls(spec.family))


def _make(spec: JobSpec, cls: Any) -> AnalysisWorkflow:
    known = dict(cls.get_params())
    if unknown := spec.parameters.keys() - known.keys():
        msg = f"{spec.family} has no parameter {min(unknown)} here, but where the job was submitted"
        raise SpecError(msg)
    values = {name: known[name].parse(text) for name, text in spec.parameters.items()}
    workflow: AnalysisWorkflow = cls(**values, branch=-1, branches=(), workflow="local")
    return workflow


def explain_mismatch(spec: JobSpec, snapshot: Snapshot, task: AnalysisTask) -> str:
    """Why today's recipe of a branch is not that of the submitting side, in one sentence.

    Args:
        spec: the description of the job.
        snapshot: knows today's recipes.
        task: the branch.
    """
    from analysis.engine.recipe import Recipe, changes
    from analysis.engine.recipes import ABSENT

    here = snapshot.recipes.recipe(task)
    found = changes(Recipe.from_json(spec.recipe), Recipe.from_json(_common(here)))
    absent = [name for name, identity in here.external.items() if identity == ABSENT]
    own = [change for change in found if change.kind != "requirement"]
    if own:
        reason = "; ".join(map(str, own[:3])) + (f" and {len(own) - 3} more" if len(own) > 3 else "")
    elif found:
        reason = f"of what it requires, {', '.join(change.name for change in found[:3])} would be made differently here"
    elif absent:
        reason = f"{absent[0]} cannot be found"
    else:
        reason = "what the branch stands for, a file it reads from outside the store, or a requirement differs"
    return f"{task.title()}: this job would make something else than was submitted: {reason}"
