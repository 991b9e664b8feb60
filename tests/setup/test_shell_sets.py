"""``source sandboxes/venv_*.sh``: software sets in a shell."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.setup.test_setup import REPORT, SETS, SHELLS, SOURCE, environment_of, source_of

if TYPE_CHECKING:
    from tests.setup.conftest import Project


@pytest.fixture
def sets(ready: Project) -> Project:
    """A copy with an environment for each software set, too."""
    whole = next(ready.environments.glob("*-py3.*"))
    for name in SETS:
        own = ready.environments / whole.name.replace(ready.key(), ready.key(name))
        shutil.copytree(whole, own)
        (own / ".complete").write_text(f"{own}\n{sys.executable}\n")
    return ready


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("options", ["", "set -eu; "])
def test_software_set_takes_the_place_of_the_environment(sets: Project, shell: str, options: str) -> None:
    script = f"{options}{SOURCE}; {REPORT}" + "".join(f"; echo ---; {source_of(name)}; {REPORT}" for name in SETS)
    done = sets.shell(script, shell, PYTHONHOME="/nowhere")
    assert (done.returncode, done.stderr) == (0, "")
    whole, *found = (environment_of(part) for part in done.stdout.split("---\n"))
    for name, variables in zip(SETS, found, strict=True):
        own = str(sets.environments / f"{sets.key(name)}-py{sys.version_info[0]}.{sys.version_info[1]}")
        assert variables == {
            key: value.replace(whole["VIRTUAL_ENV"], own) if key in {"PATH", "VIRTUAL_ENV"} else value
            for key, value in whole.items()
        }


@pytest.mark.parametrize(("shell", "names"), [("bash", "compgen -A function; compgen -v"), ("zsh", "typeset +")])
def test_software_set_leaves_nothing_else_behind(sets: Project, shell: str, names: str) -> None:
    script = f"before=$({names}); cd copy/sandboxes; source venv_stats.sh; {names}; echo ---; echo $before"
    done = sets.shell(script, shell)
    after, before = (set(part.split()) for part in done.stdout.split("---"))
    assert {name for name in after - before if "analysis" in name.lower()} == set()
    assert "VIRTUAL_ENV" in after - before


def test_hash_of_a_list(project: Project) -> None:
    for name in ("analysis", *SETS):
        done = project.shell(f'bash "${{SETUP%/*}}/sandboxes/environment.sh" --hash {name}', PATH="/usr/bin:/bin")
        assert done.stdout == f"{project.key(name)}\n"
    assert not project.environments.exists()


@pytest.mark.parametrize("name", ["nothing", "../sandboxes/ml", "core"])
def test_unknown_list(project: Project, name: str) -> None:
    done = project.shell(f'bash "${{SETUP%/*}}/sandboxes/environment.sh" {name}')
    assert done.returncode == 1
    assert done.stderr == (f"environment.sh: there is no list '{name}': there are analysis columnar dev ml stats.\n")
