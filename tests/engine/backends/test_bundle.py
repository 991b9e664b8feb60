from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from analysis.engine.backends import bundle
from analysis.engine.backends.bundle import Bundle, BundleError, repository_bundle, sandbox_bundle, unused


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A repository without git."""
    path = tmp_path / "base"
    for name, text in {
        "analysis/__init__.py": "x = 1\n",
        "analysis/data/table.json": "[]",
        "analysis/__pycache__/x.pyc": "compiled",
        "sandboxes/build.sh": "#!/bin/sh\n",
        "law.cfg": "[modules]\n",
        "README.md": "not needed",
        "data/store/large.root": "not needed",
    }.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    (path / "sandboxes/build.sh").chmod(0o755)
    return path


def git(base: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", base, *arguments], check=True, capture_output=True)


def names(found: Bundle) -> set[str]:
    if found.path.is_dir():
        return {path.relative_to(found.path).as_posix() for path in found.path.rglob("*") if path.is_file()}
    with tarfile.open(found.path) as tar:
        return set(tar.getnames())


NEEDED = {"analysis/__init__.py", "analysis/data/table.json", "sandboxes/build.sh", "law.cfg"}


@pytest.mark.parametrize("packed", [False, True])
def test_bundle_has_what_a_job_needs(base: Path, tmp_path: Path, packed: bool) -> None:
    found = repository_bundle(base, tmp_path / "bundles", packed)
    assert found.path == tmp_path / "bundles" / f"repository-{found.digest}{'.tar.gz' if packed else ''}"
    assert names(found) == NEEDED
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [found.path.name]


def test_files_of_git_and_those_to_come(base: Path, tmp_path: Path) -> None:
    (base / ".gitignore").write_text("*.log\n__pycache__/\n")
    git(base, "init")
    git(base, "add", "analysis/__init__.py", "law.cfg", "analysis/data/table.json")
    for name in ("analysis/new.py", "analysis/run.log", "analysis/größe 1.py"):
        (base / name).touch()
    (base / "analysis/data/table.json").unlink()
    expected = NEEDED - {"analysis/data/table.json"} | {"analysis/new.py", "analysis/größe 1.py"}
    assert names(repository_bundle(base, tmp_path / "bundles", packed=True)) == expected


def test_directory_is_a_copy_with_the_right_to_execute(base: Path, tmp_path: Path) -> None:
    found = repository_bundle(base, tmp_path / "bundles", packed=False)
    (base / "analysis/__init__.py").write_text("x = 2\n")
    assert (found.path / "analysis/__init__.py").read_text() == "x = 1\n"
    assert os.access(found.path / "sandboxes/build.sh", os.X_OK)
    assert not os.access(found.path / "law.cfg", os.X_OK)


def test_name_is_that_of_the_content(base: Path, tmp_path: Path) -> None:
    first = repository_bundle(base, tmp_path / "bundles", packed=True)
    os.utime(base / "law.cfg", (1, 1))
    (base / "README.md").write_text("changed")
    assert repository_bundle(base, tmp_path / "others", packed=True).path.read_bytes() == first.path.read_bytes()
    digests = {first.digest}
    (base / "law.cfg").write_text("[module]\n")
    digests.add(repository_bundle(base, tmp_path / "bundles", packed=True).digest)
    (base / "law.cfg").chmod(0o755)
    digests.add(repository_bundle(base, tmp_path / "bundles", packed=True).digest)
    (base / "law.cfg").rename(base / "analysis/law.cfg")
    digests.add(repository_bundle(base, tmp_path / "bundles", packed=True).digest)
    assert len(digests) == 4


def test_job_can_check_the_hash(base: Path, tmp_path: Path) -> None:
    found = repository_bundle(base, tmp_path / "bundles", packed=True)
    content = gzip.decompress(found.path.read_bytes())
    assert hashlib.sha256(content).hexdigest().startswith(found.digest)


@pytest.mark.parametrize("packed", [False, True])
def test_bundle_is_made_once(base: Path, tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = repository_bundle(base, tmp_path / "bundles", packed)
    os.utime(found.path, (1, 1))
    monkeypatch.setattr(bundle, "_make", None)
    assert repository_bundle(base, tmp_path / "bundles", packed) == found
    assert found.path.stat().st_mtime > 1e9  # it is used again


def test_interrupted_bundle_leaves_nothing(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tarfile.TarFile, "extractall", interrupt)
    with pytest.raises(KeyboardInterrupt):
        repository_bundle(base, tmp_path / "bundles", packed=False)
    assert list((tmp_path / "bundles").iterdir()) == []


def test_large_repository_is_refused(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LARGEST", 1_000_000)
    with (base / "analysis" / "events.root").open("wb") as file:
        file.truncate(1_000_000)
    with pytest.raises(BundleError, match=r"larger than 1 MB \(at analysis/events.root\): .* let git ignore them"):
        repository_bundle(base, tmp_path / "bundles", packed=True)


def test_place_that_cannot_be_written_is_told(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot be written"):
        repository_bundle(base, tmp_path / "file" / "bundles", packed=True)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A Python environment."""
    packages = tmp_path / "env" / "lib" / "python3.12" / "site-packages"
    for name in ("law/__init__.py", "law/__pycache__/x.pyc", "law-0.1.21.dist-info/RECORD", "_virtualenv.py"):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    return tmp_path / "env"


def test_sandbox_bundle_has_the_packages(environment: Path, tmp_path: Path) -> None:
    found = sandbox_bundle(environment, tmp_path / "bundles")
    assert found.path.name == f"sandbox-{found.digest}-py3.12.tar.gz"
    assert names(found) == {"law/__init__.py", "law-0.1.21.dist-info/RECORD"}
    (environment / "lib/python3.12/site-packages/law/new.py").touch()
    assert sandbox_bundle(environment, tmp_path / "bundles") == found
    (environment / "lib/python3.12/site-packages/luigi-3.8.dist-info").mkdir()
    assert sandbox_bundle(environment, tmp_path / "bundles").digest != found.digest


def test_directory_that_is_no_environment_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no Python environment"):
        sandbox_bundle(tmp_path, tmp_path / "bundles")


def test_unused_bundles(base: Path, environment: Path, tmp_path: Path) -> None:
    place = tmp_path / "bundles"
    folder, file = (repository_bundle(base, place, packed).path for packed in (False, True))
    packages = sandbox_bundle(environment, place).path
    (place / "other.txt").touch()
    assert unused(place, ()) == []
    for path in place.iterdir():
        os.utime(path, (1, 1))
    assert set(unused(place, {packages.name})) == {folder, file}


def test_archive_holds_contents(base: Path, tmp_path: Path) -> None:
    found = repository_bundle(base, tmp_path / "bundles", packed=True)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(found.path.read_bytes()))) as tar:
        member = tar.extractfile("analysis/__init__.py")
        assert member is not None
        assert member.read() == b"x = 1\n"
        assert {entry.mtime for entry in tar} == {0}
