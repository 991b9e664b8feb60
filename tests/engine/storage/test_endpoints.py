from __future__ import annotations

import errno
import logging
import os
from collections import Counter

import pytest

from analysis.engine.storage import credentials
from analysis.engine.storage.base import DeniedError, NotFoundError, OutageError, RemoteError, error_of
from analysis.engine.storage.endpoints import Endpoint, Endpoints
from analysis.engine.storage.retry import Patience
from tests.engine.storage.fake import Fault, Server, endpoints_of, store_of

ROOT = ("root://a//store", "root://b//store", "root://c//store")


def _names(endpoints: Endpoints, number: int) -> list[str]:
    return [endpoints.choose().base[7:8] for _ in range(number)]


def _failure(endpoint: Endpoint) -> RemoteError:
    return OutageError("stat", endpoint.base, "connection refused")


def test_each_operation_goes_to_the_next_endpoint() -> None:
    endpoints = endpoints_of(Server(), "abc")
    names = _names(endpoints, 6)
    assert names[:3] == names[3:]
    assert set(names) == set("abc")


def test_an_endpoint_that_fails_is_left_alone_for_a_growing_time() -> None:
    server = Server()
    endpoints = endpoints_of(server, "ab")
    bad = endpoints.all[0]
    endpoints.failed(bad, _failure(bad))
    assert set(_names(endpoints, 10)) == {"b"}
    server.time.now += 4.9
    assert set(_names(endpoints, 10)) == {"b"}
    server.time.now += 0.2
    assert Counter(_names(endpoints, 10))["a"] == 1  # one finds out; the others do not wait for it
    endpoints.failed(bad, _failure(bad))
    server.time.now += 9.9
    assert set(_names(endpoints, 10)) == {"b"}
    server.time.now += 0.2
    assert Counter(_names(endpoints, 10))["a"] == 1
    for _ in range(20):
        endpoints.failed(bad, _failure(bad))
    server.time.now += 299
    assert set(_names(endpoints, 10)) == {"b"}
    server.time.now += 2
    assert "a" in _names(endpoints, 2)


def test_an_endpoint_that_answers_again_takes_its_turn() -> None:
    endpoints = endpoints_of(Server(), "ab")
    bad = endpoints.all[0]
    endpoints.failed(bad, _failure(bad))
    endpoints.answered(bad)
    assert Counter(_names(endpoints, 10)) == {"a": 5, "b": 5}


def test_if_none_works_the_one_that_rested_longest_is_taken() -> None:
    server = Server()
    endpoints = endpoints_of(server, "ab")
    a, b = endpoints.all
    endpoints.failed(b, _failure(b))
    server.time.now += 1
    endpoints.failed(a, _failure(a))
    assert endpoints.choose() is b
    assert endpoints.choose() is a  # b is being asked


def test_a_dead_endpoint_costs_no_pause_while_another_answers() -> None:
    server = Server()
    server.add("store/v1/x", b"x")
    server.down = {"a"}
    store = store_of(server, "ab")
    for _ in range(10):
        assert store.sizes(store.root / "v1") == {"x": 1}
    assert server.time.pauses == []
    assert server.hosts.count("a") == 1


def test_an_outage_that_ends_in_time_is_survived() -> None:
    server = Server()
    server.add("store/v1/x", b"x")
    server.fail(*[Fault.OUTAGE] * 4)
    store = store_of(server)
    assert store.sizes(store.root / "v1") == {"x": 1}
    assert len(server.time.pauses) == 4


def test_all_endpoints_down_is_an_outage_that_names_them_and_the_time() -> None:
    server = Server()
    server.add("store/v1/x", b"x")
    server.down = set("abc")
    server.latency = 1
    store = store_of(server, "abc", Patience(90, 5, 60))
    begin = server.time.now
    with pytest.raises(OutageError) as caught:
        store.sizes(store.root / "v1")
    text = str(caught.value)
    for base in ROOT:
        assert f"{base} (connection refused)" in text
    assert "none of the endpoints answers, tried for " in text
    assert text.startswith("list root://")
    assert "nothing is known of what is there" in text
    assert 90 <= server.time.now - begin <= 90 + 3 * 2 + 3
    assert caught.value.errno == errno.EHOSTUNREACH


def test_one_endpoint_down_is_one_short_sentence() -> None:
    server = Server()
    server.down = {"a"}
    store = store_of(server)
    with pytest.raises(OutageError, match=r"^list root://a//store/v1: connection refused, tried for 2 min: nothing"):
        store.names(store.root / "v1")
    impatient = store_of(server, patience=Patience(total=0))
    with pytest.raises(OutageError, match=r"^list root://a//store/v1: connection refused: nothing"):
        impatient.names(store.root / "v1")


@pytest.mark.parametrize("was_renewed", [False, True])
def test_who_is_denied_tries_again_once_with_a_new_credential(
    was_renewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "keep_fresh", lambda: was_renewed)
    asked = []

    def request(endpoint: Endpoint) -> None:
        asked.append(endpoint)
        operation = "stat"
        raise DeniedError(operation, endpoint.base, "no")

    with pytest.raises(DeniedError):
        endpoints_of(Server(), "a").session().ask(request)
    assert len(asked) == 1 + was_renewed


def test_a_server_that_asks_to_come_back_later_is_asked_again_soon() -> None:
    server, asked = Server(), []
    endpoints = endpoints_of(server, "a")

    def request(endpoint: Endpoint) -> str:
        asked.append(endpoint)
        if len(asked) < 4:
            operation = "checksum"
            raise error_of(errno.ETIMEDOUT, operation, endpoint.base, "operation expired")
        return "answer"

    before = endpoints.clock.now()
    assert endpoints.session().ask(request) == "answer"
    assert 0 < endpoints.clock.now() - before < 0.2 + 0.4 + 0.8


@pytest.mark.parametrize("error", [NotFoundError, RemoteError])
def test_what_a_server_says_is_not_tried_again(error: type[RemoteError]) -> None:
    endpoints = endpoints_of(Server(), "ab")
    asked = []

    def request(endpoint: Endpoint) -> None:
        asked.append(endpoint)
        operation = "stat"
        raise error(operation, endpoint.base, "no")

    with pytest.raises(error):
        endpoints.session().ask(request)
    assert len(asked) == 1
    assert Counter(_names(endpoints, 10)) == {"a": 5, "b": 5}  # it answered


def test_one_operation_stays_with_its_endpoint_while_it_answers() -> None:
    server = Server()
    store = store_of(server, "abc")
    store.write(store.root / "x", b"content")
    assert len(server.hosts) == 3
    assert len(set(server.hosts)) == 1


def test_one_message_for_an_outage_and_one_for_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="analysis.engine.storage")
    server = Server()
    store = store_of(server)
    server.fail(*[Fault.OUTAGE] * 5)
    store.names(store.root)
    waited = sum(server.time.pauses)
    assert [record.getMessage() for record in caplog.records] == [
        "store wlcg_fs: no answer from root://a//store (connection refused): trying again for 2 min",
        f"store wlcg_fs: root://a//store answers again after {waited:.0f} s",
    ]


def test_an_endpoint_that_fails_now_and_then_is_not_spoken_of_each_time(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    store = store_of(server, "ab")
    for _ in range(20):
        server.fail(Fault.OUTAGE)
        store.names(store.root)
    assert len(caplog.records) <= 4  # each of the two, and its end
    assert "using another endpoint" in caplog.records[0].getMessage()


def test_a_fork_while_another_thread_has_the_state_does_no_harm() -> None:
    server = Server()
    server.add("store/v1/x", b"x")
    store = store_of(server, "ab")
    with store.endpoints._own().mutex:
        child = os.fork()
        if not child:
            os._exit(0 if store.sizes(store.root / "v1") == {"x": 1} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_thousand_requests_to_a_lost_store_wait_once() -> None:
    server = Server()
    server.add("store/v1/x", b"x")
    server.down = {"a", "b"}
    store = store_of(server, "ab", Patience(90, 5, 60))
    said = set()
    for number in range(1000):
        with pytest.raises(OutageError) as caught:
            store.names(store.root / f"v{number}")
        said.add(str(caught.value))
    assert len(said) == 1  # that of the first
    assert 90 <= sum(server.time.pauses) <= 90 + 1e-6
    asked = len(server.hosts)
    server.time.now += 29.9
    with pytest.raises(OutageError):
        store.names(store.root)
    assert len(server.hosts) == asked
    server.time.now += 0.2
    for _ in range(10):  # one finds out, and does not wait
        with pytest.raises(OutageError):
            store.names(store.root)
    assert len(server.hosts) == asked + 2
    assert sum(server.time.pauses) <= 90 + 1e-6


def test_a_lost_store_that_answers_again_has_all_its_patience() -> None:
    server = Server()
    server.add("store/v1/x", b"x")
    server.down = {"a"}
    store = store_of(server, "a", Patience(20, 5, 60))
    with pytest.raises(OutageError):
        store.names(store.root / "v1")
    server.down = set()
    with pytest.raises(OutageError):  # not asked yet
        store.names(store.root / "v1")
    server.time.now += 20
    assert store.names(store.root / "v1") == ["x"]
    paused = len(server.time.pauses)
    server.fail(Fault.OUTAGE)
    assert store.names(store.root / "v1") == ["x"]
    assert len(server.time.pauses) == paused + 1


def test_a_store_without_patience_is_asked_each_time() -> None:
    server = Server()
    server.down = {"a"}
    store = store_of(server, "a", Patience(0, 5, 60))
    for _ in range(3):
        with pytest.raises(OutageError):
            store.names(store.root)
    assert len(server.hosts) == 3
