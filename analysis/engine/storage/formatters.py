"""What ``target.load()`` and ``target.dump(...)`` read and write, by the ending of a file's name, or by the name given.

=============  =======================  ==============================================================================
name           ending                   content
=============  =======================  ==============================================================================
``arrays``     ``.parquet``             an awkward array
``document``   ``.json``                what JSON has; a ``hist.Hist`` by the schema of the Unified Histogram Interface
``hist``       ``.hist.json``           a ``hist.Hist``, and nothing else
``npz``        ``.npz``                 a mapping of NumPy arrays
``root_file``  ``.root``                a mapping of histograms and trees
``torch``      ``.pt``, ``.pth``        tensors and weights
``xgboost``    ``.ubj``, ``.xgb.json``  a booster
``pickle``     ``.pkl``, ``.pickle``    refused: whoever wrote such a file can run any program where it is read
=============  =======================  ==============================================================================

law's own formatters (text, YAML, archives) stay in force for all other endings, and ``formatter="json"`` is law's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import law
from law.target.file import get_path
from law.target.formatter import Formatter, FormatterRegister

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    import awkward as ak
    from hist import Hist
    from xgboost import Booster


class FormatError(AnalysisError):
    """A file, or what is to be written to one, is not of the format that it is meant to have."""


class UnsafeFormatError(AnalysisError):
    """A format that can run a program when it is read."""


class EndingFormatter(Formatter):  # type: ignore[misc]
    """A formatter that is chosen by the ending of a file's name."""

    name = "_base"
    endings: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def accepts(cls, path: Any, mode: str) -> bool:  # noqa: ARG003
        """Whether a file is to be read and written by it."""
        return str(get_path(path)).endswith(cls.endings)


class DocumentFormatter(EndingFormatter):
    """JSON, with histograms in it."""

    name = "document"
    endings = (".json",)

    @classmethod
    def load(cls, path: Any, **options: Any) -> Any:
        """Read; a histogram if the file says that it is one.

        Args:
            path: path or target.
            options: for ``json.loads``.

        Raises:
            FormatError: if it is not JSON.
        """
        try:
            content = json.loads(_path(path).read_text(encoding="utf-8"), **options)
        except ValueError as error:
            msg = f"{_path(path)} is not JSON ({error}): remove it and run the task that writes it again"
            raise FormatError(msg) from error
        return HistFormatter.load(path) if isinstance(content, dict) and "uhi_schema" in content else content

    @classmethod
    def dump(cls, path: Any, content: Any, **options: Any) -> None:
        """Write.

        Args:
            path: path or target.
            content: what JSON can have, or a histogram.
            options: for ``json.dumps``.
        """
        if hasattr(content, "_to_uhi_"):
            HistFormatter.dump(path, content, **options)
        else:
            _path(path).write_text(json.dumps(content, **options), encoding="utf-8")


class HistFormatter(EndingFormatter):
    """A histogram in the JSON of the Unified Histogram Interface, as the tasks write it."""

    name = "hist"
    endings = (".hist.json",)

    @classmethod
    def load(cls, path: Any) -> Hist[Any]:
        """Read a histogram.

        Raises:
            FormatError: if the file has none.
        """
        import uhi.io.json
        from hist import Hist

        try:
            return Hist(json.loads(_path(path).read_text(encoding="utf-8"), object_hook=uhi.io.json.object_hook))
        except (ValueError, TypeError, KeyError) as error:
            msg = f"{_path(path)} is not a histogram in UHI JSON ({error}): remove it and run its task again"
            raise FormatError(msg) from error

    @classmethod
    def dump(cls, path: Any, content: Hist[Any], **options: Any) -> None:
        """Write a histogram.

        Raises:
            FormatError: for anything else.
        """
        import uhi.io.json

        if not hasattr(content, "_to_uhi_"):
            msg = f"{_path(path)} is for a histogram, and {type(content).__name__} is none: use another ending"
            raise FormatError(msg)
        _path(path).write_text(json.dumps(content, default=uhi.io.json.default, **options), encoding="utf-8")


class ArraysFormatter(EndingFormatter):
    """An awkward array in a Parquet file."""

    name = "arrays"
    endings = (".parquet",)

    @classmethod
    def load(cls, path: Any, **options: Any) -> ak.Array:
        """Read, all columns or those of ``columns=[...]``.

        Args:
            path: path or target.
            options: for ``pyarrow.parquet.read_table``.
        """
        import awkward as ak
        from pyarrow import parquet

        with _path(path).open("rb") as file:  # a name would be taken for a pattern or an address
            return ak.from_arrow(parquet.read_table(file, **options))

    @classmethod
    def dump(cls, path: Any, content: ak.Array, **options: Any) -> None:
        """Write.

        Args:
            path: path or target.
            content: array.
            options: for ``pyarrow.parquet.write_table``.
        """
        import awkward as ak
        from pyarrow import parquet

        with _path(path).open("wb") as file:
            parquet.write_table(ak.to_arrow_table(content), file, **options)


class NpzFormatter(EndingFormatter):
    """NumPy arrays by name."""

    name = "npz"
    endings = (".npz",)

    @classmethod
    def load(cls, path: Any) -> dict[str, Any]:
        """Read all arrays."""
        import numpy as np

        with np.load(_path(path), allow_pickle=False) as arrays:
            return dict(arrays)

    @classmethod
    def dump(cls, path: Any, content: Mapping[str, Any]) -> None:
        """Write arrays.

        Raises:
            UnsafeFormatError: for an array of Python objects, which NumPy would pickle.
        """
        import numpy as np

        arrays = {name: np.asarray(array) for name, array in content.items()}
        for name, array in arrays.items():
            if array.dtype.hasobject:
                msg = f"{_path(path)}: the array {name} is made of Python objects: convert it to numbers or text first"
                raise UnsafeFormatError(msg)
        with _path(path).open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


class RootFormatter(EndingFormatter):
    """Histograms and trees of a ROOT file."""

    name = "root_file"
    endings = (".root",)

    @classmethod
    def load(cls, path: Any, names: Any = None) -> dict[str, Any]:
        """Read all of it: histograms as ``hist.Hist``, trees as awkward arrays, others as uproot has them.

        Args:
            path: path or target.
            names: which, ``folder/name`` for those in folders; default: all.
        """
        import uproot

        with uproot.open(_path(path)) as file:
            kinds = file.classnames(cycle=False)
            there = [name for name, kind in kinds.items() if not kind.startswith("TDirectory")]
            return {name: _from_root(file[name]) for name in (there if names is None else names)}

    @classmethod
    def dump(cls, path: Any, content: Mapping[str, Any], **options: Any) -> None:
        """Write histograms and trees.

        Args:
            path: path or target.
            content: by name, a histogram, an awkward array of records, or a mapping of arrays: a tree.
            options: for ``uproot.recreate``.
        """
        import uproot

        with uproot.recreate(_path(path), **options) as file:
            for name, value in content.items():
                fields = getattr(value, "fields", None)
                if fields:
                    value = {field: value[field] for field in fields}  # noqa: PLW2901
                if isinstance(value, Mapping):
                    file.mktree(name, dict(value))
                else:
                    file[name] = value


def _from_root(value: Any) -> Any:
    if hasattr(value, "to_hist"):
        return value.to_hist()
    return value.arrays() if hasattr(value, "arrays") else value


class TorchFormatter(EndingFormatter):
    """Tensors, and mappings of them; never a program."""

    name = "torch"
    endings = (".pt", ".pth")

    @classmethod
    def load(cls, path: Any, **options: Any) -> Any:
        """Read, to the processor's memory if ``map_location`` does not say otherwise.

        Args:
            path: path or target.
            options: for ``torch.load``; ``weights_only`` is always true.
        """
        return _torch(path).load(_path(path), **{"map_location": "cpu", **options, "weights_only": True})

    @classmethod
    def dump(cls, path: Any, content: Any, **options: Any) -> None:
        """Write, such as ``model.state_dict()``."""
        _torch(path).save(content, _path(path), **options)


def _torch(path: Any) -> Any:
    try:
        import torch
    except ImportError as error:
        msg = f"{_path(path)} needs torch, which is not installed: add it to the sandbox of the task"
        raise FormatError(msg) from error
    return torch


class XgboostFormatter(EndingFormatter):
    """Boosted trees, in one of xgboost's own formats."""

    name = "xgboost"
    endings = (".ubj", ".xgb.json")

    @classmethod
    def load(cls, path: Any, **parameters: Any) -> Booster:
        """Read a booster; JSON or UBJSON, whichever it is.

        Args:
            path: path or target.
            parameters: of the booster, such as ``nthread``.
        """
        from xgboost import Booster

        booster = Booster(parameters)
        booster.load_model(bytearray(_path(path).read_bytes()))
        return booster

    @classmethod
    def dump(cls, path: Any, content: Any) -> None:
        """Write a booster, or a model of the scikit-learn interface: JSON if the name ends so, UBJSON otherwise."""
        booster = content.get_booster() if hasattr(content, "get_booster") else content
        kind = "json" if _path(path).suffix == ".json" else "ubj"
        _path(path).write_bytes(booster.save_raw(raw_format=kind))


FormatterRegister.formatters.pop("pickle", None)  # law's, which reads whatever there is


class PickleFormatter(EndingFormatter):
    """Python objects, only if ``allow_pickle: True`` is in the section ``target`` of ``law.cfg``."""

    name = "pickle"
    endings = (".pkl", ".pickle", ".p")

    @classmethod
    def load(cls, path: Any, **options: Any) -> Any:
        """Read.

        Raises:
            UnsafeFormatError: if the configuration does not allow it.
        """
        import pickle

        _allow_pickle(path, "read")
        with _path(path).open("rb") as file:
            return pickle.load(file, **options)

    @classmethod
    def dump(cls, path: Any, content: Any, **options: Any) -> None:
        """Write.

        Raises:
            UnsafeFormatError: if the configuration does not allow it.
        """
        import pickle

        _allow_pickle(path, "written")
        with _path(path).open("wb") as file:
            pickle.dump(content, file, **options)


def _allow_pickle(path: Any, what: str) -> None:
    if not law.config.get_expanded_bool("target", "allow_pickle", default=False):
        msg = (
            f"{_path(path).name} is not {what}: whoever writes a pickle can run any program where it is read; use "
            "parquet, json, npz or root, or set 'allow_pickle: True' in the section target of law.cfg"
        )
        raise UnsafeFormatError(msg)


def _path(path: Any) -> Path:
    return Path(get_path(path))


_OURS = (
    *(XgboostFormatter, HistFormatter, DocumentFormatter, ArraysFormatter, NpzFormatter, RootFormatter),
    *(TorchFormatter, PickleFormatter),
)


def install() -> None:
    """Let law take these before its own, which are for some of the endings as well; the first that accepts counts."""
    for formatter in reversed(_OURS):
        FormatterRegister.formatters.move_to_end(formatter.name, last=False)


install()
