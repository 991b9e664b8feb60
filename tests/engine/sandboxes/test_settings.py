"""What law.cfg and --sandbox say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import law
import pytest

from analysis.engine.errors import ParameterError
from analysis.engine.sandboxes import settings
from analysis.engine.sandboxes.base import Mount
from tests.engine.sandboxes.sandbox_toys import SandboxToy

Write = Callable[..., None]


@pytest.fixture
def config() -> Iterator[Write]:
    """Writes sections of law.cfg."""
    before: dict[str, dict[str, str] | None] = {}

    def content(section: str) -> dict[str, str] | None:
        if not law.config.has_section(section):
            return None
        names = law.config.options(section, expand_vars=False, expand_user=False)
        return {name: law.config.get(section, name, raw=True) for name in names}

    def replace(section: str, options: dict[str, str] | None) -> None:
        law.config.remove_section(section)
        if options is not None:
            law.config.add_section(section)
            for option, value in options.items():
                law.config.set(section, option, value)

    def write(section: str, options: dict[str, str]) -> None:
        if section not in before:
            before[section] = content(section)
        replace(section, options)

    yield write
    for section, options in before.items():
        replace(section, options)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("none", ("none", "")),
        ("venv", ("venv", "")),
        ("singularity", ("apptainer", "")),
        ("docker::a/b:c", ("docker", "a/b:c")),
        ("docker::host:5000/a@sha256:0", ("docker", "host:5000/a@sha256:0")),
        ("singularity::/a b.sif", ("apptainer", "/a b.sif")),
        ("bash::$X/s.sh", ("bash", "$X/s.sh")),
    ],
)
def test_names(name: str, found: tuple[str, str]) -> None:
    assert settings.check_name(name, "--sandbox") == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("dokcer", "did you mean docker?"),
        ("docker::", "use none"),
        ("bash", "use none"),
        ("podman::x", "use none"),
        ("VENV", "use none"),
    ],
)
def test_names_that_are_none(name: str, hint: str) -> None:
    with pytest.raises(ParameterError, match=rf"^--sandbox {name} does not exist: .*{hint[:8]}"):
        settings.check_name(name, "--sandbox")


def test_parameter_is_checked() -> None:
    with pytest.raises(ParameterError, match=r"--sandbox dokcer does not exist: did you mean docker"):
        SandboxToy(sandbox="dokcer")


def test_families_and_patterns(config: Write) -> None:
    config("sandboxes", {"default": "venv", "Train*": "docker", "TrainModel": "docker::x", "T*": "none"})
    assert {name: settings.choice_for(name) for name in ("TrainModel", "TrainOther", "Tabulate", "Select")} == {
        "TrainModel": "docker::x",
        "TrainOther": "docker",
        "Tabulate": "none",
        "Select": "venv",
    }


def test_without_a_section_there_is_none(config: Write) -> None:
    config("sandboxes", {})
    assert settings.choice_for("Any") == "none"


def test_a_bad_name_in_the_file_is_said_with_its_place(config: Write) -> None:
    config("sandboxes", {"default": "dokcer"})
    with pytest.raises(ParameterError, match=r"law\.cfg, section sandboxes: default: dokcer does not exist"):
        settings.choice_for("Any")


def test_images_of_sets(config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/somewhere")
    config("docker_sandbox", {"image": "host/{set}:1"})
    config("apptainer_sandbox", {"image": "$PLACE/{set}.sif"})
    assert str(settings.sandbox_of("docker", "", "ml")) == "docker::host/ml:1"
    assert str(settings.sandbox_of("apptainer", "", "ml")) == "apptainer::/somewhere/ml.sif"
    assert str(settings.sandbox_of("docker", "a/b", "ml")) == "docker::a/b"
    assert settings.sandbox_of("docker", "a/b", "ml").software == ""


def test_volumes(config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defects 11 and 12 of law: a variable is a crash, and a mistyped source is made."""
    monkeypatch.setenv("PLACE", str(tmp_path))
    (tmp_path / "100%").mkdir()
    config("docker_sandbox_volumes", {"$PLACE": "rw", f"{tmp_path}/100%": ""})
    assert settings.more_mounts("docker") == [Mount(tmp_path, True), Mount(tmp_path / "100%")]
    config("docker_sandbox_volumes", {f"{tmp_path}/mistyped": ""})
    with pytest.raises(ParameterError, match="mistyped does not exist: correct it"):
        settings.more_mounts("docker")
    assert not (tmp_path / "mistyped").exists()
    config("docker_sandbox_volumes", {str(tmp_path): "rwx"})
    with pytest.raises(ParameterError, match="ro or rw"):
        settings.more_mounts("docker")


def test_variables(config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE_A", "`a` $b")
    monkeypatch.setenv("MINE_B", "b")
    config("docker_sandbox_env", {"MINE_*": "", "OTHER": "x y"})
    assert settings.more_variables("docker") == {"MINE_A": "`a` $b", "MINE_B": "b", "OTHER": "x y"}


def test_percent_signs_are_doubled(config: Write) -> None:
    """As law has it, in all of its files."""
    config("docker_sandbox_env", {"SHARE": "50%%"})
    assert settings.more_variables("docker") == {"SHARE": "50%"}
