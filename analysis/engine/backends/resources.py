"""What a job needs: declared on the task, overridden by the profile of the site and by the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from analysis.engine.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

MB, GB = 10**6, 10**9
HOUR = 3600
_SIZES = {"": 1, "B": 1, "K": 10**3, "KB": 10**3, "M": MB, "MB": MB, "G": 10**9, "GB": 10**9, "T": 10**12, "TB": 10**12}
_SIZES |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_TIMES = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Resources:
    """What one job needs. Zero and the empty text mean: as the site has it.

    Args:
        cores: number of cores.
        memory: [bytes], of all cores together.
        runtime: longest run time [s].
        disk: scratch space [bytes].
        gpus: number of GPUs.
        queue: queue, partition or job flavour.
        accounting_group: account that is charged.
        container: image the job runs in.
        extra: further settings of the batch system by name, as its submit file has them.
    """

    cores: int = 1
    memory: int = 0
    runtime: int = 0
    disk: int = 0
    gpus: int = 0
    queue: str = ""
    accounting_group: str = ""
    container: str = ""
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def override(self, **given: Any) -> Resources:
        """The same with other values, where these are neither zero nor empty.

        Args:
            given: values by name; ``extra`` is merged.
        """
        changed = {name: value for name, value in given.items() if value}
        if "extra" in changed:
            changed["extra"] = {**self.extra, **changed["extra"]}
        return replace(self, **changed)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, f.name) for f in fields(self) if f.name != "extra"))


def parse_size(text: str) -> int:
    """Bytes of a size such as ``2GB``, ``2000 MB``, ``1.5GiB``.

    Raises:
        ParameterError: if it is none.
    """
    value, unit = _split(text, "a size such as 2GB or 500MB")
    if unit.upper() not in _SIZES:
        msg = f"{text!r} is not a size: the unit is one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"
        raise ParameterError(msg)
    return round(value * _SIZES[unit.upper()])


def parse_time(text: str) -> int:
    """Seconds of a time such as ``2h``, ``90 min``, ``1d``, ``01:30:00`` (hours, minutes, seconds).

    Raises:
        ParameterError: if it is none.
    """
    if match := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text.strip()):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    value, unit = _split(text, "a time such as 2h, 90min or 01:30:00")
    if unit.lower() not in _TIMES:
        msg = f"{text!r} is not a time: the unit is one of s, min, h, d"
        raise ParameterError(msg)
    return round(value * _TIMES[unit.lower()])


def _split(text: str, what: str) -> tuple[float, str]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None:
        msg = f"{text!r} is not {what}"
        raise ParameterError(msg)
    return float(match[1]), match[2]
