"""Which versions have bodies known here."""

from __future__ import annotations

import pytest

from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.versions import check_version


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_known_version_passes(version: int) -> None:
    """v5 bodies are known although its segments are not read here."""
    check_version(version)


@pytest.mark.parametrize("version", [0, 1, 2, 6, 0x41, 0x42, 0x7F])
def test_another_version_is_refused_in_the_words_that_drivers_know(version: int) -> None:
    """Drivers recognise this text and try a lower version."""
    with pytest.raises(RemoteProtocolError, match=rf"^Invalid or unsupported protocol version \({version}\)$"):
        check_version(version)
