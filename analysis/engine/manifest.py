"""The commit record of one branch: written last, atomically. An output without one is missing.

A manifest is a JSON file with sorted keys that people can read with ``cat``. Paths are relative to the store, so that
a store can be moved or copied.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from analysis.engine.errors import ManifestError

SCHEMA = 1
_BLOCK = 1 << 20


@dataclass(frozen=True)
class OutputRecord:
    """One output file.

    Args:
        path: relative to the store.
        size: [bytes].
        adler32: checksum as eight hexadecimal digits.
    """

    path: str
    size: int
    adler32: str


@dataclass(frozen=True)
class Manifest:
    """What was written, from how many events, where and when.

    Args:
        task: task family.
        parameters: significant parameters, as on the command line.
        branch: branch number; ``None`` for a task without branches.
        outputs: the files.
        recipe: hash of everything that determines the outputs; empty until recipes exist.
        accounting: numbers the task reported, e.g. ``events_in``, ``events_out``, ``sum_of_weights``.
        resources: ``wall_seconds``, ``cpu_seconds``, ``peak_memory_bytes``.
        provenance: host, backend, start and end, versions, git commit.
        warnings: warnings raised while the task ran.
        schema: version of this record.
    """

    task: str
    parameters: dict[str, str]
    branch: int | None
    outputs: tuple[OutputRecord, ...]
    recipe: str = ""
    accounting: dict[str, float] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    schema: int = SCHEMA

    def write(self, path: Path) -> None:
        """Write atomically: the file is there whole, or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with temporary.open("w") as file:
                json.dump(asdict(self), file, indent=1, sort_keys=True)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            ManifestError: if the file is not one, or was written by a newer version of this project.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            schema = int(content["schema"])
            if schema > SCHEMA:
                msg = f"manifest {path} was written by a newer version (schema {schema}, known is {SCHEMA}): update"
                raise ManifestError(msg)
            outputs = tuple(OutputRecord(**record) for record in content.pop("outputs"))
            return cls(outputs=outputs, warnings=tuple(content.pop("warnings")), **content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"manifest {path} is damaged ({error}): remove it, and the task that wrote it runs again"
            raise ManifestError(msg) from error


def checksum(path: Path) -> str:
    """Adler-32 of a file, as eight hexadecimal digits, the checksum that grid storage keeps."""
    value = 1
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.adler32(block, value)
    return f"{value:08x}"
