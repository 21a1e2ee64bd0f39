"""Who may change anything, by address and token."""

from __future__ import annotations

import pytest

from zdm.admin.access import NO_TOKEN_SET, TOKEN_MISSING, TOKEN_WRONG, Access, is_loopback


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "localhost", "LocalHost"]
)
def test_loopback_addresses_are_open_without_a_token(address: str) -> None:
    """As the reference is; whoever is on this host can stop the process as well."""
    assert is_loopback(address)
    assert Access(address, "").refusal(None) is None
    assert Access(address, "").refusal(b"Bearer left over") is None


@pytest.mark.parametrize(
    "address", ["", "0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "::ffff:10.0.0.1", "proxy-1", "localhost.example.org"]
)
def test_elsewhere_nothing_can_be_changed_until_a_token_is_set(address: str) -> None:
    """All interfaces are elsewhere, and so is a name that may mean any address."""
    assert Access(address, "").refusal(b"Bearer ") == NO_TOKEN_SET


def test_the_refusal_names_the_keys() -> None:
    assert "ZDM_ADMIN_TOKEN" in NO_TOKEN_SET and "ZDM_ADMIN_TOKEN_FILE" in NO_TOKEN_SET


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1"])
@pytest.mark.parametrize(
    "sent, refused",
    [
        (b"Bearer s3cret", None),
        (b"bearer  s3cret ", None),
        (None, TOKEN_MISSING),
        (b"", TOKEN_MISSING),
        (b"Bearer", TOKEN_MISSING),
        (b"Bearer  ", TOKEN_MISSING),
        (b"s3cret", TOKEN_MISSING),
        (b"Basic s3cret", TOKEN_MISSING),
        (b"Bearer s3cre", TOKEN_WRONG),
        (b"Bearer s3crett", TOKEN_WRONG),
        (b"Bearer S3CRET", TOKEN_WRONG),
        (b"Bearer \xff\x00\xc3", TOKEN_WRONG),
    ],
)
def test_a_token_that_is_set_is_needed_everywhere(address: str, sent: bytes | None, refused: str | None) -> None:
    """Who sets one on a loopback address shares the host with others."""
    assert Access(address, "s3cret").refusal(sent) == refused


@pytest.mark.parametrize("token", ["pässwort", "\udcff"])
def test_a_token_may_have_any_characters(token: str) -> None:
    """Secrets come from files, whose bytes need not be ASCII, nor even UTF-8."""
    access = Access("10.0.0.1", token)
    assert access.refusal(b"Bearer " + token.encode("utf-8", "surrogateescape")) is None
    assert access.refusal(b"Bearer p") == TOKEN_WRONG


def test_the_token_is_not_in_what_a_traceback_shows() -> None:
    assert "s3cret" not in repr(Access("10.0.0.1", "s3cret"))


def test_a_token_can_be_replaced() -> None:
    """Without a restart, which would disturb clients."""
    access = Access("10.0.0.1", "old")
    access.replace_token("new")
    assert access.refusal(b"Bearer old") == TOKEN_WRONG and access.refusal(b"Bearer new") is None
