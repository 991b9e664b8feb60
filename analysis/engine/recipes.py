"""Today's recipes of tasks, from their declarations and the code; nothing of the store is looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import luigi

from analysis.engine import code, pins
from analysis.engine.errors import RecipeCycleError
from analysis.engine.recipe import Digest, Recipe, digest_of, hash_text, plain, shared_digest
from analysis.engine.sandboxes import outside

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask

Outputs = frozenset[str] | None
"""Names of the outputs that are meant; ``None`` for all of them."""

ABSENT = "absent"
"""Identity of a file from outside the store that cannot be found."""

_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Stage:
    """The part of a recipe that all branches of a workflow share, and its hash."""

    recipe: Recipe
    digest: str


class Recipes:
    """Recipes, each computed once.

    Args:
        tolerated: digest to take for a requirement instead of today's, if its stale outputs are going to be used.
        recorded: identity of an input file that cannot be reached, as it was when a branch of a task read it.
        stages: what an earlier object found of code and settings, which do not change while a process runs.
    """

    def __init__(
        self,
        tolerated: Callable[[AnalysisTask], str | None] = lambda _task: None,
        recorded: Callable[[AnalysisTask, int | None, str], str | None] = lambda _task, _branch, _name: None,
        stages: dict[tuple[str, Outputs], Stage] | None = None,
    ) -> None:
        self._tolerated, self._recorded = tolerated, recorded
        self.stages = {} if stages is None else stages
        self._digests: dict[tuple[str, Outputs], str] = {}
        self._visiting: dict[str, str] = {}

    def recipe(self, task: AnalysisTask, outputs: Outputs = None) -> Recipe:
        """Recipe of a branch, of a task without branches, or of a whole workflow.

        Args:
            task: the task.
            outputs: names of the outputs that are meant, for a task whose outputs are independent.

        Raises:
            RecipeCycleError: if tasks require each other in a circle.
        """
        stage = self._stage(task, outputs).recipe
        number, whole = task.branch_number, task.whole()
        if task.is_whole_workflow():
            branches = whole.branch_numbers()
            value: Any = {str(b): plain(whole.branch_value(b)) for b in branches}
            files = {f"{b} {name}": i for b in branches for name, i in self._external(whole, b).items()}
        else:
            value = plain(whole.branch_value(number)) if number is not None else None
            files = self._external(whole, number)
        return replace(stage, branch=value, external=files, requirements=self._requirements(task, outputs))

    def digest(self, task: AnalysisTask, outputs: Outputs = None) -> Digest:
        """Hash of :meth:`recipe`."""
        return self.today(task, outputs)[1]

    def today(self, task: AnalysisTask, outputs: Outputs = None) -> tuple[Recipe, Digest]:
        """Both."""
        recipe = self.recipe(task, outputs)
        return recipe, digest_of(recipe, self._stage(task, outputs).digest)

    def requirement(self, task: AnalysisTask, outputs: Outputs = None) -> str:
        """What a required task contributes to the recipes that are made of it."""
        tolerated = self._tolerated(task)
        if tolerated is not None:
            return tolerated
        key = (task.key, outputs)
        if key not in self._digests:
            with self._visit(task):
                self._digests[key] = str(self.digest(task, outputs))
        return self._digests[key]

    def _external(self, whole: AnalysisTask, branch: int | None) -> dict[str, str]:
        declared = whole.external_inputs(branch).items()
        return {name: seen or self._recorded(whole, branch, name) or ABSENT for name, seen in declared}

    def _requirements(self, task: AnalysisTask, outputs: Outputs) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for required in required_tasks(task):
            needed = needed_outputs(task, required, outputs)
            if needed is None or needed:
                parts = needed if required.independent_outputs else None
                found[distinct_title(required, found)] = self.requirement(required, parts)
        return found

    @contextmanager
    def _visit(self, task: AnalysisTask) -> Iterator[None]:
        if task.key in self._visiting:
            raise RecipeCycleError([*self._visiting.values(), task.title()])
        self._visiting[task.key] = task.title()
        try:
            yield
        finally:
            del self._visiting[task.key]

    def _stage(self, task: AnalysisTask, outputs: Outputs) -> Stage:
        key = (task.relative_folder, outputs)
        if key not in self.stages:
            whole = task.whole()
            found = code.closure(type(task), whole.code_modules())
            recipe = Recipe(
                task=task.get_task_family(),
                parameters=whole.recipe_parameters(),
                code={**found.units, **({"revision": str(task.revision)} if task.revision else {})},
                settings=plain(whole.configuration(outputs)),
                sandbox=outside.foreign_identity(task)
                or sandbox_identity(
                    task.pinned_list, {*found.packages, *(name.partition(".")[0] for name in task.preload)}
                ),
            )
            self.stages[key] = Stage(recipe, shared_digest(recipe))
        return self.stages[key]


def required_tasks(task: AnalysisTask) -> list[AnalysisTask]:
    """Tasks that a branch, a task without branches, or a whole workflow requires."""
    return list(luigi.task.flatten(task.workflow_requires() if task.is_whole_workflow() else task.requires()))


def distinct_title(task: AnalysisTask, others: Container[str]) -> str:
    """Title of a required task; with its place in the store if another one has the same title."""
    return task.title() if task.title() not in others else f"{task.title()} in {task.relative_folder}"


def needed_outputs(task: AnalysisTask, required: AnalysisTask, outputs: Outputs = None) -> Outputs:
    """Names of the outputs of a requirement that a task is made of; ``None`` for all, empty for none."""
    needed: Collection[str] | None = task.needs(required, outputs)
    return None if needed is None else frozenset(needed)


def sandbox_identity(pinned_list: str, packages: Collection[str]) -> dict[str, str]:
    """Versions of packages and what they need, as the sandbox pins them.

    Args:
        pinned_list: name of a file of the directory ``sandboxes``, without ``.txt``.
        packages: names as they are imported.
    """
    if not packages:
        return {}
    folder = Path(os.environ.get("ANALYSIS_BASE") or _REPOSITORY) / "sandboxes"
    return pins.pins_of(pins.read_pins(folder / f"{pinned_list}.txt"), packages)


def combined(digests: Mapping[str, str]) -> str:
    """One digest of many."""
    return hash_text("\n".join(f"{name} {digest}" for name, digest in sorted(digests.items())), 20)
