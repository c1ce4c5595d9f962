"""Who takes nothing of what it is sent is found, and nobody else."""

import pytest

from gateway.api.connections import SlowReaders

PATIENCE = 120


class Transport:
    """A transport as the watch sees it."""

    def __init__(self, left=0, *, closing=False):
        self.left, self.closing, self.aborted = left, closing, False

    def get_write_buffer_size(self):
        return self.left

    def is_closing(self):
        return self.closing

    def get_extra_info(self, _name):
        return None

    def abort(self):
        self.aborted = True


@pytest.fixture
def aborted():
    return []


@pytest.fixture
def readers(aborted):
    return SlowReaders(PATIENCE, lambda: aborted.append(1))


def paused(readers, left=1_000, now=0):
    transport = Transport(left)
    readers.opened(transport)
    readers.paused(transport, now)
    return transport


def test_who_takes_nothing_is_aborted_and_counted_once(readers, aborted):
    transport = paused(readers)
    readers.look(PATIENCE - 1)
    assert not transport.aborted
    readers.look(PATIENCE)
    readers.look(2 * PATIENCE)
    assert transport.aborted
    assert aborted == [1]


def test_one_byte_begins_its_time_anew(readers):
    transport = paused(readers)
    for now in range(100, 1_000, 100):
        transport.left -= 1
        readers.look(now)
    assert not transport.aborted
    readers.look(900 + PATIENCE)
    assert transport.aborted


def test_what_is_written_beside_is_nothing_taken(readers):
    transport = paused(readers)
    for now in range(20, PATIENCE + 1, 20):
        transport.left += 6  # a ping
        readers.look(now)
    assert transport.aborted


def test_after_such_a_write_a_byte_counts_too(readers):
    transport = paused(readers)
    transport.left += 100
    readers.look(60)
    transport.left -= 1
    readers.look(100)
    readers.look(PATIENCE)
    assert not transport.aborted


def test_a_full_buffer_at_every_look_is_no_stall_if_it_had_room_between(readers):
    transport = paused(readers)
    for now in range(30, 10 * PATIENCE, 30):
        readers.resumed(transport)
        readers.paused(transport, now)
        readers.look(now)
    assert not transport.aborted


def test_who_has_taken_all_is_not_watched(readers):
    transport = paused(readers)
    readers.resumed(transport)
    readers.look(PATIENCE)
    assert not transport.aborted


def test_a_connection_that_waits_for_nothing_may_wait(readers):
    transport = Transport(left=10)
    readers.opened(transport)
    readers.look(0)
    readers.look(10 * PATIENCE)
    assert not transport.aborted


def test_what_is_left_when_it_is_closed_has_its_time_too(readers):
    transport = Transport(left=10)
    readers.opened(transport)
    transport.closing = True
    readers.look(30)
    readers.look(30 + PATIENCE - 1)
    assert not transport.aborted
    readers.look(30 + PATIENCE)
    assert transport.aborted


def test_one_that_is_closed_with_nothing_left_is_let_be(readers):
    transport = Transport(closing=True)
    readers.opened(transport)
    readers.look(0)
    readers.look(PATIENCE)
    assert not transport.aborted


def test_one_that_is_gone_is_forgotten(readers):
    transport = paused(readers)
    readers.closed(transport)
    readers.look(PATIENCE)
    assert not transport.aborted
    assert not readers._open
