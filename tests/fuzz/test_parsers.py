"""What reads foreign input, on anything: it raises what it says it raises, and nothing else."""

import ipaddress
import json
from contextlib import suppress

from fuzz.strategies import ENTRIES, FRAMES, GRAPHS, JSON, OBJECT_INFOS, OUTPUTS, PROMPTS, SCALARS, TEXT, URLS
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from gateway.access.addresses import parse_address
from gateway.api.contents import content_type_of, disposition, is_active
from gateway.api.relay import leads_out
from gateway.comfyui import (
    catalogue,
    features,
    frames,
    graph,
    history,
    jobs_api,
    json_text,
    messages,
    names,
    system_stats,
    validation,
)
from gateway.comfyui import object_info as infos
from gateway.comfyui import outputs as files
from gateway.config import EndpointsConfig
from gateway.redaction import redact, redact_text
from gateway.runners.addresses import EndpointRefused, EndpointRules
from gateway.scheduling.needs import needs_of
from gateway.storage.words import storable
from gateway.workflows import placeholders
from gateway.workflows.placeholders import WorkflowRefused

KINDS = ("input", "output", "temp")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200), JSON.map(json.dumps)))
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("9" * 10_000)
@example('"\\ud800"')
@example("NaN")
@example(b"\xff\xfe")
def test_json(text):
    try:
        value = json_text.loads(text)
    except ValueError:
        return
    try:
        json_text.dumps(value)
    except ValueError:  # nested too deeply, numbers too long
        return


@given(FRAMES, TEXT, st.booleans())
def test_frames(frame, prompt_id, long):
    frames.is_droppable_preview(frame)
    for read in (
        lambda: frames.event_of(frame),
        lambda: frames.decode_preview(frame),
        lambda: frames.without_metadata(frame),
        lambda: frames.with_prompt_id(frame, prompt_id),
    ):
        try:
            read()
        except frames.FrameError:
            continue
    try:
        text = frames.decode_progress_text(frame, has_prompt_id=long)
    except frames.FrameError:
        return
    assert frames.event_of(frames.progress_text_frame(text)) == frames.BinaryEvent.TEXT


@given(st.one_of(TEXT, JSON.map(json.dumps)), TEXT)
def test_messages(text, prompt_id):
    message = messages.parse(text)
    if message is not None:
        messages.prompt_id_of(message)
        messages.is_terminal(message)
        assert messages.with_prompt_id(message, prompt_id).type == message.type


@given(GRAPHS, OBJECT_INFOS, JSON, TEXT)
def test_graphs(prompt, object_info, targets, text):
    """The gateway's own checks never raise, and what they let through can be walked through."""
    known = catalogue.parse(object_info)
    for catalogues in ([], [known], [known, known]):
        error, node_errors, outputs = validation.check(prompt, targets, catalogues)
        assert (error is None) == bool(outputs)
        json_text.dumps([error, node_errors, outputs])
    list(graph.nodes(prompt))
    references = graph.file_references(prompt)
    graph.replace_references(prompt, [(reference, text) for reference in references])
    catalogue.missing_from(known, prompt)
    if isinstance(prompt, dict):
        needs_of(prompt, frozenset(), known)


@given(st.lists(st.tuples(st.sampled_from(["gpu-0", "gpu-1"]), OBJECT_INFOS), max_size=3), st.lists(TEXT, max_size=3))
def test_what_runners_say_of_themselves(told, names_of_files):
    merged = infos.merge(told)
    infos.conflicts(told)
    json_text.dumps(infos.with_upload_options(merged, names_of_files))
    catalogue.parse(merged)


@given(st.lists(st.dictionaries(TEXT, JSON, max_size=4), max_size=3))
def test_flags_and_statistics(told):
    json_text.dumps(features.merge(told, max_upload_size=1))
    json_text.dumps(system_stats.merge([(str(number), each) for number, each in enumerate(told)]))


@given(TEXT, TEXT)
@example("x_" + "9" * 100 + "_.png", "")
@example("a/../..", "b")
def test_names(name, subfolder):
    parsed = names.parse_annotated(name)
    assert parsed.type in KINDS
    names.parse_annotated(names.format_annotated(parsed))
    names.split_annotation(name)
    names.is_safe_filename(name)
    if names.is_safe_upload(name, subfolder):
        path = names.normal_subfolder(f"{subfolder}/{name}" if subfolder else name)
        assert not path.startswith(("/", "../"))
        assert "\0" not in path
    counter = names.split_counter(name)
    if counter is not None:
        names.format_counter(counter, counter.number + 1)
    leads_out(name)
    is_active(content_type_of(name))
    told = disposition(name)
    assert told.startswith('filename="')
    assert told.endswith('"')


@given(OUTPUTS)
def test_outputs(output):
    seen = []

    def rename(file):
        seen.append(file)
        return files.OutputFile("other.png", file.subfolder, file.type)

    renamed = files.map_files(output, rename)
    assert list(files.files(output)) == seen
    files.strip_asset_ids(renamed)


@given(ENTRIES, TEXT, JSON)
@example({"prompt": [0, "", {}, {}, None]}, "", {})
@example({"prompt": "12345"}, "", {})
@example({"status": {"messages": [[[], {}]]}}, "", {})
def test_history(entry, prompt_id, extra_data):
    history.public_extra_data(extra_data)
    told = history.rewrite_entry(
        entry, prompt_id=prompt_id, number=1, prompt=None, extra_data=extra_data, rename=lambda file: file
    )
    json_text.dumps(told)
    json_text.dumps(jobs_api.from_history(told, prompt_id))
    json_text.dumps(jobs_api.detail(told, prompt_id))
    jobs_api.create_time(extra_data)
    jobs_api.workflow_id(extra_data)


@given(
    st.dictionaries(
        st.sampled_from(["status", "workflow_id", "sort_by", "sort_order", "limit", "offset"]),
        st.one_of(TEXT, st.sampled_from(["completed", "pending,failed", "created_at", "asc"]), st.integers().map(str)),
    ),
    JSON,
)
@example({"limit": "9" * 5_000}, {})
@example({"offset": "٣"}, {})
def test_queries_of_jobs(query, body):
    with suppress(jobs_api.JobsQueryError):
        jobs_api.select([], jobs_api.parse_query(query))
    with suppress(jobs_api.JobsQueryError):
        jobs_api.cancel_ids(body)


@given(JSON)
def test_workflows(value):
    try:
        found = placeholders.placeholders(placeholders.graph_of(value))
    except WorkflowRefused:
        return
    assert isinstance(found, list)


RULES = EndpointRules(EndpointsConfig().webhook)


@given(URLS)
@example("http://a/?%5C")
@example("http://[::100:1]")
@example("http://A.xn--7a")
def test_endpoints(text):
    """What is taken names no address that is denied, whoever reads it."""
    try:
        taken = RULES.check_url(text)
    except EndpointRefused:
        return
    assert taken.startswith(("http://", "https://"))
    assert RULES.check_url(taken) == taken
    host = URL(taken).raw_host or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    assert RULES.permits(address)


@given(st.one_of(TEXT, st.ip_addresses().map(str)))
def test_addresses(text):
    address = parse_address(text)
    assert address is None or parse_address(str(address)) == address


@given(st.one_of(JSON, PROMPTS, TEXT, SCALARS))
def test_redaction(value):
    once = redact(value)
    assert redact(once) == once or value != value or "nan" in repr(once).lower()


@given(st.text(max_size=200))
def test_texts(text):
    assert redact_text(redact_text(text)) == redact_text(text)
    storable(text).encode()
