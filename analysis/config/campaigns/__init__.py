"""Campaigns: the ones that come with the project, and any YAML or JSON file that follows ``schema.json``."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from os.path import normpath
from pathlib import Path
from typing import Any

from analysis import carried
from analysis.config.errors import ConfigurationError, check_known
from analysis.config.processes import PROCESSES
from analysis.config.shifts import SHIFTS
from analysis.config.types import Campaign, Dataset, InputFile
from analysis.settings import untracked

_HERE = Path(__file__).parent
_FILE_SUFFIXES = {".yaml", ".yml", ".json"}

BUILTIN = ("demo", "agc_2015")
"""Names of the campaigns that come with the project."""


@functools.lru_cache
@untracked
def get_campaign(name: str, files_per_dataset: int = 0) -> Campaign:
    """Campaign by name or by path of a YAML or JSON file.

    Args:
        name: one of :data:`BUILTIN`, or a path ending in ``.yaml``, ``.yml`` or ``.json``.
        files_per_dataset: keep only the first files of each data set, in the order they are listed; 0 keeps all.

    Returns:
        The campaign, each data set's files sorted by path, so that the order of a list changes nothing.

    Raises:
        ConfigurationError: if the campaign is unknown, unreadable or does not follow the schema.
    """
    if files_per_dataset < 0:
        msg = f"--files-per-dataset is {files_per_dataset}, but must be 0 (all files) or a positive number"
        raise ConfigurationError(msg)
    if name == "demo":
        return _demo(files_per_dataset)
    if name in BUILTIN:
        return _build(json.loads((_HERE / f"{name}.json").read_text()), name, _HERE, files_per_dataset)
    if Path(name).suffix not in _FILE_SUFFIXES:
        check_known("campaign", name, (*BUILTIN, "or the path of a YAML file"))
    content, folder = _read(name)
    validate(content, name)
    return _build(content, name, folder, files_per_dataset)


def validate(content: Any, where: str) -> None:
    """Check the content of a campaign file against ``schema.json``.

    Args:
        content: the parsed file.
        where: path of the file, for the message.

    Raises:
        ConfigurationError: naming the place of the first mistake and, for a misspelt key, the nearest right one.
    """
    import jsonschema

    schema = json.loads((_HERE / "schema.json").read_text())
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(content))
    if error is None:
        return
    place = ".".join(str(part) for part in error.absolute_path) or "top level"
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        allowed = error.schema["properties"]
        wrong = next(key for key in error.instance if key not in allowed)
        check_known("key", str(wrong), allowed, f"{where} at {place}")
    msg = f"{where} is not a valid campaign: at {place}, {error.message}. See docs/campaigns.md"
    raise ConfigurationError(msg)


def _read(name: str) -> tuple[Any, Path]:
    """Content of a campaign file, and the folder at which relative paths start."""
    import yaml

    try:
        file = carried.read(name)
        return yaml.safe_load(file.text), Path(file.place).parent
    except OSError as error:
        msg = f"campaign file {name} cannot be read ({error.strerror}): check the path given to --campaign"
        raise ConfigurationError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"campaign file {name} is not valid YAML: {' '.join(str(error).split())}"
        raise ConfigurationError(msg) from error


def _build(content: Mapping[str, Any], where: str, folder: Path, files_per_dataset: int) -> Campaign:
    datasets = {
        name: _dataset(name, entry, where, folder, files_per_dataset) for name, entry in content["datasets"].items()
    }
    fields = {key: value for key, value in content.items() if key != "datasets"}
    return Campaign(**{"energy": 13.0, **fields}, datasets=datasets)


def _dataset(name: str, entry: Mapping[str, Any], where: str, folder: Path, files_per_dataset: int) -> Dataset:
    is_data = entry.get("is_data", False)
    process, shift = _process_and_shift(name)
    if "process" not in entry and process not in PROCESSES and not is_data:
        _check_spelling(name, where)
    process, shift = entry.get("process", process), entry.get("shift", shift)
    sample_shifts = ["nominal", *(s.name for s in SHIFTS.values() if s.kind == "sample")]
    check_known("shift", shift, sample_shifts, f"{where} at datasets.{name}")
    if not is_data and "cross_section" not in entry:
        msg = f"{where}: data set {name!r} has no cross_section: give it in pb, or is_data: true for collision data"
        raise ConfigurationError(msg)
    listed = [_input_file(item, folder) for item in entry["files"]]
    repeated, times = Counter(f.path for f in listed).most_common(1)[0]
    if times > 1:
        msg = f"{where}: data set {name!r} lists {repeated} {times} times: list it once"
        raise ConfigurationError(msg)
    kept = listed[: files_per_dataset or None]
    return Dataset(
        name=name,
        process=process,
        shift=shift,
        files=tuple(sorted(kept, key=lambda f: f.path)),
        cross_section=entry.get("cross_section"),
        filter_efficiency=entry.get("filter_efficiency", 1.0),
        is_data=is_data,
    )


def _process_and_shift(name: str) -> tuple[str, str]:
    for process in sorted(PROCESSES, key=len, reverse=True):
        rest = name.removeprefix(f"{process}_")
        if rest != name and rest in SHIFTS:
            return process, rest
    return name, "nominal"


def _check_spelling(name: str, where: str) -> None:
    """Refuse a name that looks like a misspelt one: it would silently become a process of its own."""
    varied = (f"{p}_{s.name}" for p in PROCESSES for s in SHIFTS.values() if s.kind == "sample" and s.applies_to(p))
    close = get_close_matches(name, (*PROCESSES, *varied), n=1, cutoff=0.8)
    if close:
        msg = f"{where}: data set {name!r} is no known process: did you mean {close[0]!r}? Else give its process"
        raise ConfigurationError(msg)


def _input_file(item: str | Mapping[str, Any], folder: Path) -> InputFile:
    path, entries = (item, None) if isinstance(item, str) else (item["path"], item.get("entries"))
    return InputFile(path if "://" in path else normpath(folder / Path(path).expanduser()), entries)


def _demo(files_per_dataset: int) -> Campaign:
    """The campaign of generated events, in files of one chunk.

    The filter efficiency of nominal top-quark pairs is the share of generated pairs that pass the generator's filter.
    The others, of events that partly are generated in the enriched region at once, give the AGC's published yields.
    """
    content = json.loads((_HERE / "demo.json").read_text())
    datasets = {}
    for name, entry in content["datasets"].items():
        process, shift = _process_and_shift(name)
        sizes = _split(entry["events"], content["chunk_size"])
        datasets[name] = Dataset(
            name=name,
            process=process,
            shift=shift,
            files=tuple(InputFile("", entries) for entries in sizes[: files_per_dataset or None]),
            cross_section=entry["cross_section"],
            filter_efficiency=entry["filter_efficiency"],
        )
    return Campaign(**{**content, "datasets": datasets})


def _split(total: int, size: int) -> list[int]:
    """Sizes of the parts of ``total`` of at most ``size`` each, as even as whole numbers allow."""
    parts = max(1, -(-total // size))
    return [total // parts + (i < total % parts) for i in range(parts)]
