"""Apptainer, once called singularity: images that are files or directories."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from hashlib import blake2s
from pathlib import Path

from analysis.engine.sandboxes.base import Child, Running, Sandbox, SandboxError, Start
from analysis.engine.sandboxes.pinned import check_image

_NAMES = ("apptainer", "singularity")
_NOT_FORWARDED = ("APPTAINER", "SINGULARITY")


class ApptainerSandbox(Sandbox):
    """An image of apptainer.

    Args:
        name: path of the image, be it a file or a directory.
        software: set that it holds.
    """

    kind = "apptainer"
    shares_files = False

    def identity(self) -> str:
        """See :meth:`Sandbox.identity`."""
        path = self._path()
        found = json.dumps(self._labels(path), sort_keys=True).encode() if path.is_dir() else _blocks(path)
        return blake2s(found).hexdigest()[:20]

    def state(self) -> str:
        """Size of the image, and when it was made."""
        found = self._path().stat()
        return f"{found.st_size} {found.st_mtime_ns}"

    def prepare(self) -> None:
        """See :meth:`Sandbox.prepare`."""
        path = self._path()
        self._executable()
        if self.software:
            check_image(str(self), self._labels(path), self.software, f"apptainer build {self.name}")

    def start(self, start: Start) -> Running:
        """See :meth:`Sandbox.start`."""
        command = [self._executable(), "exec", "--cleanenv", "--contain", "--no-home", "--pwd", str(start.scratch)]
        for mount in start.mounts:
            command += ["--mount", _mount(mount.path, mount.writable)]
        command += [*self._arguments(), self.name, "python", *start.command]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FORWARDED)}
        environment |= {f"APPTAINERENV_{name}": value for name, value in start.environment.items()}
        try:
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            msg = f"{self}: {command[0]} cannot be started ({error.strerror})"
            raise SandboxError(msg) from error
        return Child(process)

    def _arguments(self) -> list[str]:
        import shlex

        from analysis.engine.sandboxes.settings import option

        gpus = option("apptainer_sandbox", "gpus", "")
        return [*(["--nv"] if gpus else []), *shlex.split(option("apptainer_sandbox", "arguments", ""))]

    def _executable(self) -> str:
        from analysis.engine.sandboxes.settings import option

        wanted = option("apptainer_sandbox", "executable", "")
        names = (wanted,) if wanted else _NAMES
        found = next(filter(None, map(shutil.which, names)), None)
        if found is None:
            where = "law.cfg, section apptainer_sandbox, executable"
            msg = f"{self}: there is no {' or '.join(names)} on the PATH: install it, or name it ({where})"
            raise SandboxError(msg)
        return found

    def _path(self) -> Path:
        path = Path(self.name)
        if not path.exists():
            how = f"apptainer build --build-arg SET={self.software} {self.name} sandboxes/apptainer.def"
            msg = f"{self}: there is no image {path}" + (f": '{how}'" if self.software else ": correct its name")
            raise SandboxError(msg)
        return path

    def _labels(self, path: Path) -> Mapping[str, str]:
        """Labels of the image, as it has them in a file; a start of apptainer for that takes as long as a task."""
        if path.is_dir():
            file = path / ".singularity.d" / "labels.json"
            return dict(json.loads(file.read_text())) if file.exists() else {}
        line = [self._executable(), "inspect", "--json", "--labels", str(path)]
        said = subprocess.run(line, capture_output=True, text=True, check=False)
        if said.returncode:
            msg = f"{self}: {said.stderr.strip().splitlines()[-1] if said.stderr.strip() else 'cannot be read'}"
            raise SandboxError(msg)
        return dict(json.loads(said.stdout)["data"]["attributes"]["labels"] or {})


def _mount(path: Path, writable: bool) -> str:
    """An argument of ``--mount``: comma-separated values, where quotes allow for commas in them."""
    fields = ["type=bind", f"source={path}", f"destination={path}", *([] if writable else ["ro"])]
    return ",".join(f'"{field}"' if any(c in field for c in ',"') else field for field in fields)


def _blocks(path: Path) -> bytes:
    """Size and parts of a file: an image has gigabytes, and its header has an identifier."""

    def parts() -> Iterator[bytes]:
        size = path.stat().st_size
        yield str(size).encode()
        with path.open("rb") as file:
            for position in (0, size // 2, max(0, size - 65536)):
                file.seek(position)
                yield file.read(65536)

    return b"".join(parts())
