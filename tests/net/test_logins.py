"""The logins that target has accepted, without waiting for scrypt's threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.net.nodes import Lines
from zdm.core.commands import Recognition
from zdm.core.credentials import Credentials
from zdm.net import logins
from zdm.net.logins import MOST_OF_A_USER, MOST_RUNNING, MOST_WAITING, AcceptedLogins, matching, new_record
from zdm.state_file import LoginRecord

APP = Credentials("app", "right")
WRONG = Credentials("app", "wrong")
OTHER = Credentials("other", "right")
IN, OUT, UNSEEN = [Recognition.KNOWN], [Recognition.UNKNOWN], [Recognition.UNSEEN]


class Threads:
    """Work that is begun, and done when the test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.done = 0

    def __call__(self, work: Callable[[], Any], /) -> Deferred[Any]:
        over: Deferred[Any] = Deferred()
        self.begun.append((work, over))
        return over

    def finish(self) -> None:
        """All that was begun ends, and what that begins."""
        while self.begun:
            self.finish_one()

    def finish_one(self, fault: Exception | None = None) -> None:
        work, over = self.begun.pop(0)
        self.done += 1
        if fault is None:
            over.callback(work())
        else:
            over.errback(fault)


class World:
    def __init__(self, *records: LoginRecord) -> None:
        self.threads, self.log = Threads(), Lines()
        self.changes = 0
        log: Any = self.log
        self.logins = AcceptedLogins(self.threads, log, records, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def accept(self, *many: Credentials) -> World:
        for credentials in many:
            self.logins.accepted(credentials)
        self.threads.finish()
        return self

    def refuse(self, credentials: Credentials) -> World:
        self.logins.refused(credentials)
        self.threads.finish()
        return self

    def ask(self, credentials: Credentials) -> list[Recognition]:
        """The answer, as soon as there is one."""
        answers: list[Recognition] = []
        self.logins.verify(credentials).addCallback(answers.append)
        return answers

    def verify(self, credentials: Credentials) -> bool:
        """Whether it is known; AssertionError where it is not looked at."""
        answers = self.ask(credentials)
        self.threads.finish()
        assert answers in (IN, OUT)
        return answers == IN

    def guess(self, count: int, user: str = "app") -> list[list[Recognition]]:
        """So many different wrong passwords at once."""
        return [self.ask(Credentials(user, f"guess {number}")) for number in range(count)]

    def restarted(self) -> World:
        """The process after, with what was kept."""
        return World(*self.logins.records())

    @property
    def users(self) -> list[str]:
        return [record.user for record in self.logins.records()]


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What is tested is when scrypt is asked, and not how long it takes."""
    if "costly" not in request.fixturenames:
        monkeypatch.setattr(logins, "_COST", 2)


@pytest.fixture
def costly() -> None:
    """With the cost that is used in earnest."""


# Who is let in


def test_a_login_that_target_accepted_is_let_in() -> None:
    """And no other: neither another password of that user, nor that password of another."""
    world = World().accept(APP)
    assert [world.verify(one) for one in (APP, WRONG, OTHER)] == [True, False, False]


def test_it_is_let_in_after_a_restart_too() -> None:
    """Else nobody could connect where target is off and the proxy was restarted."""
    world = World().accept(APP).restarted()
    assert [world.verify(one) for one in (APP, WRONG, OTHER)] == [True, False, False]


def test_it_is_let_in_before_its_hash_is_made() -> None:
    """Target may be disabled in that very moment."""
    world = World()
    world.logins.accepted(APP)
    assert world.ask(APP) == IN


def test_names_and_passwords_are_not_run_together() -> None:
    """`ab` with `c` is not `a` with `bc`."""
    world = World().accept(Credentials("ab", "c"))
    assert not world.verify(Credentials("a", "bc"))


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_login_that_target_refused_since_is_not_let_in(is_restarted: bool) -> None:
    """Somebody has changed the password: at once, and after a restart."""
    world = World().accept(APP)
    world = (world.restarted() if is_restarted else world).refuse(APP)
    assert not world.verify(APP) and world.logins.records() == () and world.changes >= 1
    assert not world.restarted().verify(APP)


def test_a_wrong_password_takes_nothing_from_the_right_one() -> None:
    """Anybody can send one."""
    world = World().accept(APP).restarted().refuse(WRONG)
    assert world.verify(APP) and world.users == ["app"]


def test_a_login_that_was_refused_can_be_accepted_again() -> None:
    """The password was changed back."""
    world = World().accept(APP).refuse(APP).accept(APP)
    assert world.verify(APP) and world.restarted().verify(APP)


@pytest.mark.parametrize("last", [True, False])
def test_what_target_said_last_counts_when_it_changes_while_scrypt_runs(last: bool) -> None:
    """In memory and in what is kept."""
    world = World()
    world.logins.accepted(APP)
    world.logins.refused(APP)
    if last:
        world.logins.accepted(APP)
    world.threads.finish()
    assert world.verify(APP) is last and world.restarted().verify(APP) is last


def test_what_target_says_counts_more_than_what_is_being_compared() -> None:
    """The answer comes after target has refused the very same."""
    world = World().accept(APP).restarted()
    answers = world.ask(APP)
    world.logins.refused(APP)
    world.threads.finish()
    assert answers == OUT


# What is kept


def test_no_password_is_kept() -> None:
    """Only what scrypt made of it, with a salt of its own each time."""
    one, two = (World().accept(Credentials("app", "the-password")).logins.records()[0] for _ in range(2))
    assert "the-password" not in one.model_dump_json()
    assert one.salt != two.salt and one.digest != two.digest


def test_a_hash_takes_time_and_memory(costly: None) -> None:
    """Whoever has stolen the file tries passwords one by one, at 32 MiB each."""
    assert logins._COST * logins._BLOCK * 128 == 32 * 1024 * 1024
    record = new_record(APP)
    assert matching([record], "right") is record and matching([record], "wrong") is None


def test_a_login_is_kept_once_however_often_it_comes() -> None:
    """Also by the process after, which must not keep it a second time."""
    world = World().accept(*[APP] * 10)
    assert (world.users, world.changes, world.threads.done) == (["app"], 1, 1)
    after = world.restarted().accept(*[APP] * 10)
    assert (after.users, after.changes, after.threads.done) == (["app"], 0, 1)


def test_a_few_passwords_of_a_user_are_kept_the_oldest_go_first() -> None:
    """They are changed now and then, and not all clients follow at once."""
    passwords = [Credentials("app", str(number)) for number in range(MOST_OF_A_USER + 2)]
    after = World().accept(*passwords).restarted()
    assert [after.verify(one) for one in passwords] == [False, False] + [True] * MOST_OF_A_USER


def test_so_many_users_are_kept_and_those_longest_not_seen_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name for each tenant must not fill the disk."""
    monkeypatch.setattr(logins, "MOST_USERS", 3)
    a, b, c, d = (Credentials(name, "p") for name in "abcd")
    world = World().accept(a, b, c).accept(a).accept(d)
    assert world.users == ["c", "a", "d"]


def test_what_is_remembered_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong passwords come without end; who is forgotten is compared anew."""
    monkeypatch.setattr(logins, "_MOST_VERDICTS", 2)
    world = World().accept(APP)
    for number in range(5):
        world.refuse(Credentials("app", str(number)))
    assert len(world.logins._verdicts) == 2
    assert world.verify(APP)


# What it costs


def test_in_the_process_that_met_it_no_login_takes_scrypt_again() -> None:
    """Right ones and wrong ones alike: what is kept is known by its keyed hash."""
    world = World().accept(APP)
    hashed = world.threads.done
    for number in range(20):
        assert world.ask(APP) == IN and world.ask(Credentials("app", str(number))) == OUT
        world.logins.refused(Credentials("app", str(number)))
    assert world.threads.begun == [] and world.threads.done == hashed


def test_a_user_that_target_never_accepted_costs_nothing() -> None:
    """There is nothing to compare with."""
    world = World().accept(APP).restarted()
    assert world.ask(OTHER) == OUT and world.threads.begun == []


def test_after_a_restart_each_login_is_compared_once() -> None:
    """A pool of a hundred connections comes back all at once; a wrong password comes back for ever."""
    world = World().accept(APP).restarted()
    answers = [world.ask(one) for one in (APP, WRONG) for _ in range(100)]
    assert len(world.threads.begun) == 2
    world.threads.finish()
    assert answers == [IN] * 100 + [OUT] * 100 and world.threads.done == 2
    assert world.ask(APP) == IN and world.ask(WRONG) == OUT and world.threads.begun == []
    assert world.ask(Credentials("app", "never sent before")) == OUT and world.threads.begun == []


def test_few_are_compared_at_a_time_few_wait_and_more_are_not_looked_at() -> None:
    """Whoever tries passwords must not get the processor. Nor is a login called wrong that nobody has looked at."""
    world = World().accept(APP).restarted()
    guesses = world.guess(MOST_RUNNING + MOST_WAITING + 3)
    assert len(world.threads.begun) == MOST_RUNNING
    assert guesses[-3:] == [UNSEEN] * 3 and guesses[:-3] == [[]] * (MOST_RUNNING + MOST_WAITING)
    assert world.ask(APP) == UNSEEN
    (line,) = world.log.texts("warn")
    assert line.startswith("Clients are turned away unseen: target is disabled, and too many other logins wait")
    world.threads.finish()
    assert guesses == [OUT] * (MOST_RUNNING + MOST_WAITING) + [UNSEEN] * 3
    assert world.verify(APP)


def test_who_tries_passwords_of_one_user_does_not_keep_another_one_out() -> None:
    """A place in the queue and the next turn are for who has not had one: the guesses give way."""
    world = World().accept(APP, OTHER).restarted()
    guesses = world.guess(MOST_RUNNING + MOST_WAITING)
    right = world.ask(OTHER)
    assert right == [] and guesses[-1] == UNSEEN and guesses[:-1] == [[]] * (len(guesses) - 1)
    for _ in range(MOST_RUNNING + 2):
        world.threads.finish_one()
    assert right == IN


def test_a_login_that_nobody_waits_for_any_more_is_not_compared() -> None:
    """Its client was closed by the time limit of the handshake, and comes again: that would be work for nobody."""
    world = World().accept(APP).restarted()
    world.guess(MOST_RUNNING)
    gone, other = (world.logins.verify(APP) for _ in range(2))
    gone.addErrback(lambda _: None)
    other.addErrback(lambda _: None)
    gone.cancel()
    assert len(world.logins._waiting) == 1, "one of the two waits still"
    other.cancel()
    assert len(world.logins._waiting) == 0
    world.threads.finish()
    assert world.threads.done == MOST_RUNNING and world.verify(APP)


def test_a_login_that_is_being_compared_is_known_although_its_client_has_left() -> None:
    """The work is done: the client finds the answer when it comes again, even before that."""
    world = World().accept(APP).restarted()
    world.logins.verify(APP).addErrback(lambda _: None).cancel()
    again = world.ask(APP)
    assert len(world.threads.begun) == 1
    world.threads.finish()
    assert again == IN and world.threads.done == 1 and world.ask(APP) == IN


def test_that_too_many_wait_is_told_again_after_all_were_answered() -> None:
    """It is another attack, or the same one an hour later."""
    world = World().accept(APP).restarted()
    for turn in range(2):
        for number in range(MOST_RUNNING + MOST_WAITING + 5):
            world.ask(Credentials("app", f"{turn} {number}"))
        world.threads.finish()
    assert len(world.log.texts("warn")) == 2


def test_new_logins_are_hashed_one_after_the_other() -> None:
    """A thousand clients with names of their own connect after a start."""
    world = World()
    for number in range(20):
        world.logins.accepted(Credentials(str(number), "p"))
    assert len(world.threads.begun) == 1
    world.threads.finish()
    assert len(world.users) == 20


def test_logins_that_cannot_wait_are_kept_when_they_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded, too."""
    monkeypatch.setattr(logins, "_MOST_UNSETTLED", 1)
    a, b, c = (Credentials(name, "p") for name in "abc")
    world = World().accept(a, b, c)
    assert world.users == ["a", "b"]
    world.accept(c)
    assert world.users == ["a", "b", "c"]


def test_guessed_names_do_not_take_the_place_of_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a user of whom nothing is kept there is nothing to take back, so a refusal has nothing to wait for."""
    monkeypatch.setattr(logins, "_MOST_UNSETTLED", 1)
    world = World()
    world.logins.accepted(APP)
    for number in range(3):
        world.logins.refused(Credentials(f"guessed {number}", "p"))
    world.logins.accepted(OTHER)
    world.threads.finish()
    assert world.users == ["app", "other"]


def test_a_login_that_could_not_be_compared_is_not_let_in_this_time() -> None:
    """Memory was short; the operator is told, and the next time it may work."""
    world = World().accept(APP).restarted()
    answers = world.ask(APP)
    world.threads.finish_one(MemoryError("no memory"))
    assert answers == UNSEEN
    assert world.log.texts("error") == ["A login could not be compared with those that target accepted: no memory"]
    assert world.verify(APP)


def test_a_fault_while_nobody_waits_does_not_stop_the_others() -> None:
    """The next login is hashed as ever."""
    world = World()
    for credentials in (APP, OTHER):
        world.logins.accepted(credentials)
    world.threads.finish_one(MemoryError("no memory"))
    world.threads.finish()
    assert world.users == ["other"] and len(world.log.texts("error")) == 1
