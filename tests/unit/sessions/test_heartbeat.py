"""Which clients are cut, and which only take their time."""

import asyncio

from gateway.sessions.heartbeat import Heartbeat

BEAT_SECONDS = 0.001


class Client:
    """A socket and its transport; what the client does at each beat is played from a list of buffer sizes."""

    def __init__(self, sizes, *, answers=False):
        self.closed = False
        self.was_cut = False
        self.pings = 0
        self.sizes = iter(sizes)
        self.answers = answers
        self.heartbeat = Heartbeat(self, self, BEAT_SECONDS)

    async def ping(self):
        self.pings += 1
        if self.answers:
            self.heartbeat.heard()

    def get_write_buffer_size(self):
        size = next(self.sizes, None)
        if size is None:
            self.closed = True
            return 0
        return size

    def abort(self):
        self.was_cut = self.closed = True


async def beats(client):
    async with asyncio.timeout(5):
        await client.heartbeat.run()
    return client.was_cut


async def test_one_that_answers_stays():
    client = Client([0] * 20, answers=True)
    assert not await beats(client)
    assert client.pings == 10 + 1


async def test_one_that_is_silent_is_cut_after_two_beats():
    client = Client([0] * 20)
    assert await beats(client)
    assert client.pings == 2


async def test_one_that_takes_a_large_frame_stays_and_is_not_pinged():
    client = Client([size for beat in range(10, 0, -1) for size in (beat * 1_000, beat * 1_000 - 500)])
    assert not await beats(client)
    assert client.pings == 1, "when all is taken"


async def test_one_that_takes_nothing_is_cut():
    assert await beats(Client([7_000] * 20))


async def test_frames_that_vanish_into_the_systems_buffers_are_no_sign_of_life():
    client = Client([0] * 20)
    ping = client.ping

    async def ping_and_send():
        await ping()
        client.heartbeat.sent()

    client.ping = ping_and_send
    assert await beats(client)


async def test_one_frame_after_the_other_is_a_sign_of_life():
    client = Client([7_000] * 20)
    size = client.get_write_buffer_size

    def takes_one():
        client.heartbeat.sent()
        return size()

    client.get_write_buffer_size = takes_one
    assert not await beats(client)
