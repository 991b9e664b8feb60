"""Where outputs live, as one process read it from its configuration; batch jobs take that instead of reading theirs.

Variables such as ``$USER`` and the profile of the site may say something else on another machine, and then a job would
write where nobody looks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.engine.storage.settings import (
    Choice,
    LocalSettings,
    RemoteSettings,
    choice_for,
    choices,
    local_settings,
    outputs,
    remote_settings,
)


@dataclass(frozen=True)
class Resolved:
    """Section ``outputs``, and all stores that it names.

    Args:
        outputs: the stores by names and patterns of task families.
        local: those on this machine, by section.
        remote: those on servers, by section.
    """

    outputs: Mapping[str, Choice] = field(default_factory=dict)
    local: Mapping[str, LocalSettings] = field(default_factory=dict)
    remote: Mapping[str, RemoteSettings] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the description of a job."""
        return {
            "outputs": {name: list(choice) for name, choice in self.outputs.items()},
            "local": {name: _plain(settings) for name, settings in self.local.items()},
            "remote": {name: _plain(settings) for name, settings in self.remote.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Resolved:
        """From :meth:`to_json`."""
        return cls(
            {name: Choice(*choice) for name, choice in content["outputs"].items()},
            {name: LocalSettings(**_paths(settings)) for name, settings in content["local"].items()},
            {
                name: RemoteSettings(**{**_paths(settings), "base": tuple(settings["base"])})
                for name, settings in content["remote"].items()
            },
        )


def resolved(same_disks: bool) -> Resolved:
    """What this process has read.

    Args:
        same_disks: whether those who take it see the directories of this machine. Else mirrors are left out.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    chosen = outputs()
    named = {choice.section: choice.kind == "local" for choice in choices() if choice.section}
    remote = {section: remote_settings(section) for section, is_local in named.items() if not is_local}
    if not same_disks:
        remote = {section: dataclasses.replace(settings, mirror=None) for section, settings in remote.items()}
        chosen = {name: c._replace(kind="wlcg") if c.kind == "wlcg_mirrored" else c for name, c in chosen.items()}
    return Resolved(chosen, {section: local_settings(section) for section, here in named.items() if here}, remote)


def local_root(family: str) -> Path | None:
    """Directory of the store of a task family; ``None`` if it is on servers.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    if choice_for(family).kind != "local":
        return None
    from analysis.engine.storage.stores import store_for

    return Path(store_for(family).root)


def is_mixed() -> bool:
    """Whether there may be more than one store.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    return len({choice_for("default"), *outputs().values()}) > 1


def _plain(settings: Any) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in dataclasses.asdict(settings).items()
    }


def _paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    names = ("base", "mirror", "cache_root")
    return {
        name: Path(value) if name in names and isinstance(value, str) else value for name, value in settings.items()
    }
