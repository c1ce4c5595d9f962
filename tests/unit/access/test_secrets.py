"""The text of tokens and sessions."""

import pytest

from gateway.access import secrets


def test_a_token_is_recognised_and_never_made_twice():
    made = {secrets.new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(secrets.is_token(each) and len(each) >= 47 for each in made)
    assert not any(secrets.is_session(each) for each in made)


@pytest.mark.parametrize("text", ["", "cgw_", "cgw_short", "xgw_" + "a" * 43, "cgw_" + "ä" * 43, "cgw_" + "a" * 300])
def test_other_texts_are_no_tokens(text):
    assert not secrets.is_token(text)


def test_a_digest_says_nothing_of_its_secret():
    secret = secrets.new_token()
    kept = secrets.digest(secret)
    assert len(kept) == 64
    assert secret not in kept
    assert secrets.same(kept, secrets.digest(secret))
    assert not secrets.same(kept, secrets.digest(secret + "x"))


def test_secrets_are_taken_out_of_text():
    token, session = secrets.new_token(), secrets.new_session()
    text = secrets.without_secrets(f"GET /ws?token={token}&x=1 cookie={session}; cgw_ is a prefix")
    assert text == "GET /ws?token=[redacted]&x=1 cookie=[redacted]; cgw_ is a prefix"
