import pytest

from gateway.sessions.modes import Mode, mode_of


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("configured", ["auto", *Mode])
@pytest.mark.parametrize("has_flags", [True, False])
def test_what_the_client_asks_for_counts_first(mode, configured, has_flags):
    assert mode_of(mode.value, configured, has_flags=has_flags) is mode


@pytest.mark.parametrize("asked", [None, "", "Focus", "auto", "quick"])
def test_then_what_is_configured(asked):
    for mode in Mode:
        assert mode_of(asked, mode.value, has_flags=True) is mode
        assert mode_of(asked, mode.value, has_flags=False) is mode


@pytest.mark.parametrize("asked", [None, "", "Focus", "auto", "quick"])
def test_then_whether_it_is_a_frontend(asked):
    assert mode_of(asked, "auto", has_flags=True) is Mode.FOCUS
    assert mode_of(asked, "auto", has_flags=False) is Mode.RAW
