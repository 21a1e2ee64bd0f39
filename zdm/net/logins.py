"""The logins that target has accepted, so that somebody checks clients while target is off (architecture, the toggle).

Kept for a restart as scrypt hashes, a few for each user name. A login seen in this process is recognised by a keyed
hash in memory, so it costs next to nothing; only one of the process before is compared with scrypt, which takes a tenth
of a second, in threads. Few of these at a time, and few that wait: whoever tries passwords does not get the processor.
Users take turns, so he does not get those of others either. Who finds no place is turned away unseen.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from zdm.core.commands import Recognition
from zdm.core.credentials import Credentials
from zdm.log import Log
from zdm.net.fair_queue import FairQueue
from zdm.net.threads import Run
from zdm.state_file import LoginRecord

MOST_USERS: Final = 1000
MOST_OF_A_USER: Final = 4
"""Passwords: one is changed now and then, and not all clients follow at once."""

MOST_RUNNING: Final = 2
MOST_WAITING: Final = 64
_MOST_UNSETTLED: Final = 1000
_MOST_VERDICTS: Final = 4096

_SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
_COST: Final = 2**15  # with this block size 32 MiB of memory and a tenth of a second
_BLOCK: Final = 8
_MEMORY: Final = 2 * 128 * _BLOCK * _COST


def new_record(credentials: Credentials) -> LoginRecord:
    """What may be kept of a login. Takes a tenth of a second."""
    salt = os.urandom(_SALT_BYTES)
    return LoginRecord(user=credentials.username, salt=salt.hex(), digest=_digest(credentials.password, salt).hex())


def matching(records: Iterable[LoginRecord], password: str) -> LoginRecord | None:
    """The record that was made of this password. Takes a tenth of a second for each record."""
    for record in records:
        if hmac.compare_digest(_digest(password, bytes.fromhex(record.salt)), bytes.fromhex(record.digest)):
            return record
    return None


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=_BLOCK, p=1, maxmem=_MEMORY, dklen=_DIGEST_BYTES)


class _Login:
    """One that is kept. `fingerprint` is None while nobody has shown the password since the process began."""

    __slots__ = ("fingerprint", "record")

    def __init__(self, record: LoginRecord, fingerprint: bytes | None = None) -> None:
        self.record: Final = record
        self.fingerprint = fingerprint


class _Question(NamedTuple):
    """Which of the logins that are kept is this?"""

    fingerprint: bytes
    credentials: Credentials


class AcceptedLogins:
    """Knows them. `on_change` is called when `records` gives something else than before."""

    def __init__(
        self,
        run: Run,
        log: Log,
        records: Iterable[LoginRecord] = (),
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`records` are those of the process before, in the order in which they were accepted."""
        self._run: Final = run
        self._log: Final = log
        self._on_change: Final = on_change
        self._key: Final = os.urandom(32)
        self._kept: Final[OrderedDict[str, tuple[_Login, ...]]] = OrderedDict()
        self._verdicts: Final[OrderedDict[bytes, bool]] = OrderedDict()
        self._unsettled: Final[OrderedDict[bytes, Credentials]] = OrderedDict()
        self._is_settling = False
        self._askers: Final[dict[bytes, list[Deferred[Recognition]]]] = {}
        self._waiting: Final = FairQueue[_Question](MOST_WAITING)
        self._running = 0
        self._is_full = False
        for record in records:
            self._keep(_Login(record))

    def records(self) -> tuple[LoginRecord, ...]:
        """What is to be kept for the next process; who was accepted last comes last."""
        return tuple(login.record for logins in self._kept.values() for login in logins)

    def adopt(self, records: Iterable[LoginRecord]) -> None:
        """Another process has kept these too."""
        known = set(self.records())
        for record in records:
            if record not in known:
                self._keep(_Login(record))

    def accepted(self, credentials: Credentials) -> None:
        """Target has let these in."""
        self._learn(credentials, True)
        if credentials.username in self._kept:
            self._kept.move_to_end(credentials.username)

    def refused(self, credentials: Credentials) -> None:
        """Target has refused these: they are not to be let in any more."""
        self._learn(credentials, False)

    def verify(self, credentials: Credentials) -> Deferred[Recognition]:
        """Whether target accepted these before; UNSEEN where too many wait for that answer. May be cancelled."""
        question = _Question(self._fingerprint(credentials), credentials)
        verdict = self._verdicts.get(question.fingerprint)
        if verdict is None and not self._takes_scrypt(question):
            verdict = self._recognised(question) is not None
        if verdict is not None:
            return succeed(_recognition(verdict))
        answer: Deferred[Recognition] = Deferred(lambda asker: self._leave(question, asker))
        askers = self._askers.get(question.fingerprint)
        if askers is not None:  # a pool of connections asks the same, all at once
            askers.append(answer)
        else:
            self._askers[question.fingerprint] = [answer]
            self._line_up(question)
        return answer

    # What somebody waits for

    def _line_up(self, question: _Question) -> None:
        superfluous = self._waiting.put(question.credentials.username, question)
        if superfluous is not None:
            self._tell_full()
            self._answer(superfluous, Recognition.UNSEEN)
        self._verify_next()

    def _leave(self, question: _Question, asker: Deferred[Recognition]) -> None:
        """Who asked is gone; a question that nobody asks any more needs no scrypt."""
        askers = self._askers[question.fingerprint]
        askers.remove(asker)
        if not askers and self._waiting.remove(question.credentials.username, question):
            del self._askers[question.fingerprint]

    def _verify_next(self) -> None:
        while self._waiting and self._running < MOST_RUNNING:
            self._running += 1
            self._verify(self._waiting.take())
        self._is_full = self._is_full and bool(self._waiting)

    def _verify(self, question: _Question) -> None:
        judging = Deferred.fromCoroutine(self._judge(question))
        judging.addErrback(self._broken)
        judging.addCallback(self._verified, question)

    async def _judge(self, question: _Question) -> Recognition:
        found = await self._find(question)
        # target may have been asked meanwhile, and knows best
        verdict = self._verdicts.get(question.fingerprint, found is not None)
        self._remember(question.fingerprint, verdict)
        return _recognition(verdict)

    def _verified(self, login: Recognition, question: _Question) -> None:
        self._running -= 1
        self._answer(question, login)
        self._verify_next()

    def _answer(self, question: _Question, login: Recognition) -> None:
        for asker in self._askers.pop(question.fingerprint):
            asker.callback(login)

    def _tell_full(self) -> None:
        if not self._is_full:
            self._is_full = True
            self._log.warn(
                "Clients are turned away unseen: target is disabled, and too many other logins wait to be compared "
                "with those that it accepted. Their drivers will try again."
            )

    # What nobody waits for: one after the other

    def _learn(self, credentials: Credentials, verdict: bool) -> None:
        question = _Question(self._fingerprint(credentials), credentials)
        was_known = self._verdicts.get(question.fingerprint) is verdict
        self._remember(question.fingerprint, verdict)
        if was_known or not (verdict or credentials.username in self._kept):
            return  # a user of whom nothing is kept leaves nothing to take back
        if len(self._unsettled) < _MOST_UNSETTLED:
            self._unsettled[question.fingerprint] = credentials
            self._settle_next()
        else:
            self._verdicts.pop(question.fingerprint)  # the next such login brings it again

    def _settle_next(self) -> None:
        if self._is_settling or not self._unsettled:
            return
        self._is_settling = True
        settling = Deferred.fromCoroutine(self._settle(_Question(*self._unsettled.popitem(last=False))))
        settling.addErrback(self._broken)
        settling.addCallback(self._settled)

    def _settled(self, _: object) -> None:
        self._is_settling = False
        self._settle_next()

    async def _settle(self, question: _Question) -> None:
        """Makes what is kept agree with the verdict. That may change while scrypt runs: then it comes up again."""
        found = await self._find(question)
        verdict = self._verdicts.get(question.fingerprint)
        if verdict is False and found is not None:
            self._forget(found)
        elif verdict is True and found is None:
            record = await self._run(lambda: new_record(question.credentials))
            if self._verdicts.get(question.fingerprint) is True:
                self._keep(_Login(record, question.fingerprint))
                self._on_change()

    # What is known

    async def _find(self, question: _Question) -> _Login | None:
        if not self._takes_scrypt(question):
            return self._recognised(question)
        strange = self._strange(question)
        password = question.credentials.password
        record = await self._run(lambda: matching([login.record for login in strange], password))
        for login in strange:
            if login.record is record:
                login.fingerprint = question.fingerprint
                return login
        return None

    def _takes_scrypt(self, question: _Question) -> bool:
        return self._recognised(question) is None and bool(self._strange(question))

    def _recognised(self, question: _Question) -> _Login | None:
        mine = self._kept.get(question.credentials.username, ())
        return next((login for login in mine if login.fingerprint == question.fingerprint), None)

    def _strange(self, question: _Question) -> list[_Login]:
        """Those that have not been recognised yet: a password that is none of the others may be one of theirs."""
        return [login for login in self._kept.get(question.credentials.username, ()) if login.fingerprint is None]

    def _keep(self, login: _Login) -> None:
        user = login.record.user
        self._kept[user] = (*self._kept.pop(user, ()), login)[-MOST_OF_A_USER:]
        if len(self._kept) > MOST_USERS:
            self._kept.popitem(last=False)

    def _forget(self, login: _Login) -> None:
        user = login.record.user
        left = tuple(kept for kept in self._kept.get(user, ()) if kept is not login)
        if left:
            self._kept[user] = left
        else:
            self._kept.pop(user, None)
        self._on_change()

    def _remember(self, fingerprint: bytes, verdict: bool) -> None:
        self._verdicts[fingerprint] = verdict
        self._verdicts.move_to_end(fingerprint)
        if len(self._verdicts) > _MOST_VERDICTS:
            self._verdicts.popitem(last=False)

    def _fingerprint(self, credentials: Credentials) -> bytes:
        """Tells logins apart in this process; of no use to anybody without its key."""
        name, password = credentials.username.encode(), credentials.password.encode()
        length = len(name).to_bytes(4, "big")
        return hashlib.blake2b(length + name + password, key=self._key, digest_size=32).digest()

    def _broken(self, failure: Failure) -> Recognition:
        """A login that could not be compared is not let in, this time."""
        self._log.error("A login could not be compared with those that target accepted", failure)
        return Recognition.UNSEEN


def _recognition(is_known: bool) -> Recognition:
    return Recognition.KNOWN if is_known else Recognition.UNKNOWN
