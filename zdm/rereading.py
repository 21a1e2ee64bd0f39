"""SIGHUP: the configuration is read again, and what can be changed in a running proxy is.

For each key that differs from what is in force it is told whether it was applied or needs a restart: so a key that
needs one is told of again with the next SIGHUP, until the proxy was started with it or the old value is back. A
configuration that cannot be used changes nothing. Secrets are never told, only that they have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.python.failure import Failure

from zdm.config import Config, ConfigurationError
from zdm.configuration.changes import APPLIED, WITHOUT_EFFECT, differences, shown, with_applied
from zdm.configuration.literals import LOG_LEVELS
from zdm.log import Log
from zdm.net.threads import Run


class Rereading:
    """Reads again when asked to, one time after the other; `apply` makes a configuration that of the proxy."""

    def __init__(
        self, config: Config, reread: Callable[[], Config], apply: Callable[[Config], None], run: Run, log: Log
    ) -> None:
        """`config` is the one in force. `reread` raises ConfigurationError; a disk may hang, so `run` is for it."""
        self._config = config
        self._reread: Final = reread
        self._apply: Final = apply
        self._run: Final = run
        self._log: Final = log
        self._is_reading = self._is_wanted = False

    def again(self) -> None:
        """Read now, or once more after the reading that is under way."""
        if self._is_reading:
            self._is_wanted = True
            return
        self._is_reading = True
        self._log.info("SIGHUP: the configuration is read again.")
        reading = self._run(self._reread).addCallback(self._take)
        reading.addErrback(self._refuse).addBoth(self._over)

    def _over(self, _: object) -> None:
        self._is_reading = False
        if self._is_wanted:
            self._is_wanted = False
            self.again()

    def _take(self, found: Config) -> None:
        before, self._config = self._config, with_applied(self._config, found)
        changed = differences(before, found)
        if not changed:
            self._log.info("SIGHUP: nothing has changed.")
            return
        # whichever of the two levels shows more is in force when this is told
        is_wider = _shows_more(self._config, before)
        if is_wider:
            self._apply(self._config)
        for key in changed:
            self._tell(key, before, found)
        if not is_wider:
            self._apply(self._config)

    def _tell(self, key: str, before: Config, after: Config) -> None:
        values = f" from {shown(before, key)} to {shown(after, key)}" if shown(before, key) else ""
        if key in APPLIED:
            self._log.info(f"SIGHUP: {key} has changed{values}: applied.")
        elif key in WITHOUT_EFFECT:
            self._log.info(f"SIGHUP: {key} has changed{values}: it has no effect.")
        else:
            self._log.warn(f"SIGHUP: {key} has changed{values}: not applied, it needs a restart.")

    def _refuse(self, failed: Failure) -> None:
        """The proxy goes on with what it has."""
        error = failed.value
        if isinstance(error, ConfigurationError):
            self._log.error(f"Error loading configuration: {error}. Nothing has been changed.")
        else:
            self._log.error("SIGHUP: reading the configuration again failed", failed)


def _shows_more(one: Config, other: Config) -> bool:
    names = one.log_level_name, other.log_level_name
    return LOG_LEVELS.index(names[0]) > LOG_LEVELS.index(names[1])
