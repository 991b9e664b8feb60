"""A project in a directory, whose code a test can edit."""

from __future__ import annotations

import ast
import importlib
import itertools
import sys
from pathlib import Path

from analysis.engine import code
from analysis.engine.code import Code, closure
from analysis.engine.modules import digest_of
from analysis.engine.syntax import Canonical

NUMBERS = itertools.count()

FILES = {
    "__init__.py": '"""Toy."""\n__version__ = "1"\n',
    "physics/__init__.py": '"""Names."""\nfrom .mass import mass\nfrom .unused import unused\n__all__ = ["mass"]\n',
    "physics/mass.py": (
        '"""Masses."""\nfrom __future__ import annotations\n'
        "from typing import TYPE_CHECKING\n"
        "from TOY.physics.constants import SCALE\n"
        "if TYPE_CHECKING:\n    from TOY.physics.types import Array\n"
        "def mass(x: Array) -> Array:\n"
        '    """Mass."""\n'
        "    import numpy as np\n"
        "    from . import deep\n"
        "    y = x * SCALE  # comment\n"
        "    return np.sqrt(y) + deep.offset()\n"
    ),
    "physics/mass.json": "[1]",
    "physics/constants.py": "SCALE = 2\n",
    "physics/deep.py": "import TOY.physics.mass\nimport yaml\ndef offset():\n    return 1\n",
    "physics/types.py": "Array = list\n",
    "physics/unused.py": "def unused():\n    return 0\n",
    "physics/registry.py": "__plumbing__ = True\nfrom TOY.physics import unused\n",
    "config.py": "from TOY.physics import unused\nVALUE = 1\n",
    "tasks/__init__.py": "from TOY.tasks.stage import Stage\n",
    "tasks/base.py": (
        "import luigi\n"
        "from TOY.config import VALUE\n"
        "from TOY.engine import work\n"
        "from analysis.engine.commit import committed as engine_decorator\n"
        "LIMIT = 3\n"
        "class Base(luigi.Task):\n"
        "    size = luigi.IntParameter(default=1)\n"
        "    factor = 2\n"
        "    def helper(self):\n        return work(LIMIT) * VALUE * self.size * self.factor\n"
        "    def title(self):\n        return 'Base'\n"
        "    def unreached(self):\n        return 0\n"
    ),
    "tasks/source.py": (
        "import json\n"
        "from TOY.tasks.base import Base\n"
        "class Source(Base):\n"
        "    def run(self):\n        pass\n"
        "    def result(self):\n        return self._parse()\n"
        "    def _parse(self):\n        return json.loads('1')\n"
        "    def other(self):\n        return 2\n"
    ),
    "tasks/stage.py": (
        "import luigi\n"
        "import requests\n"
        "from typing import NamedTuple\n"
        "from TOY.tasks.base import Base\n"
        "from TOY.tasks.source import Source\n"
        "from TOY.physics import registry\n"
        "class Row(NamedTuple):\n    x: int\n"
        "TABLE = {}\n"
        "def fill(a):\n    return Row(a), TABLE\n"
        "def far():\n    return 5\n"
        "class Stage(Base):\n"
        "    def requires(self):\n        return Source.req(self)\n"
        "    def output(self):\n        return far()\n"
        "    def run(self):\n"
        '        """Run."""\n'
        "        from TOY.physics import mass\n"
        "        fill(mass(self.requires().result()) + self.helper())\n"
    ),
    "engine.py": "def work(f):\n    return f\n",
}


class Toy:
    """A project in a directory, that can be edited."""

    def __init__(self, folder: Path) -> None:
        self.name = f"toy{next(NUMBERS)}"
        self.folder = folder / self.name
        for file, text in FILES.items():
            self.write(file, text)

    def write(self, file: str, text: str) -> None:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("TOY", self.name))

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.folder / file).read_text()
        old, new = old.replace("TOY", self.name), new.replace("TOY", self.name)
        assert text.count(old) == 1, (old, text)
        (self.folder / file).write_text(text.replace(old, new))

    def code(self, name: str = "Stage", modules: tuple[str, ...] = ()) -> Code:
        """Units without the name of the project, read and imported anew."""
        code.forget()
        for loaded in [m for m in sys.modules if m.partition(".")[0] == self.name]:
            del sys.modules[loaded]
        importlib.invalidate_caches()
        stage = importlib.import_module(f"{self.name}.tasks.{name.lower()}")
        plumbing = (f"{self.name}.engine", f"{self.name}.tasks")
        found = closure(
            getattr(stage, name), [f"{self.name}.{m}" for m in modules], plumbing, settings=(f"{self.name}.config",)
        )
        return Code({unit.removeprefix(f"{self.name}."): d for unit, d in found.units.items()}, found.packages)

    def changes(self, file: str, old: str, new: str, name: str = "Stage") -> set[str]:
        """Units that an edit changes, adds or removes."""
        before = self.code(name).units
        self.edit(file, old, new)
        after = self.code(name).units
        return {unit for unit in before.keys() | after.keys() if before.get(unit) != after.get(unit)}


def digest(text: str) -> str:
    return digest_of(Canonical([ast.parse(text)]).text)
