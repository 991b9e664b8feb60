"""Write the files that completion reads: ``python -m analysis.completion``.

``$LAW_HOME/index`` is law's task index, as ``law index`` writes it; ``$LAW_HOME/values`` holds the values that the
parameters of those tasks can take. Both appear by renaming, so that another shell never reads half a file.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import luigi

# The shell takes a value for itself if it contains anything else.
SAFE_VALUE = re.compile(r"[\w.,:/+@%*-]+")

# Parameters of "law run" itself.
RUN_VALUES = {
    "workers": [str(2**n) for n in range(6) if 2**n <= (os.cpu_count() or 1)],
    "local-scheduler": ["True", "False"],
    "scheduler-host": ["127.0.0.1"],
    "log-level": ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
}


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of a file at once.

    Args:
        path: the file, in an existing directory.
        text: its new content.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def write_index(path: Path) -> list[type[luigi.Task]]:
    """Write law's task index.

    Args:
        path: the index file.

    Returns:
        The classes of the indexed tasks.

    Raises:
        SystemExit: a module listed in ``law.cfg`` cannot be imported; law has printed which and why.
    """
    import law.cli.cli
    import luigi

    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    config = law.config.Config.instance()
    config.set("core", "index_file", str(temporary))
    try:
        if failures := law.cli.cli.run(["index", "--quiet"]):
            raise SystemExit(failures)
        lines = temporary.read_text().splitlines()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return [luigi.task_register.Register.get_task_cls(line.split(":")[1]) for line in lines]


def values_of_task(task: type[luigi.Task]) -> dict[str, list[str]]:
    """Find the values that the types of a task's parameters imply.

    Args:
        task: the task class.

    Returns:
        Parameter name as on the command line, and values.
    """
    import law
    import luigi

    found: dict[str, list[str]] = {}
    for name, parameter in task.get_params():
        option = name.replace("_", "-")
        if isinstance(parameter, luigi.BoolParameter):
            is_question = isinstance(parameter._default, str)  # a flag that takes a text: not yes or no, but of what
            found[option] = ["all"] if is_question else ["True", "False"]
        elif isinstance(parameter, luigi.ChoiceParameter):
            found[option] = sorted(map(str, parameter._choices))
        elif isinstance(parameter, luigi.EnumParameter):
            found[option] = [member.name for member in parameter._enum]
    if issubclass(task, law.BaseWorkflow):
        proxies = [getattr(base, "workflow_proxy_cls", None) for base in task.__mro__]
        types = [getattr(proxy, "workflow_type", None) for proxy in proxies]
        found["workflow"] = list(dict.fromkeys(name for name in types if isinstance(name, str)))
    return found


def completion_lines(
    common: Mapping[str, Iterable[str]], tasks: Mapping[str, Mapping[str, Iterable[str]]]
) -> list[str]:
    r"""Compose the lines of the values file.

    Args:
        common: values by parameter, for all tasks.
        tasks: values by task family and parameter; ``common`` takes precedence, except for ``workflow``.

    Returns:
        Lines ``parameter<TAB>value ...`` and ``Family.parameter<TAB>value ...``, sorted.

    Examples:
        >>> completion_lines({"dataset": ["ttbar", "wjets"]}, {"Fit": {"unblind": ["True", "False"]}})
        ['Fit.unblind\tTrue False', 'dataset\tttbar wjets']
    """
    values = {name.replace("_", "-"): list(choices) for name, choices in common.items()}
    for family, parameters in tasks.items():
        for name, choices in parameters.items():
            if name not in values or name == "workflow":
                values[f"{family}.{name}"] = list(choices)
    return sorted(
        f"{name}\t{' '.join(value for value in choices if SAFE_VALUE.fullmatch(value))}"
        for name, choices in values.items()
    )


def main() -> int:
    """Write both files.

    Returns:
        Exit code.
    """
    home = Path(os.environ["LAW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    tasks = write_index(home / "index")

    from analysis.config import parameter_values

    lines = completion_lines(
        {**RUN_VALUES, **parameter_values()}, {task.get_task_family(): values_of_task(task) for task in tasks}
    )
    write_atomically(home / "values", "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
