import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from gateway.config import AccessConfig, Config, ConfigError, Fault, ServerConfig, bind_fault, is_loopback, load_config

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
REFERENCE = Path(__file__).parents[2] / "docs" / "configuration.md"

FULL = """\
server: {host: 127.0.0.1, port: 8188}
data_dir: ./data                     # database, uploads, outputs
runners:
  - name: gpu-0
    endpoint: http://10.0.0.11:8188
    tags: [sdxl, gpu-a100]
    headers: {Authorization: "Bearer ${GPU0_TOKEN}"}
    prefetch: 1
access: {allow_anonymous: false}
"""


@pytest.fixture
def load(tmp_path):
    def load(text, /, **environ):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load_config(path, environ)

    return load


@pytest.fixture
def faults_of(load):
    def faults_of(text, /, **environ) -> list[Fault]:
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        return caught.value.faults

    return faults_of


def runner(**keys) -> str:
    keys = {"name": "gpu-0", "endpoint": "http://gpu:8188"} | keys
    return yaml.safe_dump({"runners": [keys]})


class TestValues:
    def test_host_names_are_in_lower_case(self, load):
        config = load("runners: []\nserver: {allowed_hosts: [Comfy.Example., '*.LAN', xn--bcher-kva.example]}")
        assert config.server.allowed_hosts == ("comfy.example", "*.lan", "xn--bcher-kva.example")

    def test_reads_the_keys_of_the_example_in_the_issue(self, load):
        config = load(FULL, GPU0_TOKEN="abc")
        (gpu,) = config.runners
        assert (config.server.host, config.server.port) == ("127.0.0.1", 8188)
        assert (gpu.name, gpu.endpoint, gpu.tags, gpu.prefetch) == (
            "gpu-0",
            "http://10.0.0.11:8188",
            ("sdxl", "gpu-a100"),
            1,
        )
        assert gpu.plain_headers() == {"Authorization": "Bearer abc"}

    def test_every_key_but_runners_has_a_default(self, load):
        config = load("runners: []")
        assert config.runners == ()
        assert config.server.max_upload_size == 104_857_600
        assert config.health.grace_seconds == 15.0
        assert config.database.synchronous == "full"

    def test_database_and_blobs_live_in_the_data_folder(self, load, tmp_path):
        config = load(f"runners: []\ndata_dir: {tmp_path}/x")
        assert config.database_url == f"sqlite+aiosqlite:///{tmp_path}/x/gateway.db"
        assert config.blobs_url == f"{tmp_path}/x/blobs"

    def test_database_and_blobs_can_be_elsewhere(self, load):
        config = load("runners: []\ndatabase: {url: 'sqlite:///x.db'}\nblobs: {url: 's3://bucket/folder'}")
        assert (config.database_url, config.blobs_url) == ("sqlite:///x.db", "s3://bucket/folder")

    def test_models_are_frozen(self, load):
        config = load("runners: []")
        with pytest.raises(ValueError, match="frozen"):
            config.server.port = 1

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("http://gpu:8188/", "http://gpu:8188"),
            ("HTTPS://Gpu.Example/comfy/", "https://gpu.example/comfy"),
            ("http://[fe80::1]:8188", "http://[fe80::1]:8188"),
        ],
    )
    def test_endpoints_are_kept_without_a_trailing_slash(self, load, given, kept):
        assert load(runner(endpoint=given)).runners[0].endpoint == kept

    def test_tags_are_kept_once(self, load):
        assert load(runner(tags=["a", "b", "a"])).runners[0].tags == ("a", "b")

    def test_merge_keys_and_anchors_work(self, load):
        text = """
        runners:
          - &first {name: a, endpoint: 'http://a', tags: [x]}
          - {<<: *first, name: b}
        """
        assert [(each.name, each.tags) for each in load(text).runners] == [("a", ("x",)), ("b", ("x",))]

    @pytest.mark.parametrize("mode", ["auto", "raw", "focus", "serial"])
    def test_session_modes(self, load, mode):
        assert load(f"runners: []\nsessions: {{mode: {mode}}}").sessions.mode == mode
        assert load("runners: []").sessions.mode == "auto"

    def test_an_unknown_session_mode_is_a_fault(self, faults_of):
        (fault,) = faults_of("runners: []\nsessions: {mode: quick}")
        assert fault.path == "sessions.mode"


class TestSubstitution:
    def test_variables_within_any_string(self, load):
        text = runner(endpoint="http://${HOST}:${PORT}/${PREFIX}", tags=["${TAG}"])
        (gpu,) = load(text, HOST="gpu", PORT="81", PREFIX="c", TAG="t").runners
        assert (gpu.endpoint, gpu.tags) == ("http://gpu:81/c", ("t",))

    def test_variables_become_numbers_where_numbers_are_wanted(self, load):
        assert load("runners: []\nserver: {port: '${PORT}'}", PORT="81").server.port == 81

    def test_files_lose_their_last_line_break(self, load, tmp_path):
        (tmp_path / "token").write_text("abc\n")
        (gpu,) = load(runner(headers={"X-Key": f"${{file:{tmp_path}/token}}"})).runners
        assert gpu.plain_headers() == {"X-Key": "abc"}

    def test_what_was_substituted_is_not_substituted_again(self, load):
        (gpu,) = load(runner(headers={"X-Key": "${A}"}), A="${B}", B="b").runners
        assert gpu.plain_headers() == {"X-Key": "${B}"}

    def test_a_literal_dollar_brace(self, load):
        (gpu,) = load(runner(headers={"X-Key": "$${A} $5"})).runners
        assert gpu.plain_headers() == {"X-Key": "${A} $5"}

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("${NOPE}", "environment variable NOPE is not set"),
            ("${file:/no/such/file}", "cannot read the file /no/such/file: No such file or directory"),
            ("${no name}", "malformed"),
            ("${UNCLOSED", "malformed"),
            ("${}", "malformed"),
        ],
    )
    def test_faults_name_the_key_and_the_line(self, faults_of, value, message):
        (fault,) = faults_of(f"runners:\n- name: a\n  endpoint: http://a\n  headers:\n    X-Key: '{value}'\n")
        assert (fault.path, fault.line) == ("runners[0].headers.X-Key", 5)
        assert message in fault.message

    def test_a_secret_file_that_is_not_text(self, faults_of, tmp_path):
        (tmp_path / "token").write_bytes(b"\xff\xfe\xff")
        (fault,) = faults_of(runner(headers={"X-Key": f"${{file:{tmp_path}/token}}"}))
        assert "is not UTF-8" in fault.message


class TestOverrides:
    def test_values_of_the_file_and_new_ones(self, load):
        config = load(
            FULL,
            GPU0_TOKEN="abc",
            COMFY_GATEWAY__SERVER__PORT="9000",
            COMFY_GATEWAY__QUEUE__MAX_PENDING="5",
            COMFY_GATEWAY__RUNNERS__0__TAGS='["a", "b"]',
            COMFY_GATEWAY__RUNNERS__0__HEADERS__AUTHORIZATION="Bearer other",
        )
        assert (config.server.port, config.queue.max_pending) == (9000, 5)
        assert config.runners[0].tags == ("a", "b")
        assert config.runners[0].plain_headers() == {"Authorization": "Bearer other"}

    def test_an_override_stands_in_for_what_could_not_be_substituted(self, load):
        config = load(FULL, COMFY_GATEWAY__RUNNERS__0__HEADERS__AUTHORIZATION="Bearer abc")
        assert config.runners[0].plain_headers() == {"Authorization": "Bearer abc"}

    def test_all_runners_as_json(self, load):
        config = load("{}", COMFY_GATEWAY__RUNNERS='[{"name": "a", "endpoint": "http://a"}]')
        assert [each.name for each in config.runners] == ["a"]

    def test_faults_name_the_variable_instead_of_a_line(self, faults_of):
        (fault,) = faults_of("runners: []\nserver: {port: 1}", COMFY_GATEWAY__SERVER__PORT="x")
        assert fault == Fault("server.port", "must be a whole number (set by COMFY_GATEWAY__SERVER__PORT)", None)

    @pytest.mark.parametrize("name", ["COMFY_GATEWAY__SERVER__PROT", "COMFY_GATEWAY__SRVER__PORT"])
    def test_an_unknown_key(self, faults_of, name):
        (fault,) = faults_of("runners: []", **{name: "1"})
        assert "is not a known key; did you mean server" in fault.message
        assert name in fault.message

    @pytest.mark.parametrize("name", ["COMFY_GATEWAY__", "COMFY_GATEWAY__SERVER____PORT", "COMFY_GATEWAY__RUNNERS__3"])
    def test_a_variable_that_names_no_key(self, faults_of, name):
        (fault,) = faults_of("runners: []", **{name: "1"})
        assert name in fault.message

    def test_other_variables_do_not_matter(self, load):
        assert load("runners: []", COMFY_GATEWAY_CONFIG="x", HOME="/")


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "path", "message"),
        [
            ("server: {port: x}", "server.port", "must be a whole number"),
            ("server: {port: true}", "server.port", "must be a number"),
            ("server: {port: 70000}", "server.port", "less than or equal to 65535"),
            ("server: {host: 5}", "server.host", "must be a string"),
            ("server: 5", "server", "must be a mapping"),
            ("server:", "server", "must be a mapping"),
            ("runners: 5", "runners", "must be a list"),
            ("runners: [5]", "runners[0]", "must be a mapping"),
            ("access: {allow_anonymous: maybe}", "access.allow_anonymous", "must be true or false"),
            ("health: {grace_seconds: .inf}", "health.grace_seconds", "finite"),
            ("health: {grace_seconds: 0}", "health.grace_seconds", "greater than 0"),
            ("database: {synchronous: off}", "database.synchronous", "'full' or 'normal'"),
            ("database: {url: nonsense}", "database.url", "must be a URL"),
            ("log: {level: loud}", "log.level", "'debug', 'info'"),
            ("sever: {port: 1}", "sever", "is not a known key; did you mean server?"),
            ("server: {prot: 1}", "server.prot", "is not a known key; did you mean server.port?"),
            ("port: 1", "port", "is not a known key here; did you mean server.port?"),
            ("log: {zzzzzz: 1}", "log.zzzzzz", "is not a known key; known here: level, format"),
            ("data_dir: 2024-13-45", "data_dir", "cannot be read as a YAML value"),
            ("data_dir: !!python/name:os.system x", "data_dir", "cannot be read as a YAML value"),
            ("server: !thing {port: 1}", "server", "YAML tag"),
            ("1: x", "", "has a key that is not a string"),
        ],
    )
    def test_one_wrong_value(self, faults_of, text, path, message):
        (fault,) = faults_of(text if text.startswith("runners") else f"{text}\nrunners: []")
        assert (fault.path, fault.line) == (path, 1)
        assert message in fault.message

    @pytest.mark.parametrize(
        ("endpoint", "message"),
        [
            ("ftp://gpu", "must start with http:// or https://"),
            ("gpu:8188", "must start with http:// or https://"),
            ("http://", "must name a host"),
            ("http://:8188", "must name a host"),
            ("http://gpu:port", "is not a valid URL"),
            ("http://gpu:99999", "is not a valid URL"),
            ("http://gpu:0", "between 1 and 65535"),
            ("http://[::1", "is not a valid URL"),
            ("http://me:pass@gpu", "must not contain a user"),
            ("http://@gpu", "must not contain a user"),
            ("http://gpu/?", "must not have a query"),
            ("http://gpu/#x", "must not have a query or a fragment"),
            ("http://gpu/a b", "must not contain spaces"),
            ("http://gpu/\r\nX: y", "must not contain spaces, control"),
            ("http://gpu/../x", "'.' or '..'"),
            ("http://gpu/ä", "must be ASCII"),
        ],
    )
    def test_bad_endpoints(self, faults_of, endpoint, message):
        (fault,) = faults_of(runner(endpoint=endpoint))
        assert fault.path == "runners[0].endpoint"
        assert message in fault.message

    @pytest.mark.parametrize(
        "name",
        ["", "a:80", "*", "*.", "a.*.b", "**.a", "http://a", "a b", "ä.example", "-a", ".", "a..b", "a." * 127 + "b"],
    )
    def test_bad_host_names(self, faults_of, name):
        (fault,) = faults_of(yaml.safe_dump({"server": {"allowed_hosts": ["ok", name]}, "runners": []}))
        assert fault.path == "server.allowed_hosts[1]"
        assert "must be a host name without a port" in fault.message

    @pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "ä", "a\n", "a" * 65])
    def test_bad_names(self, faults_of, name):
        assert [fault.path for fault in faults_of(runner(name=name))] == ["runners[0].name"]

    @pytest.mark.parametrize("tag", ["", "a b", "a+b", "a/b", "..", "a\n"])
    def test_bad_tags(self, faults_of, tag):
        assert [fault.path for fault in faults_of(runner(tags=["ok", tag]))] == ["runners[0].tags[1]"]

    @pytest.mark.parametrize(
        ("headers", "path"),
        [
            ({"a b": "x"}, "runners[0].headers.a b"),
            ({"X": "a\r\nY: b"}, "runners[0].headers.X"),
            ({"X": "a\0"}, "runners[0].headers.X"),
            ({"X": 5}, "runners[0].headers.X"),
            ({"Content-Length": "5"}, "runners[0].headers.Content-Length"),
            ({"X": "a", "x": "b"}, "runners[0].headers"),
        ],
    )
    def test_bad_headers(self, faults_of, headers, path):
        assert [fault.path for fault in faults_of(runner(headers=headers))] == [path]

    def test_duplicate_names_are_told_beside_other_faults(self, faults_of):
        text = """\
runners:
  - {name: a, endpoint: http://a}
  - {name: b, endpoint: nonsense}
  - {name: a, endpoint: http://c}
"""
        assert [(fault.path, fault.line) for fault in faults_of(text)] == [
            ("runners[1].endpoint", 3),
            ("runners[2].name", 4),
        ]

    def test_duplicate_names_in_models_made_without_a_file(self):
        one = {"name": "a", "endpoint": "http://a"}
        with pytest.raises(ValueError, match="same name"):
            Config.model_validate({"runners": [one, one]})

    def test_duplicate_keys(self, faults_of):
        faults = faults_of("server:\n  port: 1\n  port: 2\nrunners: []\nserver: {}\n")
        assert [(fault.path, fault.line) for fault in faults] == [("server.port", 3), ("server", 5)]
        assert "the first is on line 2" in faults[0].message

    def test_missing_keys(self, faults_of):
        assert faults_of("") == [Fault("runners", "is required", None)]
        (fault,) = faults_of("runners:\n- name: a\n")
        assert (fault.path, fault.message, fault.line) == ("runners[0].endpoint", "is required", 2)

    def test_all_at_once_in_the_order_of_the_file_with_one_line_each(self, load):
        text = """\
server: {host: 0.0.0.0, prot: 1}
runners:
  - name: gpu-0
    endpoint: ftp://gpu
    headers: {"X\\nY": "${NOPE}"}
log: {level: loud}
"""
        with pytest.raises(ConfigError) as caught:
            load(text)
        lines = caught.value.lines()
        assert [re.search(r"config.yaml:(\d+): (\S+): ", line).groups() for line in lines] == [
            ("1", "server.prot"),
            ("1", "server.host"),
            ("4", "runners[0].endpoint"),
            ("5", "runners[0].headers.X\\nY"),
            ("6", "log.level"),
        ]
        assert str(caught.value) == "\n".join(lines)
        assert str(caught.value).count("\n") == 4


class TestFile:
    def test_missing(self, tmp_path):
        with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read: No such file"):
            load_config(tmp_path / "no.yaml", {})

    def test_a_folder(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load_config(tmp_path, {})

    def test_not_text(self, tmp_path):
        (tmp_path / "x").write_bytes(b"\xff\xff")
        with pytest.raises(ConfigError, match="is not UTF-8 text"):
            load_config(tmp_path / "x", {})

    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("server: {port: 1\nrunners: []", 2, r"column \d+"),
            ("a: b: c", 1, "column 5"),
            ("a: 1\n\tb: 2", 2, "column 1"),
            ("runners: *nothing", 1, "undefined alias"),
            ("a: 1\n---\nb: 2", 2, "document"),
            ("- 1", 1, "must be a mapping"),
            ("just text", 1, "must be a mapping"),
            ("a: \x07", None, "characters that YAML does not allow"),
            ("runners: &a [*a]", None, "an alias contains itself"),
        ],
    )
    def test_not_yaml_that_means_anything(self, faults_of, text, line, message):
        (fault,) = faults_of(text)
        assert fault.line == line
        assert re.search(message, fault.message)

    def test_a_byte_order_mark_is_fine(self, load):
        assert load("\ufeffrunners: []").runners == ()


class TestSecrets:
    SECRET = "s3cret-t0ken"

    @pytest.mark.parametrize(
        "text",
        [
            "runners: *s3cret-t0ken",
            "runners: [{name: a, endpoint: 'http://x:s3cret-t0ken@h'}]",
            "runners: [{name: a, endpoint: 'http://h/?key=s3cret-t0ken'}]",
            "runners: [{name: a, endpoint: '${SECRET}'}]",
            'runners: [{name: a, endpoint: http://h, headers: {X: "${SECRET}\\n"}}]',
            "runners: [{name: a, endpoint: http://h, headers: {X: [s3cret-t0ken]}}]",
            "runners: [{name: a, endpoint: http://h, headers: s3cret-t0ken}]",
            "runners: [{name: a, endpoint: http://h, weight: s3cret-t0ken}]",
            "runners: []\ndatabase: {url: s3cret-t0ken}",
            "runners: []\nlog: {level: s3cret-t0ken}",
            "runners: [s3cret-t0ken",
            "runners: !s3cret-t0ken []",
        ],
    )
    def test_never_in_faults(self, load, text):
        with pytest.raises(ConfigError) as caught:
            load(text, SECRET=self.SECRET)
        assert self.SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert self.SECRET not in repr(caught.value.faults)

    def test_never_in_what_a_configuration_prints(self, load):
        text = runner(headers={"X": self.SECRET}) + f"database: {{url: 'sqlite://u:{self.SECRET}@h/x'}}"
        config = load(text)
        assert self.SECRET not in f"{config!r} {config} {config.runners[0].headers} {config.model_dump()}"
        assert self.SECRET not in config.model_dump_json()
        assert self.SECRET in config.database_url


class TestBind:
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
    def test_loopback_needs_nothing(self, load, host):
        assert is_loopback(host)
        assert load(f"runners: []\nserver: {{host: '{host}'}}").server.host == host

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.example", "127.0.0.1.example", "::2"])
    def test_beyond_loopback_needs_consent(self, load, faults_of, host):
        text = f"runners: []\nserver:\n  host: '{host}'\n"
        (fault,) = faults_of(text)
        assert (fault.path, fault.line) == ("server.host", 3)
        assert "access.allow_anonymous" in fault.message
        assert load(text + "access: {allow_anonymous: true}").server.host == host

    def test_an_override_is_told_as_such(self, faults_of):
        (fault,) = faults_of("runners: []", COMFY_GATEWAY__SERVER__HOST="0.0.0.0")
        assert "(set by COMFY_GATEWAY__SERVER__HOST)" in fault.message

    def test_can_be_left_to_the_caller(self, tmp_path):
        (tmp_path / "c.yaml").write_text("runners: []\nserver: {host: 0.0.0.0}")
        config = load_config(tmp_path / "c.yaml", {}, check_bind=False)
        assert bind_fault(config.server, config.access)
        assert bind_fault(ServerConfig(), AccessConfig()) is None


def model_paths(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Every key of a model and of the models within, runners as `runners.name`."""
    paths = set()
    for name, field in model.model_fields.items():
        paths.add(prefix + name)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                paths |= model_paths(inner, f"{prefix}{name}.")
    return paths


def data_paths(data, prefix: str = "") -> set[str]:
    paths = set()
    for name, value in data.items():
        paths.add(prefix + name)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict) and name != "headers":
                paths |= data_paths(inner, f"{prefix}{name}.")
    return paths


class TestDocuments:
    def test_the_example_is_valid_and_names_every_key(self):
        config = load_config(EXAMPLE, {"GPU0_TOKEN": "abc"})
        lists = {"tags": "rules", "scheduling": "keep_warm"}  # empty ones, whose keys are shown in their comments
        starts = tuple(f"{section}.{key}." for section, key in lists.items())
        in_lists = {path for path in model_paths(Config) if path.startswith(starts)}
        assert data_paths(yaml.safe_load(EXAMPLE.read_text())) == model_paths(Config) - in_lists
        shown = set()
        for section, key in lists.items():
            comment = next(line for line in EXAMPLE.read_text().splitlines() if line.strip().startswith(f"{key}: []"))
            example = yaml.safe_load(comment.partition("#")[2].partition(", docs/")[0])
            shown |= data_paths({section: {key: example}})
        assert in_lists <= shown
        assert config.runners[0].plain_headers()["Authorization"] == "Bearer abc"

    def test_the_example_gives_the_defaults(self):
        config = load_config(EXAMPLE, {"GPU0_TOKEN": "abc"})
        defaults = Config(runners=config.runners)
        assert config == defaults

    def test_the_reference_names_every_key(self):
        text = REFERENCE.read_text()
        written = {path: re.sub(r"(runners|rules|keep_warm)[.]", r"\1[].", path) for path in model_paths(Config)}
        missing = {path for path, as_written in written.items() if f"`{as_written}`" not in text}
        assert missing == set()
