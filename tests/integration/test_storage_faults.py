"""Servers that go away or break off, through ``law run``: what is said, what is kept, and that nothing false counts."""

from __future__ import annotations

import pytest

from tests.integration.batch_queue import until
from tests.integration.storage_fixtures import new_place, place, scheme, storage
from tests.integration.storage_runs import Runs, runs, started

__all__ = ["new_place", "place", "runs", "scheme", "storage"]

pytestmark = pytest.mark.integration

LARGE = ("--size", 500_000, "--n", 2)
SOME = 200_000
"""Bytes after which a transfer of a large file breaks off."""
NO_PAGES = {"XRD_CPUSEPGWRTRD": "0"}
"""As with servers that know no checksums of pages."""
UNKNOWN = "nothing is known of what is there; run again when the server is back, all that is done is kept"


def test_down_at_the_start(runs: Runs) -> None:
    with runs.place.through(refuse=True) as way:
        said = runs("WriteToy", base=way.base)
        assert said.code == 40
        told = said.sentence("OutageError", f"list {way.base}/v1/WriteToy/toys", ", tried for 2 s: ", UNKNOWN)
        assert said.sentences("OutageError") == [told]
        assert len(said.lines("WARNING")) == len(said.lines(f"no answer from {way.base} (")) == 1
    assert runs.told() == []
    assert runs.files("*") == {}


def test_status_without_a_server(runs: Runs) -> None:
    """All endpoints are dead: an error, and not a word of what is missing."""
    runs.succeed("WriteToy")
    with runs.place.through(refuse=True) as one, runs.place.through(refuse=True) as two:
        said = runs("WriteToy", "--print-status", "0", base=f"{one.base}, {two.base}")
    assert said.code == 1
    told = said.sentence("OutageError", "none of the endpoints answers, tried for 2 s: ", UNKNOWN)
    assert f"{one.base} (" in told
    assert f"{two.base} (" in told
    assert "missing" not in said.text
    assert "3 current, 0 stale, 0 missing" in runs.status()


def test_down_in_the_middle(runs: Runs) -> None:
    """The first patience that ends in vain is the last: the other seventeen branches do not begin."""
    with runs.place.through() as way, started(runs.start("WriteToy", "--n", 20, "--gate", 2, base=way.base)) as run:
        runs.waits()
        until(lambda: runs.current() == {0, 1})
        way.proxy.set(refuse=True)
        runs.go()
        said = run.end()
        assert said.code == 30
        told = said.sentence("OutageError", way.base, "v1/WriteToy/toys/n_20", ", tried for ", UNKNOWN)
        assert said.sentences("OutageError") == [told]
        assert len(said.lines("no answer from")) == 1
    assert runs.current() == {0, 1}
    assert runs.told()[:4] == ["0", "1", "2", "waits"]
    begun = len(runs.told())
    assert begun < 8
    assert "2 current, 0 stale, 18 missing" in runs.status("WriteToy", "--n", 20)
    runs.succeed("WriteToy", "--n", 20)
    assert runs.current() == set(range(20))
    assert runs.told()[begun:] == [str(branch) for branch in range(2, 20)]


def test_back_in_time(runs: Runs) -> None:
    with runs.place.through() as way:
        run = runs.start("WriteToy", "--gate", 1, base=way.base, patience="30s")
        with started(run):
            runs.waits()
            before = way.proxy.counts().connections
            way.proxy.set(refuse=True)
            runs.go()
            with pytest.raises(AssertionError, match="did not happen"):
                until(lambda: run.process.poll() is not None, 1)
            way.proxy.set()
            said = run.end()
        assert way.proxy.counts().connections > before
    assert said.code == 0, said.text
    assert len(said.lines("WARNING")) == 2
    assert len(said.lines("trying again for 30 s")) == len(said.lines("answers again after")) == 1
    assert runs.current() == {0, 1, 2}
    assert runs.parts() == []


def test_one_of_two_endpoints_dead(runs: Runs) -> None:
    with runs.place.through(refuse=True) as way:
        said = runs.succeed("WriteToy", base=f"{way.base}, {runs.base}")
        assert said.lines("WARNING") == said.lines(f"no answer from {way.base} (")
        assert len(said.lines("using another endpoint")) <= 1
    assert runs.current() == {0, 1, 2}


def test_one_of_two_endpoints_dies(runs: Runs) -> None:
    with runs.place.through() as way:
        run = runs.start("WriteToy", "--n", 6, "--gate", 2, base=f"{way.base}, {runs.base}")
        with started(run):
            runs.waits()
            way.proxy.set(refuse=True)
            runs.go()
            said = run.end()
        assert said.code == 0, said.text
        assert len(said.lines(f"no answer from {way.base} (")) == 1
        assert "ERROR" not in said.text
    assert runs.current() == set(range(6))
    assert runs.parts() == []


def test_server_killed_during_an_upload(runs: Runs) -> None:
    with runs.place.through(hang_up=SOME) as way, started(runs.start("WriteToy", *LARGE, base=way.base)) as run:
        way.wait()
        try:
            runs.place.storage.kill(runs.place.server)
            said = run.end()
        finally:
            runs.place.storage.start(runs.place.server)
        said.sentence("OutageError", f"{way.base}/v1/WriteToy/toys/n_2/size_500000/", UNKNOWN)
    assert runs.current() == set()
    assert runs.files("out_0.bin") == {}
    runs.succeed("WriteToy", *LARGE)
    assert runs.current() == {0, 1}


def test_down_between_upload_and_rename(runs: Runs) -> None:
    with runs.place.through() as way, started(runs.start("WriteToy", *LARGE, "--gate", 0, base=way.base)) as run:
        runs.waits()
        way.proxy.set(latency=0.25)
        runs.go()
        until(lambda: 500_000 in runs.sizes("*.part"))
        way.proxy.set(refuse=True)
        said = run.end()
        said.sentence("OutageError", f"{way.base}/v1/WriteToy/toys/n_2/size_500000/", UNKNOWN)
    assert 500_000 in runs.sizes("*.part")
    assert runs.current() == set()
    assert "0 current, 0 stale, 2 missing" in runs.status("WriteToy", *LARGE)
    runs.succeed("WriteToy", *LARGE)
    assert runs.current() == {0, 1}


def test_run_killed_during_an_upload(runs: Runs) -> None:
    with runs.place.through(hang_up=SOME) as way, started(runs.start("WriteToy", *LARGE, base=way.base)) as run:
        way.wait()
        run.kill()
    assert len(runs.parts()) in {1, 2}  # as far as the second branch was
    assert runs.files("out_0.bin") == {}
    assert "0 current, 0 stale, 2 missing" in runs.status("WriteToy", *LARGE)
    said = runs.succeed("WriteToy", *LARGE)
    assert "which is gone: lock removed" in said.text
    assert runs.current() == {0, 1}


def test_server_stalls_at_the_start(runs: Runs) -> None:
    runs.succeed("WriteToy")
    with runs.place.stalled():
        said = runs("WriteToy", "--print-status", "0")
    assert said.code == 1
    said.sentence("OutageError", f"list {runs.base}/v1/WriteToy/toys", ", tried for ", UNKNOWN)
    assert "missing" not in said.text
    assert "3 current" in runs.status()


@pytest.mark.parametrize("scheme", ["root"])  # by davs:// it is the same, and takes twice as long
def test_server_stalls_during_an_upload(runs: Runs) -> None:
    with runs.place.through(hang_up=SOME) as way:
        said = runs("WriteToy", *LARGE, base=way.base, timeout="2s", patience="1s")
        assert said.code == 30
        said.sentence("OutageError", f"{way.base}/v1/WriteToy/toys/n_2/size_500000/", UNKNOWN)
    assert runs.current() == set()
    runs.succeed("WriteToy", *LARGE)
    assert runs.current() == {0, 1}


@pytest.mark.parametrize("fault", ["reset_up", "flip_up"])
def test_upload_broken_once(runs: Runs, fault: str) -> None:
    """The connection is reset, or one bit arrives wrong: it is sent once more."""
    with runs.place.through(**{fault: SOME}) as way:
        said = runs.succeed("WriteToy", *LARGE, base=way.base, patience="20s", **NO_PAGES)
        assert way.proxy.counts().faults == 1
    assert "ERROR" not in said.text
    assert runs.current() == {0, 1}
    assert runs.told() == ["0", "1"]


@pytest.mark.parametrize("fault", ["reset_down", "flip_down"])
def test_download_broken_once(runs: Runs, fault: str) -> None:
    """The same; what is read is what was written."""
    runs.succeed("WriteToy", *LARGE)
    with runs.place.through(**{fault: SOME}) as way:
        said = runs.succeed("ReadToy", *LARGE, base=way.base, patience="20s", **NO_PAGES)
        assert way.proxy.counts().faults == 1
    assert "ERROR" not in said.text
    assert [path.read_text() for path in runs.files("read_*.txt").values()] == ["500000 True"] * 2
