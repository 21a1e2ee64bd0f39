"""How much is kept for clients, and who is not read because it is too much."""

from __future__ import annotations

import pytest

from tests import frames
from tests.net.wires import ORIGIN, TARGET, Client, Stage
from zdm.core.clusters import CLUSTERS, Side
from zdm.metrics import Meter
from zdm.net.in_flight import PAUSE, STEP

KB = 1024
LIMIT = 8 * STEP
TIMEOUT = 10.0


@pytest.fixture
def stage() -> Stage:
    """A client may have half a megabyte in flight, all together two."""
    return Stage(client_inflight_bytes=LIMIT, inflight_bytes=4 * LIMIT, request_timeout=TIMEOUT)


def write(stream: int, size: int) -> bytes:
    """An INSERT of about `size` bytes."""
    return frames.query(stream, "INSERT INTO ks.t (k, v) VALUES (1, '" + "x" * size + "')")


def flood(client: Client, first: int = 0) -> int:
    """Writes of 10 KB, each in a read of its own, until the client is not read any more; how many."""
    for sent in range(8 * LIMIT // (10 * KB)):
        if not client.wire.is_read:
            return sent
        client.sends(write(first + sent, 10 * KB))
    raise AssertionError("it is read for ever")


def answer(client: Client, requests: int) -> None:
    """Both clusters answer the oldest of what they got."""
    for side in CLUSTERS:
        got = client.clusters[side].take()
        client.clusters[side].writes = [b"".join(got[requests:])]
        for request in got[:requests]:
            client.answer(side, request, frames.void())


def scraped(stage: Stage) -> Meter:
    found: list[Meter] = []
    stage.worker.scrape().addCallback(found.append)
    return found[0]


# One client


def test_a_client_with_too_much_in_flight_is_not_read_until_half_is_answered(stage: Stage) -> None:
    """Slow clusters that read all the same would fill the memory with requests that wait."""
    client, other = stage.ready_client(), stage.ready_client()
    sent = flood(client)
    assert LIMIT * 3 // 4 < sent * 10 * KB <= LIMIT + STEP
    assert other.wire.is_read and client.clusters[ORIGIN].is_read and client.clusters[TARGET].is_read
    kept = LIMIT // 2 // len(write(1, 10 * KB))
    answer(client, sent - kept - 1)
    assert not client.wire.is_read
    answer(client, 1)
    assert client.wire.is_read
    assert len(client.wire.take()) == sent - kept
    assert flood(client, first=sent) < sent - kept + 7, "what is in flight still counts"


def test_one_that_is_answered_as_it_asks_is_always_read(stage: Stage) -> None:
    """Bytes that have passed are not in flight, and a busy client is no heavy one."""
    client = stage.ready_client()
    for stream in range(500):
        client.sends(write(stream, 10 * KB))
        assert client.wire.is_read
        client.answer_all(frames.void())


def test_a_request_over_the_limit_passes_alone(stage: Stage) -> None:
    """Else it would never be whole, or never be sent."""
    client = stage.ready_client()
    large = write(1, 3 * LIMIT)
    client.sends(write(0, 10 * KB))
    pieces = [large[start : start + 60 * KB] for start in range(0, len(large), 60 * KB)]
    while client.wire.is_read:
        client.sends(pieces.pop(0))
    assert len(pieces) > 10, "what is half sent counts as well"
    client.answer_all(frames.void())
    for piece in pieces:
        assert client.wire.is_read, "nothing else is in flight, so nothing is won by waiting"
        client.sends(piece)
    assert flood(client, first=2) < 7
    client.answer_all(frames.void())
    assert client.wire.is_read


def test_what_expires_is_not_in_flight_any_more(stage: Stage) -> None:
    """Or clusters that never answer would keep a client unread for ever."""
    client = stage.ready_client()
    flood(client)
    stage.clock.advance(TIMEOUT + 0.1)
    assert client.wire.is_read


def test_a_client_that_leaves_over_its_limit_leaves_nothing(stage: Stage) -> None:
    """Neither bytes nor a clock that goes on."""
    client = stage.ready_client()
    flood(client)
    stage.clock.advance(2)
    client.wire.end()
    stage.clock.advance(20)
    meter = scraped(stage)
    assert (meter.inflight_bytes, meter.paused_by_client_limit) == (0, 2)


def test_everything_that_is_kept_is_counted(stage: Stage) -> None:
    """Requests until both answered, half requests, half answers, and what the client has not taken."""
    client = stage.ready_client()
    request = write(1, 1000)
    client.sends(request)
    assert scraped(stage).inflight_bytes == len(request)
    client.sends(request[:500])
    assert scraped(stage).inflight_bytes == len(request) + 500
    client.answer(ORIGIN, request, frames.void())
    assert scraped(stage).inflight_bytes == len(request) + 500 + len(frames.void())
    client.clusters[TARGET].protocol.dataReceived(frames.void(1)[:10])
    assert scraped(stage).inflight_bytes == len(request) + 500 + len(frames.void()) + 10
    client.clusters[TARGET].protocol.dataReceived(frames.void(1)[10:])
    assert scraped(stage).inflight_bytes == 500
    client.wire.waiting = 300
    assert scraped(stage).inflight_bytes == 800


# All clients together


def crowd(stage: Stage, clients: int = 10) -> list[Client]:
    """As many as have each less than its own limit, and more than that of all when they are together."""
    made = [stage.ready_client() for _ in range(clients)]
    for stream in range(50):
        for client in made:
            if client.wire.is_read:
                client.sends(write(stream, 10 * KB))
    return made


def test_those_with_most_are_not_read_while_all_have_too_much_together(stage: Stage) -> None:
    """Each for itself may be within its limit."""
    small = stage.ready_client()
    heavy = crowd(stage)
    small.sends(write(1, 1000))
    small.answer_all(frames.void())
    assert not any(client.wire.is_read for client in heavy) and small.wire.is_read
    assert 3 * LIMIT < scraped(stage).inflight_bytes < 5 * LIMIT
    (line,) = stage.log.texts("warn")
    assert f"(max_inflight_bytes: {4 * LIMIT}); the 10 clients" in line
    for client in heavy:
        client.answer_all(frames.void())
    stage.clock.advance(PAUSE)
    assert all(client.wire.is_read for client in heavy)
    assert scraped(stage).paused_by_process_limit == pytest.approx(10 * PAUSE)
    stage.clock.advance(TIMEOUT + 1)
    assert stage.timers() == [], "nobody looks any more"


def test_one_that_is_done_need_not_wait_for_the_others(stage: Stage) -> None:
    """A client whose answers nobody takes may keep its part for a minute."""
    heavy = crowd(stage)
    heavy[0].answer_all(frames.void())
    stage.clock.advance(PAUSE)
    assert [client.wire.is_read for client in heavy] == [True] + [False] * 9


def test_a_client_that_leaves_makes_room(stage: Stage) -> None:
    """What was kept for it is gone."""
    heavy = crowd(stage)
    for client in heavy[:6]:
        client.wire.end()
    stage.clock.advance(PAUSE)
    assert all(client.wire.is_read for client in heavy[6:])


def half_sent(stage: Stage, rests: list[int]) -> list[Client]:
    """Clients that have sent requests but for so many bytes, and of which one may go on."""
    made = [stage.ready_client() for _ in rests]
    for client, rest in zip(made, rests, strict=True):
        large = write(1, 2 * LIMIT)
        for start in range(0, len(large) - rest, 60 * KB):
            client.sends(large[start : min(start + 60 * KB, len(large) - rest)])
    stage.clock.advance(PAUSE)
    assert [client.wire.is_read for client in made].count(True) == 1
    return made


def test_half_requests_are_finished_one_after_the_other(stage: Stage) -> None:
    """They would keep each other from being finished: nothing of them can be answered."""
    clients = half_sent(stage, [3000, 1000, 2000])
    for place, rest in ((1, 1000), (2, 2000), (0, 3000)):
        assert [client for client in clients if client.wire.is_read and not client.wire.writes] == [clients[place]]
        clients[place].sends(write(1, 2 * LIMIT)[-rest:])
        clients[place].answer_all(frames.void())
        assert clients[place].wire.writes == [frames.void(1)]
        stage.clock.advance(PAUSE)


def test_half_requests_wait_as_long_as_there_are_answers_to_come(stage: Stage) -> None:
    """Those make room, and the half ones would need more."""
    *begun, busy = half_sent(stage, [3000, 1000, 2000])
    begun[1].wire.end()
    busy.sends(write(1, 2 * LIMIT)[-2000:])
    for _ in range(3):
        stage.clock.advance(PAUSE)
        assert not begun[0].wire.is_read
    busy.answer_all(frames.void())
    stage.clock.advance(PAUSE)
    assert begun[0].wire.is_read


def test_whoever_comes_while_there_is_too_much_gets_no_more_than_a_share(stage: Stage) -> None:
    """However many come, they must not have more than all together may."""
    crowd(stage)
    before = scraped(stage).inflight_bytes
    late = [stage.ready_client() for _ in range(20)]
    for client in late:
        flood(client)
    assert scraped(stage).inflight_bytes < before + 20 * (2 * LIMIT // 11 + 2 * STEP)


def test_one_that_does_not_go_on_loses_its_turn_and_its_connection(stage: Stage) -> None:
    """Whoever begins many large requests and finishes none would shut everybody else out."""
    clients = half_sent(stage, [3000, 1000, 2000])
    for _ in range(4):
        stage.clock.advance(TIMEOUT - 1)
        clients[1].sends(b"x")
        stage.clock.advance(PAUSE)
    assert not clients[1].wire.is_closing, "it is slow"
    stage.clock.advance(TIMEOUT)
    assert [client.wire.ended for client in clients] == ["", "ConnectionAborted", ""]
    assert any(line.startswith("Closing client 127.0.90.200:50000: max") for line in stage.log.texts("warn"))


# A client that takes nothing


def test_a_client_that_takes_nothing_for_too_long_is_closed() -> None:
    """Its answers would be kept for as long as its machine stays up."""
    stage = Stage(client_stall=30.0)
    client = stage.ready_client()
    client.wire.waiting = 1000
    client.wire.fill()
    stage.clock.advance(30)
    stage.settle()
    assert client.wire.ended == "ConnectionAborted"
    assert {wire.ended for wire in client.clusters.values()} == {"ConnectionDone"}
    (line,) = stage.log.texts("warn")
    assert line == "Closing client 127.0.90.200:50000: it has taken nothing of its answers for 30 s."


def test_a_slow_client_is_not_closed_and_none_where_the_operator_wants_it_so() -> None:
    """Slow is whoever takes something."""
    for stall in (30.0, None):
        stage = Stage(client_stall=stall)
        client = stage.ready_client()
        client.wire.waiting = 1000
        client.wire.fill()
        for _ in range(10):
            client.wire.waiting -= 1 if stall else 0
            stage.clock.advance(29)
            assert client.wire.ended == ""


@pytest.mark.parametrize("side", [Side.CLIENT, ORIGIN, TARGET])
def test_a_scrape_tells_who_took_nothing_and_for_how_long(side: Side, stage: Stage) -> None:
    """While it lasts, too: it may last for long."""
    client = stage.ready_client()
    (client.wire if side is Side.CLIENT else client.clusters[side]).fill()
    stage.clock.advance(3)
    meter = scraped(stage)
    found = (meter.paused_by_client, meter.paused_by_origin, meter.paused_by_target)
    assert found == tuple(3 if each is side else 0 for each in Side)
