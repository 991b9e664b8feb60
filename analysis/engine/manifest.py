"""The commit record of one branch: written last, atomically. An output without one is missing.

A manifest is a JSON file with sorted keys that people can read with ``cat``; ``manifest.schema.json`` describes it.
Paths are relative to the store, so that a store can be moved or copied. Its *name* carries the branch, the recipe and
a seal of the sizes of all that was written: two directory listings tell the state of ten thousand branches.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from analysis.engine.errors import ManifestError
from analysis.engine.recipe import Digest, Recipe, digest_of, hash_text
from analysis.engine.storage.credentials import CredentialError
from analysis.engine.storage.masking import masked

SCHEMA = 2
FOLDER = "manifests"
HISTORY = "history"
"""Folders of manifests, and of those that were replaced, beside the outputs."""

_BLOCK = 1 << 20
_NAME = re.compile(
    r"(?P<branch>task|\d+)\.(?P<own>[0-9a-f]{10})\.(?P<upstream>[0-9a-f]{10})\.(?P<seal>[0-9a-f]{8})\.v(?P<schema>\d+)\.json"
)


class OutputRecord(NamedTuple):
    """One output file.

    Args:
        path: relative to the store.
        size: [bytes].
        adler32: checksum as eight hexadecimal digits.
    """

    path: str
    size: int
    adler32: str


class Adoption(NamedTuple):
    """Outputs were declared to be what a newer recipe would have made.

    Args:
        when: time.
        who: user and host.
        why: ``accepted`` by a person, or ``same inputs``: the task required the same files as before, byte by byte.
        recipe: digest of the recipe before.
    """

    when: str
    who: str
    why: str
    recipe: str


@dataclass(frozen=True)
class Manifest:
    """What was written, from how many events, where and when.

    Args:
        recipe: everything that determines the outputs.
        outputs: the files.
        parameters: significant parameters, as on the command line: with these the task can be made again.
        branch: branch number; ``None`` for a task without branches.
        inputs: for each requirement, a digest of the content of the files that were read.
        accounting: numbers the task reported, e.g. ``events_in``, ``events_out``, ``sum_of_weights``.
        spans: ranges of events of the input files that the outputs stand for, as ``[file, start, stop]``.
        resources: ``wall_seconds``, ``cpu_seconds``, ``peak_memory_bytes``.
        provenance: host, backend, job, start and end, versions, git commit.
        warnings: warnings raised while the task ran.
        stale_inputs: titles of stale requirements that were used because the configuration allows it.
        adopted: when the outputs were taken over for a newer recipe, and why.
        schema: version of this record.
    """

    recipe: Recipe
    outputs: tuple[OutputRecord, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    branch: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    accounting: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[tuple[str, int, int], ...] = ()
    resources: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    stale_inputs: tuple[str, ...] = ()
    adopted: tuple[Adoption, ...] = ()
    schema: int = SCHEMA

    @property
    def task(self) -> str:
        """Task family."""
        return self.recipe.task

    def to_bytes(self) -> bytes:
        """The file's content.

        Raises:
            CredentialError: if it has a secret.
        """
        named = {
            "recipe": self.recipe.to_json(),
            "outputs": [output._asdict() for output in self.outputs],
            "adopted": [adoption._asdict() for adoption in self.adopted],
            "warnings": [masked(text) for text in self.warnings],
        }
        content = json.dumps({**vars(self), **named}, indent=1, sort_keys=True) + "\n"
        if masked(content) != content:
            msg = (
                f"the recipe of {self.task} has a token, a password or a signed URL, which would be in the manifest: "
                "take it out of parameters, settings and names of inputs ('analysis credentials' says where tools find "
                "one)"
            )
            raise CredentialError(msg)
        return content.encode()

    @classmethod
    def from_bytes(cls, content: bytes, where: object) -> Manifest:
        """Read the content of a file.

        Args:
            content: the file's content.
            where: its path, for the message.

        Raises:
            ManifestError: if it is not a manifest, or was written by a newer version of this project.
        """
        try:
            fields: dict[str, Any] = json.loads(content)
            check_schema(int(fields["schema"]), where)
            return cls(
                recipe=Recipe.from_json(fields.pop("recipe")),
                outputs=tuple(OutputRecord(**record) for record in fields.pop("outputs")),
                adopted=tuple(Adoption(**record) for record in fields.pop("adopted")),
                spans=tuple((str(source), int(a), int(b)) for source, a, b in fields.pop("spans")),
                warnings=tuple(fields.pop("warnings")),
                stale_inputs=tuple(fields.pop("stale_inputs")),
                **fields,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"manifest {where} is damaged ({error}): remove it, and the task that wrote it runs again"
            raise ManifestError(msg) from error

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            ManifestError: see :meth:`from_bytes`.
        """
        return cls.from_bytes(path.read_bytes(), path)

    def file_name(self, size: int | None = None, recipe: Digest | None = None) -> ManifestName:
        """Name of the file.

        Args:
            size: that of the content [bytes], if it is known already.
            recipe: digest of the recipe, if it is known already.
        """
        size = len(self.to_bytes()) if size is None else size
        sealed = seal({o.path: o.size for o in self.outputs}, size)
        return ManifestName(self.branch, recipe or digest_of(self.recipe), sealed, self.schema)


class ManifestName(NamedTuple):
    """What the name of a manifest tells.

    Args:
        branch: branch number; ``None`` for a task without branches.
        recipe: digest of the recipe.
        seal: see :func:`seal`.
        schema: version of the record.
    """

    branch: int | None
    recipe: Digest
    seal: str
    schema: int = SCHEMA

    def __str__(self) -> str:
        branch = "task" if self.branch is None else self.branch
        return f"{branch}.{self.recipe.own}.{self.recipe.upstream}.{self.seal}.v{self.schema}.json"

    @classmethod
    def parse(cls, name: str) -> ManifestName | None:
        """The parts of a file name; ``None`` for the name of anything else."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        branch = None if found["branch"] == "task" else int(found["branch"])
        return cls(branch, Digest(found["own"], found["upstream"]), found["seal"], int(found["schema"]))


def seal(outputs: Mapping[str, int], manifest_size: int) -> str:
    """Digest of the sizes of a branch's files: what is truncated, replaced or gone has another one.

    Args:
        outputs: sizes [bytes] by path relative to the store.
        manifest_size: size of the manifest itself [bytes].
    """
    return hash_text("\n".join([*(f"{path}:{size}" for path, size in sorted(outputs.items())), str(manifest_size)]), 8)


def check_schema(schema: int, where: object) -> None:
    """Refuse a manifest of a newer version.

    Raises:
        ManifestError: for that.
    """
    if schema > SCHEMA:
        msg = (
            f"manifest {where} was written by a newer version of this project (schema {schema}, known is {SCHEMA}): "
            "update, or choose another --version"
        )
        raise ManifestError(msg)


def checksum(path: Path) -> str:
    """Adler-32 of a file, as eight hexadecimal digits, the checksum that grid storage keeps."""
    value = 1
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.adler32(block, value)
    return f"{value:08x}"
