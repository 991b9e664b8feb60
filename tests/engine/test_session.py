from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine import session, slots
from analysis.engine.errors import ExpensiveRunError, OutputError, ParameterError
from analysis.engine.plan import PlanRow
from analysis.engine.session import allow
from analysis.errors import AnalysisError
from tests.engine.toy_chain import Count, Read, Sum, World, chain_states

pytestmark = pytest.mark.usefixtures("world")


def rows(*hours: float) -> list[PlanRow]:
    return [PlanRow("Read", 9, 1, 2, 3, "local", "none", "", 9e9, 1, 3600 * hour) for hour in hours]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Somebody who answers."""

    def answer(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal(text))
        monkeypatch.setattr(sys, "stderr", Terminal())

    return answer


@pytest.mark.parametrize("plan", [rows(), rows(0), rows(1.0), rows(0.4, 0.6)])
def test_cheap_runs_are_allowed(plan: list[PlanRow]) -> None:
    allow(plan, yes=False)


@pytest.mark.parametrize("plan", [rows(1.001), rows(0.5, 0.6), rows(100)])
def test_expensive_runs_need_a_yes(plan: list[PlanRow]) -> None:
    with pytest.raises(ExpensiveRunError, match=r"stale branches would be made again, .*: look at --plan and --why"):
        allow(plan, yes=False)
    allow(plan, yes=True)


def test_what_is_made_for_the_first_time_is_free() -> None:
    allow([PlanRow("Read", 9, 9, 0, 0, "local", "none", "", 9e9, 1, 0.0)], yes=False)


def test_error_says_how_much_is_at_stake() -> None:
    with pytest.raises(
        ExpensiveRunError,
        match=r"^10 stale branches would be made again, which took about 12\.3 CPU hours: look at .* with --yes$",
    ):
        allow(rows(12.0, 0.3), yes=False)


def test_limit_is_that_of_law_cfg(stale: Callable[..., None]) -> None:
    stale(expensive_cpu_hours="20")
    allow(rows(19.9), yes=False)
    stale(expensive_cpu_hours="0.01")
    with pytest.raises(ExpensiveRunError):
        allow(rows(0.02), yes=False)
    stale(expensive_cpu_hours="a lot")
    with pytest.raises(ParameterError, match=r"expensive_cpu_hours is 'a lot', but must be a number of hours"):
        allow(rows(0), yes=False)


@pytest.mark.parametrize("answer", ["y\n", "Y\n", "yes\n", " YES \n"])
def test_yes_at_the_terminal(terminal: Callable[[str], None], answer: str) -> None:
    terminal(answer)
    allow(rows(2), yes=False)
    assert isinstance(sys.stderr, Terminal)
    said = sys.stderr.getvalue()
    assert said == "5 stale branches would be made again, which took about 2 CPU hours. Go on? [y/N] "


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yep\n", "no\n"])
def test_anything_else_at_the_terminal_is_no(terminal: Callable[[str], None], answer: str) -> None:
    terminal(answer)
    with pytest.raises(ExpensiveRunError):
        allow(rows(2), yes=False)


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_nobody_is_asked_who_cannot_see_or_answer(
    terminal: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    terminal("y\n")
    monkeypatch.setattr(sys, stream, io.StringIO("y\n"))
    with pytest.raises(ExpensiveRunError):
        allow(rows(2), yes=False)


# one snapshot while luigi schedules, the present state afterwards


def test_store_is_looked_at_once_while_scheduling() -> None:
    with session.scheduling():
        assert session.snapshot() is session.snapshot()
        assert not Read(branch=0).complete()
        Read(branch=0).run()
        assert not Read(branch=0).complete()
    assert session.snapshot() is not session.snapshot()
    assert Read(branch=0).complete()


def test_session_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), session.scheduling():
        raise ZeroDivisionError
    assert session.snapshot() is not session.snapshot()


def test_without_a_command_line_there_is_no_root() -> None:
    Sum()
    assert session.root() is None


# luigi runs the chain


@pytest.mark.parametrize("workers", [1, 2])
def test_chain_from_python(world: World, workers: int) -> None:
    task = Sum().run_chain(workers=workers)
    assert task.complete()
    assert chain_states() == "ccc ccc c"
    assert slots.workers() == workers
    slots.configure(1)
    if workers == 1:
        assert world.ran == [*(f"{f} branch {b}" for f in ("Read", "Count") for b in range(3)), "Sum"]


def test_chain_runs_what_is_stale_only(world: World) -> None:
    Sum().run_chain()
    world.ran.clear()
    world.settings["Count"] = {"x": 1}
    Sum().run_chain()
    assert world.ran == ["Count branch 0", "Count branch 1", "Count branch 2"]
    assert [a.why for a in Sum().manifest().adopted] == ["same inputs"]


def test_chain_stops_with_the_error_of_the_task(world: World) -> None:
    def fail(task: Count) -> None:
        if task.branch == 1:
            msg = "no such column: add it"
            raise OutputError(msg)

    world.hooks["Count"] = fail
    with pytest.raises(Exception, match=r"^1 of 3 branches failed \(1\): OutputError: no such column: add it$"):
        Sum().run_chain()
    assert chain_states() == "ccc cmc m"


def test_chain_stops_where_stale_is_an_error(
    world: World, stale: Callable[..., None], store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Sum().run_chain()
    stale(Count="error")
    world.settings["Count"] = {"x": 1}
    before = sorted(store.rglob("*"))
    with pytest.raises(AnalysisError, match=r"^Sum could not be completed"):
        Sum().run_chain()
    assert "Count: StaleError: Count: 3 branches are stale" in caplog.text
    assert sorted(store.rglob("*")) == before
