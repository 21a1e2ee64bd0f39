"""Calls like now() in writes: one value for both clusters, and a client that sees nothing of it (6.4, FIX-22)."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.frames import BoundValue
from tests.playbook import Forwarded, Play
from tests.stage import INVALID, ORIGIN, SERVER_ERROR, TARGET, UNPREPARED, generator, stage
from zdm.core.clusters import Side
from zdm.core.commands import PrepareElsewhere
from zdm.core.plans import Route
from zdm.core.prepared import PreparedCache, PreparedStatement
from zdm.cql.functions import RESULT_TYPES, Variable

pytestmark = pytest.mark.usefixtures("spoken")

ALL = frozenset(RESULT_TYPES)
NOW = frozenset(("now",))
TIMEUUID = b"\x00\x0f"
DATE = b"\x00\x11"
IDS = {ORIGIN: b"origin-id", TARGET: b"target-id"}
INSERT = "INSERT INTO ks.t (k, v) VALUES (?, now())"
REWRITTEN = "INSERT INTO ks.t (k, v) VALUES (?, ?/*now()*/)"
Child = str | bytes | tuple[str | bytes, Sequence[BoundValue]]
BOTH_BOUND = {"k": frames.INT, "v": TIMEUUID}


def values(count: int, type_name: str = "timeuuid") -> list[bytes]:
    """The first values that the proxy makes on stage."""
    made = generator()
    return [made.value(type_name) for _ in range(count)]


def literals(count: int) -> list[str]:
    return [str(UUID(bytes=value)) for value in values(count)]


def prepare(
    play: Play,
    text: str,
    rewritten: str,
    bind: dict[str, bytes],
    shown: dict[str, bytes],
    pk: tuple[Sequence[int], Sequence[int]] = ((), ()),
    stream: int = 4,
) -> None:
    """PREPARE of `text`: the clusters are asked for `rewritten`, and of its variables the client is shown some.

    `pk` are the indexes of the partition key's variables, as clusters say them and as the client is shown them.
    """
    version = play.version
    play.client_sends(frames.prepare(stream, text, version=version))
    request = play.expect_forwarded(frame=frames.prepare(stream, rewritten, version=version))
    for side, prepared_id in IDS.items():
        play.answer(request, side, frames.prepared(0, prepared_id, bind, None, pk[0], version=version))
    play.expect_client(frames.prepared(stream, IDS[ORIGIN], shown, None, pk[1], version=version))


def expect_execute(play: Play, bound: Sequence[BoundValue], stream: int = 5) -> Forwarded:
    """The EXECUTE that each cluster gets: by its own id, with the same values."""
    version = play.version
    return play.expect_forwarded(
        frame={side: frames.execute(stream, prepared_id, bound, version) for side, prepared_id in IDS.items()}
    )


@pytest.fixture
def replacing(perform: Perform) -> Play:
    return perform(replaced_functions=ALL)


# Text


def test_a_statement_becomes_the_same_text_for_both_clusters(replacing: Play) -> None:
    """With a literal for each call, and everything else as it was."""
    text = "INSERT INTO ks.t (k, é, v, w) VALUES (?, 'ü', %s, %s) IF NOT EXISTS"
    replacing.client_sends(frames.query(3, text % ("now()", "NOW ()"), values=[b"1"], timestamp=7, tracing=True))
    frame = frames.query(3, text % tuple(literals(2)), values=[b"1"], timestamp=7, tracing=True)
    replacing.answer_all(replacing.expect_forwarded(frame=frame), frames.void())
    replacing.expect_client(frames.void(3))
    assert replacing.shared.meter.replaced_functions == 2


def test_a_payload_before_the_text_stays(replacing: Play) -> None:
    """The text is not where the body begins."""
    payload = {"request-id": b"\0" * 16}
    replacing.client_sends(frames.query(3, "DELETE FROM ks.t WHERE k = now()", payload=payload))
    replacing.expect_forwarded(frame=frames.query(3, f"DELETE FROM ks.t WHERE k = {literals(1)[0]}", payload=payload))


@pytest.mark.parametrize(
    "text",
    [
        *("INSERT INTO ks.t (k) VALUES (1)", "SELECT now() FROM ks.t", "INSERT INTO ks.t (k) VALUES (ks.now())"),
        *("CREATE TABLE ks.u (k timeuuid PRIMARY KEY)", "INSERT INTO ks.t (k) VALUES ('now()')"),
    ],
)
def test_what_calls_nothing_is_sent_as_it_came(replacing: Play, text: str) -> None:
    """And so does what a SELECT calls: the rows are one cluster's in any case."""
    replacing.client_sends(frames.query(3, text), frames.prepare(4, text))
    sides = {ORIGIN} if text.startswith("SELECT") else {ORIGIN, TARGET}
    replacing.expect_forwarded(to=sides)
    replacing.expect_forwarded()
    assert replacing.shared.meter.replaced_functions == 0


def test_only_the_functions_that_were_asked_for_are_replaced(perform: Perform) -> None:
    play = perform(replaced_functions=frozenset(("uuid",)))
    play.client_sends(frames.query(3, "INSERT INTO ks.t (k, v) VALUES (now(), uuid())"))
    made = UUID(bytes=values(1, "uuid")[0])
    play.expect_forwarded(frame=frames.query(3, f"INSERT INTO ks.t (k, v) VALUES (now(), {made})"))


def test_without_the_key_every_call_is_the_clusters_own(play: Play) -> None:
    """The default: statements are not read for it at all."""
    play.client_sends(frames.query(3, "INSERT INTO ks.t (k) VALUES (now())"), frames.prepare(4, INSERT))
    play.expect_forwarded()
    play.expect_forwarded()
    assert play.shared.amending is None


def test_a_request_that_is_held_has_its_values_once(perform: Perform) -> None:
    """They are made before it waits, and sent when it is let go."""
    play = perform(replaced_functions=ALL)
    play.lose(TARGET)
    play.client_sends(frames.query(3, "INSERT INTO ks.t (k) VALUES (now())"))
    play.take_commands()
    assert not play.has_for(ORIGIN)
    assert play.shared.meter.replaced_functions == 1


# Prepared statements


@pytest.mark.parametrize("version", [3, 4, 5])
def test_the_value_is_added_at_each_execution(perform: Perform, version: int) -> None:
    """Another one each time, and the same for both clusters."""
    play = perform(version, replaced_functions=ALL)
    prepare(play, INSERT, REWRITTEN, BOTH_BOUND, {"k": frames.INT}, ((0,), (0,)) if version > 3 else ((), ()))
    for stream, value in zip((5, 6), values(2), strict=True):
        play.client_sends(frames.execute(stream, IDS[ORIGIN], [b"key"], version))
        request = expect_execute(play, [b"key", value], stream)
        play.answer_all(request, frames.void(version=version))
        play.expect_client(frames.void(stream, version=version))
    play.expect_idle()


UPDATE = "UPDATE ks.t USING TTL ? SET a = now(), b = ? WHERE k = uuid() AND c = now()"
UPDATE_REWRITTEN = "UPDATE ks.t USING TTL ? SET a = ?/*now()*/, b = ? WHERE k = ?/*uuid()*/ AND c = ?/*now()*/"
UPDATE_BOUND = {"[ttl]": frames.INT, "a": TIMEUUID, "b": frames.INT, "k": frames.UUID, "c": TIMEUUID}


def of_update() -> list[bytes]:
    made = generator()
    return [made.value("timeuuid"), made.value("uuid"), made.value("timeuuid")]


def test_values_are_put_between_those_of_the_client(replacing: Play) -> None:
    """In the order of the text, unset and null ones among them."""
    shown = {"[ttl]": frames.INT, "b": frames.INT}
    prepare(replacing, UPDATE, UPDATE_REWRITTEN, UPDATE_BOUND, shown)
    replacing.client_sends(frames.execute(5, IDS[ORIGIN], [frames.UNSET, None]))
    a, k, c = of_update()
    expect_execute(replacing, [frames.UNSET, a, None, k, c])


def test_values_that_are_named_by_their_columns_are_put_in_order(replacing: Play) -> None:
    """A column may be named twice, and once by us: by position nothing is mistaken."""
    prepare(replacing, UPDATE, UPDATE_REWRITTEN, UPDATE_BOUND, {"[ttl]": frames.INT, "b": frames.INT})
    replacing.client_sends(frames.execute(5, IDS[ORIGIN], [b"b", b"ttl", b"?"], names=["b", "[ttl]", "other"]))
    a, k, c = of_update()
    expect_execute(replacing, [b"ttl", a, b"b", k, c])


NAMED = 'UPDATE ks.t SET a = now(), b = :x, d = :zebra WHERE k = :"K" AND c = now()'
NAMED_REWRITTEN = NAMED.replace("now()", ":zdm__now")


@pytest.mark.bare
@pytest.mark.parametrize("is_named", [False, True], ids=["by-position", "by-name"])
def test_a_statement_with_named_variables_is_executed_either_way(perform: Perform, is_named: bool) -> None:
    """Names that sort before ours and after it, and one that needs quotes (the reference loses some, FIX-22)."""
    play = perform(replaced_functions=ALL)
    specs = {"x": frames.INT, "zebra": frames.INT, "K": frames.INT}
    play.client_sends(frames.prepare(4, NAMED))
    request = play.expect_forwarded(frame=frames.prepare(4, NAMED_REWRITTEN))
    described = _columns([("zdm__now", TIMEUUID), *specs.items(), ("zdm__now", TIMEUUID)])
    for side, prepared_id in IDS.items():
        play.answer(request, side, _prepared(prepared_id, described, 5, [3]))
    play.expect_client(frames.prepared(4, IDS[ORIGIN], specs, None, [2]))
    if is_named:
        play.client_sends(frames.execute(5, IDS[ORIGIN], [b"K", b"z", b"x"], names=["K", "zebra", "x"]))
    else:
        play.client_sends(frames.execute(5, IDS[ORIGIN], [b"x", b"z", b"K"]))
    first, second = values(2)
    expect_execute(play, [first, b"x", b"z", b"K", second])


def test_a_cluster_that_takes_variables_of_one_name_for_one_gets_one_value(replacing: Play) -> None:
    """ScyllaDB does; Cassandra counts each."""
    prepare(replacing, NAMED, NAMED_REWRITTEN, {"zdm__now": TIMEUUID, "x": frames.INT, "zebra": frames.INT,
            "K": frames.INT}, {"x": frames.INT, "zebra": frames.INT, "K": frames.INT})  # fmt: skip
    replacing.client_sends(frames.execute(5, IDS[ORIGIN], [b"x", b"z", b"K"]))
    expect_execute(replacing, [values(1)[0], b"x", b"z", b"K"])


@pytest.mark.parametrize(
    ("given", "names"), [([], None), ([b"1", b"2"], None), (None, None), ([b"1"], ["other"])], ids=str
)
def test_too_few_or_too_many_values_stay_too_few_or_too_many(
    replacing: Play, given: list[bytes] | None, names: list[str] | None
) -> None:
    """The cluster says what is wrong, as it would have done."""
    prepare(replacing, INSERT, REWRITTEN, BOTH_BOUND, {"k": frames.INT})
    replacing.client_sends(frames.execute(5, IDS[ORIGIN], given, names=names))
    left = [] if names else given or []
    expect_execute(replacing, [*left[:1], values(1)[0], *left[1:]])


def test_a_statement_with_calls_alone_has_no_variables_for_the_client(replacing: Play) -> None:
    """Drivers then send no values at all, or none of them."""
    text = "INSERT INTO ks.t (k, v) VALUES (now(), currentDate())"
    rewritten = "INSERT INTO ks.t (k, v) VALUES (?/*now()*/, ?/*currentdate()*/)"
    prepare(replacing, text, rewritten, {"k": TIMEUUID, "v": DATE}, {}, ((0,), ()))
    replacing.client_sends(
        frames.execute(5, IDS[ORIGIN], None, page_size=7, serial_consistency=8, paging_state=b"p", timestamp=9)
    )
    made = generator()
    bound = [made.value("timeuuid"), made.value("date")]
    rest = {"page_size": 7, "serial_consistency": 8, "paging_state": b"p", "timestamp": 9}
    replacing.expect_forwarded(
        frame={side: frames.execute(5, one, bound, **rest) for side, one in IDS.items()}  # type: ignore[arg-type]  # numbers and bytes by their names
    )


@pytest.mark.parametrize(
    ("ours", "pk", "shown"),
    [
        ("c", [1, 0], [1, 0]),
        ("a", [2, 1], [1, 0]),
        ("b", [0, 2], [0, 1]),
        ("b", [2], [1]),
        ("b", [1], []),
        ("b", [0, 1], []),
    ],
)
def test_the_client_is_shown_what_it_would_have_seen(
    replacing: Play, ours: str, pk: list[int], shown: list[int]
) -> None:
    """FIX-22. Where a part of the key is ours, the client's variables do not make up the key: there are no indexes."""
    terms = ["now()" if name == ours else "?" for name in "abc"]
    text = f"INSERT INTO ks.t (a, b, c) VALUES ({', '.join(terms)})"
    bind = {name: TIMEUUID if name == ours else frames.INT for name in "abc"}
    clients = {name: kind for name, kind in bind.items() if name != ours}
    prepare(replacing, text, text.replace("now()", "?/*now()*/"), bind, clients, (pk, shown))


def test_what_cassandra_would_refuse_is_refused(replacing: Play) -> None:
    """A variable takes any bytes for a text, which a function's result is not."""
    for side in (ORIGIN, TARGET):
        replacing.client_sends(frames.prepare(4, INSERT))
        request = replacing.expect_forwarded(frame=frames.prepare(4, REWRITTEN))
        for one in (ORIGIN, TARGET):
            kind = frames.VARCHAR if one is side else TIMEUUID
            replacing.answer(request, one, frames.prepared(0, IDS[one], {"k": frames.INT, "v": kind}))
        replacing.expect_error(INVALID, 4, "cannot assign result of function system.now (type timeuuid) to v")
    assert not replacing.shared.prepared.entries


@pytest.mark.parametrize("side", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))
def test_a_cluster_with_other_variables_is_an_error(replacing: Play, side: Side) -> None:
    """Values would go to the wrong columns."""
    replacing.client_sends(frames.prepare(4, INSERT))
    request = replacing.expect_forwarded(frame=frames.prepare(4, REWRITTEN))
    for one in (ORIGIN, TARGET):
        bind = {"v": TIMEUUID} if one is side else BOTH_BOUND
        replacing.answer(request, one, frames.prepared(0, IDS[one], bind))
    replacing.expect_error(INVALID, 4, "other variables")


def test_an_error_of_a_cluster_is_the_answer(replacing: Play) -> None:
    replacing.client_sends(frames.prepare(4, INSERT))
    request = replacing.expect_forwarded(frame=frames.prepare(4, REWRITTEN))
    replacing.answer(request, ORIGIN, frames.prepared(0, b"id", BOTH_BOUND))
    replacing.answer(request, TARGET, frames.error(0, INVALID, "no such table"))
    replacing.expect_error(INVALID, 4, "no such table")


@pytest.mark.parametrize("cut", [1, 3, 8, 12])
def test_an_execute_that_is_cut_off_is_a_protocol_error(replacing: Play, cut: int) -> None:
    """Nothing can be put between values that are not there."""
    prepare(replacing, INSERT, REWRITTEN, BOTH_BOUND, {"k": frames.INT})
    whole = frames.execute(5, IDS[ORIGIN], [b"key"])[9:]
    replacing.client_sends(frames.request(0x0A, 5, whole[:-cut]))
    replacing.expect_error(0x000A, 5)


def test_more_values_than_a_request_can_have_are_a_protocol_error(replacing: Play) -> None:
    """65,535 of the client's and one of ours."""
    prepare(replacing, INSERT, REWRITTEN, BOTH_BOUND, {"k": frames.INT})
    many = [None] * 65535
    replacing.client_sends(frames.execute(5, IDS[ORIGIN], many))
    replacing.expect_error(0x000A, 5, "65536 values")
    replacing.client_sends(frames.batch(6, [(IDS[ORIGIN], many)]))
    replacing.expect_error(0x000A, 6, "65536 values")


# Batches


def test_each_child_of_a_batch_gets_its_own_values(replacing: Play) -> None:
    """Text and prepared children, with calls and without."""
    prepare(replacing, INSERT, REWRITTEN, BOTH_BOUND, {"k": frames.INT})
    replacing.prepare("INSERT INTO ks.t (k) VALUES (?)", b"plain", b"plain", stream=6)
    text = "UPDATE ks.t SET v = {} WHERE k = ?"
    rest: list[Child] = [(b"plain", [b"3"]), "DELETE FROM ks.t"]
    children = [(IDS[ORIGIN], [b"1"]), (text.format("now()"), [b"2"]), *rest, (IDS[ORIGIN], [b"4"])]
    replacing.client_sends(frames.batch(7, children, 1, timestamp=5, serial_consistency=8))
    first, second, third = values(3)

    def expected(prepared_id: bytes) -> bytes:
        with_value = (text.format(UUID(bytes=second)), [b"2"])
        sent = [(prepared_id, [b"1", first]), with_value, *rest, (prepared_id, [b"4", third])]
        return frames.batch(7, sent, 1, timestamp=5, serial_consistency=8)

    request = replacing.expect_forwarded(frame={side: expected(prepared_id) for side, prepared_id in IDS.items()})
    replacing.answer_all(request, frames.void())
    replacing.expect_client(frames.void(7))


# What else happens to prepared statements


@pytest.mark.parametrize("side", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))
def test_a_forgotten_statement_is_mended_by_the_text_that_was_prepared(replacing: Play, side: Side) -> None:
    """And executed again with the values that the other cluster has stored."""
    prepare(replacing, INSERT, REWRITTEN, BOTH_BOUND, {"k": frames.INT})
    replacing.client_sends(frames.execute(5, IDS[ORIGIN], [b"key"]))
    bound = [b"key", values(1)[0]]
    request = expect_execute(replacing, bound)
    replacing.answer(request, side, frames.unprepared(0, IDS[side]))
    again = replacing.expect_forwarded(to={side}, frame=frames.prepare(0, REWRITTEN))
    replacing.answer(again, side, frames.prepared(0, IDS[side], BOTH_BOUND))
    repeated = replacing.expect_forwarded(to={side}, frame=frames.execute(5, IDS[side], bound))
    replacing.answer(repeated, side, frames.void())
    replacing.answer(request, TARGET if side is ORIGIN else ORIGIN, frames.void())
    replacing.expect_client(frames.void(5))


def test_a_statement_of_another_keyspace_is_mended_by_that_text_too(replacing: Play) -> None:
    prepare(replacing, INSERT, REWRITTEN, BOTH_BOUND, {"k": frames.INT})
    replacing.use("ks2")
    replacing.client_sends(frames.execute(5, IDS[ORIGIN], [b"key"]))
    request = expect_execute(replacing, [b"key", values(1)[0]])
    replacing.answer(request, TARGET, frames.unprepared(0, IDS[TARGET]))
    replacing.expect_command(PrepareElsewhere(TARGET, "", REWRITTEN, 1))


def test_a_statement_prepared_while_target_was_off_has_its_variable_hidden_too() -> None:
    """It is prepared on target, by the same text, before it is first sent there."""
    with Play(stage(replaced_functions=ALL)) as play:
        play.become_ready()
        play.switch(is_on=False)
        play.client_sends(frames.prepare(4, INSERT))
        request = play.expect_forwarded(to={ORIGIN}, frame=frames.prepare(4, REWRITTEN))
        play.answer(request, ORIGIN, frames.prepared(0, IDS[ORIGIN], BOTH_BOUND))
        play.expect_client(frames.prepared(4, IDS[ORIGIN], {"k": frames.INT}))
        play.client_sends(frames.execute(5, IDS[ORIGIN], [b"key"]))
        first, second = values(2)
        sent = play.expect_forwarded(to={ORIGIN}, frame=frames.execute(5, IDS[ORIGIN], [b"key", first]))
        play.answer(sent, ORIGIN, frames.void())
        play.expect_client(frames.void(5))
        play.switch(is_on=True)
        play.client_sends(frames.execute(6, IDS[ORIGIN], [b"key"]))
        prepare_again = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, REWRITTEN))
        play.answer(prepare_again, TARGET, frames.prepared(0, IDS[TARGET], BOTH_BOUND))
        expect_execute(play, [b"key", second], 6)


def test_an_id_that_nobody_knows_is_unprepared(replacing: Play) -> None:
    replacing.client_sends(frames.execute(5, b"gone", [b"key"]))
    replacing.expect_error(UNPREPARED, 5)


def test_any_session_of_the_worker_adds_the_values() -> None:
    """What a statement needs is kept with it."""
    shared = stage(replaced_functions=ALL, prepared=PreparedCache(2))
    with Play(shared) as first, Play(shared) as second:
        prepare(first.become_ready(), INSERT, REWRITTEN, BOTH_BOUND, {"k": frames.INT})
        second.become_ready().client_sends(frames.execute(5, IDS[ORIGIN], [b"key"]))
        expect_execute(second, [b"key", values(1)[0]])


def test_what_a_program_with_another_configuration_has_prepared_is_not_taken_over() -> None:
    """An upgrade may bring the key, or take it away: clients prepare anew, and their calls are what is asked for."""
    ours = (Variable("k", ""), Variable("v", "now"))
    plain = PreparedStatement(b"plain", b"plain", "INSERT INTO ks.t (k) VALUES (?)", None, Route.WRITE)
    replaced = PreparedStatement(b"replaced", b"r", REWRITTEN, None, Route.WRITE, variables=ours)
    left = PreparedStatement(b"left", b"left", INSERT, None, Route.WRITE)
    element = PreparedStatement(b"element", b"e", "UPDATE ks.t SET l = [now()] WHERE k = ?", None, Route.WRITE)
    for functions, known in (
        (frozenset[str](), {b"plain", b"left", b"element"}),
        (NOW, {b"plain", b"replaced", b"element"}),
        (frozenset(("uuid",)), {b"plain", b"left", b"element"}),
    ):
        cache = stage(replaced_functions=functions).prepared
        for entry in (plain, replaced, left, element):
            cache.adopt(entry)
        assert set(cache.entries) == known


def test_a_statement_without_calls_takes_the_short_way(replacing: Play) -> None:
    """It is forwarded in runs, as if the key were off."""
    replacing.prepare("INSERT INTO ks.t (k) VALUES (?)", b"id")
    assert replacing.shared.prepared.entries[b"id"].verbatim
    prepare(replacing, INSERT, REWRITTEN, BOTH_BOUND, {"k": frames.INT})
    assert not replacing.shared.prepared.entries[IDS[ORIGIN]].is_forwarded


def test_a_prepared_answer_that_cannot_be_read_is_an_error(replacing: Play) -> None:
    replacing.client_sends(frames.prepare(4, INSERT))
    request = replacing.expect_forwarded(frame=frames.prepare(4, REWRITTEN))
    replacing.answer_all(request, frames.void())
    replacing.expect_error(SERVER_ERROR, 4, "cannot be read")


def _columns(specs: Sequence[tuple[str, bytes]]) -> bytes:
    """Columns of which two may have one name."""
    return frames.string("ks") + frames.string("t") + b"".join(frames.string(name) + kind for name, kind in specs)


def _prepared(prepared_id: bytes, described: bytes, count: int, pk: Sequence[int]) -> bytes:
    key = frames.integer(len(pk)) + b"".join(map(frames.short, pk))
    bound = frames.integer(1) + frames.integer(count) + key + described
    return frames.answer(
        0x08, 0, frames.integer(4) + frames.short_bytes(prepared_id) + bound + frames.integer(4) + frames.integer(0)
    )
