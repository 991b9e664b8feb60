from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import law
import pytest

from analysis.engine.errors import ParameterError
from analysis.engine.storage import settings, stores
from analysis.engine.storage.retry import Patience
from analysis.engine.storage.settings import Choice, choice_for, normalized, remote_settings

Configure = Callable[..., None]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Writes a section of ``law.cfg``; what was there comes back."""
    before: dict[str, dict[str, str] | None] = {}

    def restore(section: str, options: dict[str, str] | None) -> None:
        law.config.remove_section(section)
        if options is not None:
            law.config.add_section(section)
            for option, value in options.items():
                law.config.set(section, option, value)
        stores.forget()

    def write(section: str, **options: str) -> None:
        if section not in before:
            known = law.config.has_section(section)
            before[section] = dict(law.config.items(section, expand_vars=False)) if known else None
        restore(section, options)

    yield write
    for section, options in before.items():
        restore(section, options)


@pytest.fixture
def store(configure: Configure) -> Configure:
    """Writes the section of a store, with a base if none is given."""
    configure("outputs")
    return lambda **options: configure("grid", **{"base": "root://a.site//store/me", **options})


# [outputs]


def test_without_a_word_all_is_local(configure: Configure) -> None:
    configure("outputs")
    assert choice_for("SelectEvents") == Choice("local", "")
    law.config.remove_section("outputs")
    assert choice_for("SelectEvents") == Choice("local", "")


def test_exact_name_then_longest_pattern_then_default(store: Configure, configure: Configure) -> None:
    store(mirror="/mirror")
    configure(
        "outputs",
        **{
            "default": "wlcg, grid",
            "Plot*": "wlcg_mirrored, grid",
            "P*": "wlcg,grid",
            "Plot?ut*": "local",
            "PlotFit": "wlcg, grid",
            "*lot": "local",
        },
    )
    assert choice_for("SelectEvents") == Choice("wlcg", "grid")
    assert choice_for("PlotVariables") == Choice("wlcg_mirrored", "grid")
    assert choice_for("PlotCutflow") == Choice("local", "")
    assert choice_for("PlotFit") == Choice("wlcg", "grid")
    assert choice_for("ProduceColumns") == Choice("wlcg", "grid")
    assert choice_for("MyPlot") == Choice("local", "")
    assert choice_for("plotfit") == Choice("wlcg", "grid")  # names are as they are written
    assert choice_for("default") == Choice("wlcg", "grid")


def test_a_local_store_may_have_a_section(configure: Configure, tmp_path: Path) -> None:
    configure("disk_b", base=str(tmp_path), qos="FAST")
    configure("outputs", default="local", TrainModel="local, disk_b")
    assert settings.choices() == [Choice("local", ""), Choice("local", "disk_b")]
    assert settings.local_settings("disk_b") == settings.LocalSettings(tmp_path, "FAST")
    settings.check()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("remote", r"'remote': write one of local, wlcg, wlcg_mirrored, and the section of the store"),
        ("", r"it is empty: write one of local"),
        ("wlcg", r"'wlcg': name the section of the store as well, e\.g\. wlcg, wlcg_fs"),
        ("wlcg,", r"name the section of the store as well"),
        ("wlcg, nowhere", r"there is no section nowhere with an option base: add it"),
        ("wlcg, batch", r"there is no section batch with an option base: add it"),
        ("wlcg, a b", r"'a b' is no name of a section"),
        ("local, local_fs", r"the section local_fs is for something else: give yours another name"),
        ("wlcg grid", r"write one of local"),
    ],
)
def test_wrong_choice_is_one_sentence(store: Configure, configure: Configure, value: str, sentence: str) -> None:
    store()
    configure("outputs", TrainModel=value)
    with pytest.raises(ParameterError, match=rf"^law\.cfg or the profile, section outputs, TrainModel: .*{sentence}"):
        choice_for("TrainModel")
    with pytest.raises(ParameterError, match=sentence):
        settings.check()
    assert choice_for("FitModel") == Choice("local", "")


# the section of a store


def test_defaults_are_those_of_law_where_law_has_them(store: Configure) -> None:
    store()
    found = remote_settings("grid")
    assert found == settings.RemoteSettings(base=("root://a.site//store/me",))
    assert (found.retry_delay, found.cache_max_size, found.cache_root) == (5, 0, None)


def test_options(store: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEWHERE", "/data")
    store(
        base="root://a.site/store/me/, davs://b.site:2880//store//me",
        interface="xrootd",
        timeout="10s",
        patience="5min",
        job_patience="1h",
        retry_delay="2s",
        connections="4",
        checksum="require",
        qos="CHEAP-ANALYSIS",
        mirror="$SOMEWHERE/mirror",
        cache_root="${SOMEWHERE}/cache",
        cache_max_size="50GB",
    )
    assert remote_settings("grid") == settings.RemoteSettings(
        *(("root://a.site//store/me", "davs://b.site:2880/store/me"), "xrootd", 10, 300, 3600, 2, 4, "require"),
        *("CHEAP-ANALYSIS", Path("/data/mirror"), Path("/data/cache"), 50 * 10**9),
    )


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("root://{a,b}.site//x", ("root://a.site//x", "root://b.site//x")),
        ("root://a//x\nroot://b//x", ("root://a//x", "root://b//x")),
        ("root://a//x, root://a/x/", ("root://a//x",)),
    ],
)
def test_several_endpoints(store: Configure, text: str, urls: tuple[str, ...]) -> None:
    store(base=text)
    assert remote_settings("grid").base == urls


def test_what_law_puts_into_its_own_section_is_no_mistake(configure: Configure) -> None:
    defaults = dict(law.config.items("_wlcg_fs_defaults"))
    configure("wlcg_fs", **{**defaults, "base": "root://a//x"})
    assert remote_settings("wlcg_fs") == settings.RemoteSettings(base=("root://a//x",))


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("base", "", "it is empty: name the URL of the store"),
        ("base", "/data/store", "'/data/store' is not the URL of a store: it starts with one of dav, "),
        ("base", "ftp://a/x", "is not the URL of a store"),
        ("base", "root://a", r"needs a path without \. and \.\."),
        ("base", "root://a//", "needs a path"),
        ("base", "root://a//x/../y", "needs a path"),
        ("base", "root:////x", "needs a host after ://"),
        ("base", "file://host/x", "is no file:///DIRECTORY"),
        ("base", "https://a/x?authz=s3cr3t", r"'https://a/x\?\.\.\.' has more than a host and a path"),
        (
            "base",
            "https://me:s3cr3t@a/x",
            r"'https://\.\.\.@a/x' has more than a host and a path: leave out credentials",
        ),
        ("base", "root://$NOT_SET_HERE//x", "the variable NOT_SET_HERE is not set: export it"),
        ("mirror", "${NOT_SET_HERE}/x", "the variable NOT_SET_HERE is not set"),
        ("mirror", "relative", "'relative' is not absolute: jobs run in another directory"),
        ("interface", "gfal", "'gfal' is not one of auto, gfal2, xrootd, fsspec"),
        ("checksum", "yes", "'yes' is not one of auto, require, off"),
        ("timeout", "0", "'0' is less than one second"),
        ("timeout", "soon", "'soon' is not a time such as"),
        ("patience", "-1", "'-1' is not a time such as"),
        ("retry_delay", "1 fortnight", "is not a time: the unit is one of"),
        ("connections", "0", "'0' is not a number from 1 to 256"),
        ("connections", "many", "'many' is not a number from 1 to 256"),
        ("cache_max_size", "big", "'big' is not a size such as 2GB"),
        ("cache_root", "/cache", "cache_root is set: say how large the cache may be"),
        ("qos", "very fast", "'very fast' is no label"),
        ("retries", "3", "it is law's, and means nothing here: remove it; there are base, cache_max_size"),
        ("gfal_atomic_contexts", "True", "it is law's, and means nothing here"),
        ("patiense", "3", "it is no option of a store: remove it; there are base"),
    ],
)
def test_wrong_value_is_one_sentence(store: Configure, option: str, value: str, sentence: str) -> None:
    store(**{option: value})
    with pytest.raises(ParameterError, match=sentence) as caught:
        remote_settings("grid")
    text = str(caught.value)
    assert text.startswith("law.cfg or the profile, section grid, ")
    assert "s3cr3t" not in text
    assert "\n" not in text


def test_a_mirrored_store_needs_a_mirror(store: Configure, configure: Configure) -> None:
    store()
    configure("outputs", default="wlcg_mirrored, grid")
    with pytest.raises(ParameterError, match=r"section grid, mirror: it is empty: \[outputs\] asks for wlcg_mirrored"):
        settings.check()
    store(mirror="/mirror")
    settings.check()


def test_a_local_section_needs_a_directory(configure: Configure) -> None:
    configure("disk_b", base="root://a//x")
    configure("outputs", default="local, disk_b")
    with pytest.raises(ParameterError, match="section disk_b, base: 'root://a//x' is not absolute"):
        settings.check()


def test_batch_jobs_are_more_patient(store: Configure) -> None:
    store(retry_delay="3s")
    found = remote_settings("grid")
    assert found.retries({}) == Patience(120, 3)
    assert found.retries({"ANALYSIS_JOB_BACKEND": "slurm"}) == Patience(600, 3)


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("root://h/x", "root://h//x"),
        ("root://h///x//y/", "root://h//x/y"),
        ("xroot://h:1094/x", "xroot://h:1094//x"),
        ("ROOT://h//x", "root://h//x"),
        ("davs://h//x/", "davs://h/x"),
        ("root://user@h//x", "root://user@h//x"),
        ("file:///data/x", "file:///data/x"),
    ],
)
def test_urls_are_normalized(url: str, result: str) -> None:
    assert normalized(url) == result
    assert normalized(result) == result
