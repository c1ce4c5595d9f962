"""The statistics of many runners as one machine's."""

from gateway.comfyui import system_stats


def answer(*devices, ram=8, **system):
    return {"system": {"ram_total": ram, "ram_free": 1, **system}, "devices": list(devices)}


def cpu():
    return {"name": "cpu", "type": "cpu", "index": None}


def gpu(index=0):
    return {"name": f"cuda:{index}", "type": "cuda", "index": index}


def test_several_devices_have_indices_of_their_own():
    """The frontend shows a tab for each, known by its index."""
    merged = system_stats.merge([("a", answer(cpu())), ("b", answer(gpu(), gpu(1))), ("c", answer(cpu()))])
    assert [device["index"] for device in merged["devices"]] == [0, 1, 2, 3]
    assert [device["name"] for device in merged["devices"]] == ["cpu @a", "cuda:0 @b", "cuda:1 @b", "cpu @c"]


def test_a_single_device_is_told_as_its_runner_tells_it():
    assert system_stats.merge([("a", answer(cpu()))])["devices"] == [{"name": "cpu @a", "type": "cpu", "index": None}]
    assert system_stats.merge([("a", answer(gpu(3)))])["devices"][0]["index"] == 3


def test_memory_is_added_up_and_the_manager_left_out():
    argv = ["main.py", "--enable-manager"]
    merged = system_stats.merge([("a", answer(gpu(), ram=8, argv=argv)), ("b", answer(gpu(), ram=16))])
    assert merged["system"] == {"ram_total": 24, "ram_free": 2, "argv": ["main.py"]}
    assert system_stats.merge([]) == {"system": {}, "devices": []}
