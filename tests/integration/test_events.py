"""What each client hears: its own jobs, the pool's queue, previews in its own form, and what it missed."""

from support.busy import resume
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.comfyui import frames, messages
from gateway.sessions import session as sessions


def remaining_told(client):
    return [
        frame["data"]["status"]["exec_info"]["queue_remaining"]
        for frame in client.heard
        if isinstance(frame, dict) and frame["type"] == "status"
    ]


def jobs_told(client):
    return {
        frame["data"]["prompt_id"] for frame in client.heard if isinstance(frame, dict) and "prompt_id" in frame["data"]
    }


async def test_two_clients_hear_their_own_jobs_and_the_length_of_the_whole_queue(tmp_path):
    async with (
        running_pool(tmp_path, 2, config={"sessions": {"status_per_second": 1000}}) as pool,
        Client.connected(pool.base) as first,
        Client.connected(pool.base) as second,
    ):
        truth = []
        send = pool.rooms.hub.queue_changed

        def watched(owner):
            truth.append(
                (pool.rooms.jobs.registry.remaining, sum(len(each.state.queue.running) for each in pool.simulators))
            )
            send(owner)

        pool.rooms.jobs.registry.listener.queue_changed = watched
        for simulator in pool.simulators:
            simulator.pause()
        mine = [await first.submit(save_graph(number)) for number in range(4)]
        theirs = [await second.submit(save_graph(10 + number)) for number in range(3)]
        await first.hear_until("status", status={"exec_info": {"queue_remaining": 7}})
        await second.hear_until("status", status={"exec_info": {"queue_remaining": 7}})
        resume(pool)
        for client in (first, second):
            await client.hear_until("status", status={"exec_info": {"queue_remaining": 0}})
        assert jobs_told(first) <= set(mine)
        assert jobs_told(second) <= set(theirs)
        assert max(remaining_told(first)) == max(remaining_told(second)) == 7
        told = remaining_told(first)
        assert told[0] == 0
        assert 0 not in told[told.index(7) : -1]
        # A count of 0 is only ever told when nothing runs anywhere.
        assert all(running == 0 for remaining, running in truth if remaining == 0)


async def test_previews_come_in_the_form_that_each_client_negotiated(tmp_path):
    async with (
        running_pool(tmp_path, 1) as pool,
        Client.connected(pool.base, flags={"supports_preview_metadata": True}) as newer,
        Client.connected(pool.base) as older,
    ):
        await newer.hear_until("feature_flags")
        for client in (newer, older):
            prompt_id = await client.submit(save_graph(1 if client is newer else 2))
            await client.hear_end(prompt_id)
        kinds = [
            {frames.event_of(frame) for frame in client.heard if isinstance(frame, bytes)} for client in (newer, older)
        ]
        assert kinds == [{4}, {1}]
        named = [
            frames.decode_preview(frame).metadata["prompt_id"] for frame in newer.heard if isinstance(frame, bytes)
        ]
        assert set(named) <= jobs_told(newer)


async def test_a_client_that_comes_back_in_the_middle_is_told_where_its_job_stands(tmp_path):
    async with running_pool(tmp_path, 1) as pool:
        (simulator,) = pool.simulators
        simulator.pause(4)
        async with Client.connected(pool.base) as client:
            prompt_id = await client.submit(save_graph(1, steps=8))
            await simulator.held()
            await client.hear_until("progress", value=2)
        await pool.until(lambda: len(pool.rooms.hub) == 0)
        async with Client.connected(pool.base, sid=client.sid) as again:
            executing = await again.hear_until("executing", prompt_id=prompt_id)
            assert executing["data"]["node"] == "2"
            assert again.told(prompt_id)[:2] == ["execution_start", "execution_cached"]
            assert "progress_state" in again.told(prompt_id)
            simulator.resume()
            await again.hear_end(prompt_id)
            assert again.told(prompt_id).count("execution_start") == 1
            assert again.told(prompt_id).count("executed") == 1
            assert again.told(prompt_id)[-2:] == ["execution_success", "executing"]


async def test_a_client_that_comes_back_after_the_end_is_told_it(tmp_path):
    async with running_pool(tmp_path, 1) as pool:
        (simulator,) = pool.simulators
        simulator.pause()
        async with Client.connected(pool.base) as client:
            prompt_id = await client.submit(save_graph(1))
            await simulator.held()
        await pool.until(lambda: len(pool.rooms.hub) == 0)
        simulator.resume()
        await pool.until(lambda: prompt_id in pool.rooms.jobs.history)
        async with Client.connected(pool.base, sid=client.sid) as again:
            await again.hear_end(prompt_id)
            assert again.told(prompt_id) == ["executed", "execution_success", "executing"]


async def test_a_second_socket_with_the_same_id_hears_and_outlives_the_first(tmp_path):
    async with (
        running_pool(tmp_path, 1) as pool,
        Client.connected(pool.base) as first,
        Client.connected(pool.base, sid=first.sid) as second,
    ):
        await second.hear_until("status")
        await first.socket.close()
        await second.hear_end(await second.submit(save_graph(1)))


async def test_a_client_that_reads_nothing_is_cut_and_harms_only_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "FAREWELL_SECONDS", 0.05)
    async with (
        running_pool(tmp_path, 1, config={"sessions": {"queue_bytes": 1_000_000}}) as pool,
        Client.connected(pool.base) as good,
        Client.connected(pool.base) as stuck,
    ):
        transport = stuck.socket._response.connection.transport
        transport.pause_reading()
        session = next(each for each in pool.rooms.hub._sessions.values() if each.sid == stuck.sid)

        def flood():
            session.send(messages.make("large", {"text": "x" * 500_000}))
            return len(pool.rooms.hub) == 1

        await pool.until(flood)
        await good.hear_end(await good.submit(save_graph(1)))
        transport.resume_reading()
