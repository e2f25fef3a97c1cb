"""Reading kairos.toml and the environment. Errors name the file, the line, the expected value and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import config
from kairos.config import InvalidConfig
from kairos.config_reference import ValueSource, by_name, source_of, value_of
from kairos.model_keys import require_variables


def written(folder: Path, text: str) -> Path:
    file = folder / "kairos.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("log_levle = 'info'", 1, "log_levle: unknown key. Did you mean 'log_level'?"),
        ("[queue]\n\nlease_s = 5\nmax_attempt = 2", 4, "queue.max_attempt: unknown key. Did you mean 'max_attempts'?"),
        ("[servr]\nport = 1", 1, "servr: unknown key. Did you mean 'server'?"),
        ("[server]\nport = 'x'", 2, "server.port: input should be a valid integer"),
        ("[server]\nhost = '::1'\nport = 65536", 3, "less than or equal to 65535, got 65536"),
        ("max_concurrent_tasks = 0", 1, "greater than or equal to 1, got 0"),
        ("[router]\nlambda_cost = nan", 2, "router.lambda_cost: it is not a finite number"),
        ("[server]\nport = 1\n[server]\nport = 2", 3, "twice"),
        ("log_level = 'info'\nlog_level = 'debug'\n", 2, "not valid TOML"),
        (
            "[[models]]\nname = 'a'\nbase_url = 'http://127.0.0.1/v1'\n\n[[models]]\nname = 'b'\nbase_ulr = 'http://x'",
            7,
            "base_ulr: unknown key. Did you mean 'base_url'?",
        ),
        ("[[models]]\nname = 'Auto'\nbase_url = 'http://127.0.0.1/v1'", 2, "models.0.name: `auto` is reserved"),
        (
            "[[models]]\nname = 'a'\nbase_url = 'http://127.0.0.1/v1'\n\n[[models]]\nname = 'b'",
            5,
            "models.1.base_url: a value is required",
        ),
    ],
)
def test_error_in_the_file_has_its_line(tmp_path: Path, text: str, line: int, message: str):
    file = written(tmp_path, text)
    with pytest.raises(InvalidConfig) as fault:
        config.load(file)
    assert message in str(fault.value)
    assert str(file) in str(fault.value)
    assert f"kairos.toml:{line}:" in str(fault.value) or f"line {line}," in str(fault.value)


def test_two_models_of_one_name_are_refused(tmp_path: Path):
    entry = "[[models]]\nname = 'a'\nbase_url = 'http://127.0.0.1/v1'\n"
    with pytest.raises(InvalidConfig, match="two models are named 'a'"):
        config.load(written(tmp_path, entry + entry))


def test_variable_named_by_a_model_must_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """This is checked when a daemon starts; other commands need no keys."""
    monkeypatch.setenv("SOME_PROVIDERS_KEY", "k")
    file = written(
        tmp_path,
        "[[models]]\nname = 'a'\nbase_url = 'http://127.0.0.1/v1'\napi_key_env = 'SOME_PROVIDER_KEY'",
    )
    settings = config.load(file)
    with pytest.raises(InvalidConfig) as fault:
        require_variables(settings, file)
    assert "kairos.toml:4: the environment variable SOME_PROVIDER_KEY" in str(fault.value)
    assert "Did you mean 'SOME_PROVIDERS_KEY'?" in str(fault.value)
    monkeypatch.setenv("SOME_PROVIDER_KEY", "k")
    require_variables(settings, file)


def test_error_in_a_variable_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAIROS_SERVER__PORT", "x")
    with pytest.raises(InvalidConfig, match="environment KAIROS_SERVER__PORT: "):
        config.load(written(tmp_path, "log_level = 'info'"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("KAIROS_SERVER", "x", "its value is not valid JSON"),
        ("KAIROS_SERVER", "", "its value is not valid JSON"),
        ("KAIROS_SERVER", "7", "server: input should be a valid dictionary"),
        ("KAIROS_SERVER", '{"port": "x"}', "server.port: "),
        ("KAIROS_MODELS", "x", "its value is not valid JSON"),
        ("KAIROS_MODELS", '[{"name": "a"}]', "models.0.base_url: a value is required"),
        ("KAIROS_MODELS__0__NAME", "a", "models: input should be a valid list"),
        ("KAIROS_SERVER__PORT", "abc", "server.port: "),
        ("kairos_server__port", "abc", "server.port: "),
        ("KAIROS_SERVER__PROT", "1", "Did you mean 'port'?"),
        ("KAIROS_SERVRE__PORT", "1", "Did you mean 'server'?"),
        ("KAIROS_QUEUE__LEASE_S", "-1", "queue.lease_s: "),
        ("KAIROS_LOG_LEVEL", "loud", "log_level: "),
    ],
)
def test_error_in_a_variable_does_not_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
):
    """The file sets the same keys to valid values."""
    monkeypatch.setenv(name, value)
    file = written(tmp_path, "log_level = 'info'\n[server]\nport = 1\n[queue]\nlease_s = 5\n")
    with pytest.raises(InvalidConfig) as fault:
        config.load(file)
    assert f"environment {name}: " in str(fault.value)
    assert message in str(fault.value)
    assert str(file) not in str(fault.value)


def test_error_in_the_file_names_the_file_despite_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAIROS_SERVER__HOST", "127.0.0.1")
    with pytest.raises(InvalidConfig, match=r"kairos\.toml:2: server\.port"):
        config.load(written(tmp_path, "[server]\nport = 'x'"))


def test_variables_of_other_programs_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Kubernetes sets these for a service that is called kairos."""
    for name in ("KAIROS_SERVICE_HOST", "KAIROS_PORT", "KAIROS_PORT_8484_TCP_ADDR"):
        monkeypatch.setenv(name, "tcp://10.0.0.1:8484")
    assert config.load(written(tmp_path, "[server]\nport = 1")).server.port == 1


def test_byte_order_mark_before_the_configuration_is_ignored(tmp_path: Path):
    file = tmp_path / "kairos.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 1\r\n")
    assert config.load(file).server.port == 1
    file.write_bytes("[server]\nport = 1".encode("utf-16"))
    with pytest.raises(InvalidConfig, match=r"it is UTF-16 text\. Save it as UTF-8"):
        config.load(file)


@pytest.mark.parametrize("folder", ["~nobody-of-that-name/x", "loop"])
def test_invalid_data_folder_is_a_configuration_error(tmp_path: Path, folder: str):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InvalidConfig, match="cannot be used"):
        config.load(written(tmp_path, f"data_dir = '{folder}'"))


def test_explicitly_named_file_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InvalidConfig, match="no such file"):
        config.load(tmp_path / "kairos.toml")
    monkeypatch.delenv("KAIROS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert config.load().data_dir == tmp_path / ".kairos"


def test_source_of_each_value_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Keys missing from a table of the file, and folders that were made absolute, do not count as set in the file."""
    monkeypatch.setenv("KAIROS_QUEUE__LEASE_S", "7")
    settings = config.load(written(tmp_path, "[server]\nport = 1\n[plugins]\nprobe_s = 2\n[queue]\nsweep_s = 3"))
    given_there = {"server.port", "plugins.probe_s", "queue.sweep_s"}
    sources = {name: source_of(settings, key) for name, key in by_name().items()}
    assert {name for name, source in sources.items() if source is ValueSource.FILE} == given_there
    assert {name for name, source in sources.items() if source is ValueSource.ENVIRONMENT} == {"queue.lease_s"}
    assert (value_of(settings, "queue.lease_s"), value_of(settings, "queue.sweep_s")) == (7, 3)
    assert settings.plugins.folder == tmp_path / "plugins"


@given(
    st.text()
    | st.builds(
        "[{}]\n{} = {}".format,
        st.sampled_from(["server", "queue", "models", "[models]", "nonsense"]),
        st.sampled_from(["port", "lease_s", "name", "x"]),
        st.sampled_from(["1", "-1", "'x'", "[]", "{}", "true", "1979-05-27", "inf"]),
    )
)
def test_any_text_gives_settings_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    fault = None
    try:
        config.load(file)
    except InvalidConfig as error:
        fault = str(error)
    assert fault is None or str(file) in fault
