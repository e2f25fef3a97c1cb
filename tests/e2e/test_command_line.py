"""The command line against an unconfigured `kairos start` with the embedded engines and model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer.main
from typer.testing import CliRunner

from kairos.cli.app import app
from scripts import documents
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, command, parsed
from tests.kit.keyed_server import KeyedServer


@pytest.fixture(scope="module")
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DaemonProcess]:
    """A daemon with embedded PostgreSQL, Valkey and model, started with a sample task. Shared by all tests here."""
    started = await DaemonProcess(tmp_path_factory.mktemp("kairos"), {"queue": {"drain_s": 5}}).start("--sample")
    yield started
    if started.process.poll() is None:
        assert await started.stop() == 0


@pytest.fixture(scope="module")
def task_id(daemon: DaemonProcess) -> str:
    """A task that has ended with an approved answer."""
    return submitted(daemon, "--wait")


def submitted(daemon: DaemonProcess, *options: str) -> str:
    """The id of a new task whose answer is always approved: the schema constrains the model."""
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
    (daemon.folder / "colour.json").write_text(json.dumps(schema))
    task = ("task", "submit", "Name a colour.", "--schema", "colour.json", "--json")
    return parsed(kairos(daemon, *task, *options))["id"]


def kairos(daemon: DaemonProcess, *arguments: str):
    return command(daemon.folder, *arguments, KAIROS_CONFIG=str(daemon.config))


def documented(name: str) -> list[str]:
    """Return the commands of a document that run beside a daemon, line by line."""
    blocks = [block.text for block in documents.read(documents.ROOT / name).blocks if block.language == "bash"]
    return [line for line in "".join(blocks).splitlines() if not line.startswith(("make ", "source "))]


async def test_first_start_runs_a_sample_task_and_prints_address_memory_and_result(daemon: DaemonProcess):
    await eventually(lambda: "try: kairos task submit" in daemon.log, 60, "the sample task has ended")
    for text in (
        "Kairos is ready at http://localhost:",
        "MB PSS",
        "/setup#",
        '"sentiment"',
        "Guardian: approved",
        "utility",
    ):
        assert text in daemon.log, text


def test_submit_with_wait_prints_progress_and_verdict(daemon: DaemonProcess):
    done = kairos(daemon, "task", "submit", "Name a colour.", "--forbid", "grey", "--wait")
    assert done.returncode in (0, 10), done.stderr
    assert "Guardian:" in done.stdout
    assert "smollm2-135m" in done.stdout
    assert "drafting" in done.stderr, "progress must go to standard error"


@pytest.mark.parametrize("document", ["README.md", "docs/tutorial.md"])
def test_documented_commands_run_as_written(daemon: DaemonProcess, document: str):
    """The model may also answer the tutorial's rejected task correctly: processors round differently."""
    folder = Path(sys.executable).parent
    environment = {**os.environ, "KAIROS_CONFIG": str(daemon.config), "PATH": f"{folder}:{os.environ['PATH']}"}
    lines = [line.replace(".venv/bin/", "") for line in documented(document)]
    assert lines
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=daemon.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in ((0, 10) if "waiter was rude" in line else (0,)), (
            f"{line}: {done.stdout}{done.stderr}"
        )


def test_commands_print_json(daemon: DaemonProcess):
    task_id = submitted(daemon)
    parsed(kairos(daemon, "task", "watch", task_id, "--json"))
    assert parsed(kairos(daemon, "task", "show", task_id, "--json"))["state"] == "succeeded"
    assert parsed(kairos(daemon, "task", "list", "--json"))["items"]
    assert parsed(kairos(daemon, "model", "list", "--json"))[0]["name"] == "smollm2-135m"
    assert parsed(kairos(daemon, "project", "list", "--json"))[0]["name"] == "Default"
    assert parsed(kairos(daemon, "router", "explain", task_id, "--json"))[0]["chosen"] == "smollm2-135m"
    assert parsed(kairos(daemon, "router", "leaderboard", "--json"))["items"]
    status = parsed(kairos(daemon, "status", "--json"))
    assert status["status"] == "ok"
    assert 100 < status["memory_mb"]["total"] < 600
    assert status["ready_s"] > 0
    assert all(finding["ok"] for finding in parsed(kairos(daemon, "doctor", "--json")))


ACTING = ("start", "migrate", "login", "logout", "fine-tune", "task submit", "model fetch", "plugin reload")
ACTING += ("provider rotate-master-key", "provider test")
"""The commands without required arguments that change something, or need an argument nevertheless."""


def showing_commands(group: Any, *path: str) -> Iterator[str]:
    """The commands that list or show something and need no argument."""
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from showing_commands(found, *path, name)
        elif not any(parameter.required for parameter in found.params):
            yield " ".join((*path, name))


SHOWING = sorted(set(showing_commands(typer.main.get_command(app))).difference(ACTING))
OF_ONE = (
    "task show TASK",
    "task watch TASK",
    "router explain TASK",
    "model show smollm2-135m",
    "config get router.lambda_cost",
)


@pytest.mark.parametrize("line", [*SHOWING, *OF_ONE])
async def test_commands_that_show_something_print_text_and_json(daemon: DaemonProcess, task_id: str, line: str):
    for options in ([], ["--json"]):
        assert (await shown(daemon, [*line.replace("TASK", task_id).split(), *options])).strip()


async def test_models_of_a_server_are_listed_before_it_is_stored(daemon: DaemonProcess):
    async with KeyedServer() as server:
        server_of = ["--kind", "openai-compatible", "--address", server.base_url, "--no-key"]
        assert "large" in await shown(daemon, ["provider", "test", *server_of])
        listed = json.loads(await shown(daemon, ["provider", "test", *server_of, "--json"]))
    assert [model["name"] for model in listed["models"]] == ["large"]


async def shown(daemon: DaemonProcess, arguments: list[str]) -> str:
    """The output of a command that succeeds, run in this process."""
    environment = {"KAIROS_CONFIG": str(daemon.config), "XDG_CONFIG_HOME": str(daemon.folder / "config")}
    done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    return done.output


def test_prompt_is_read_from_an_argument_or_a_file_but_not_both(daemon: DaemonProcess):
    (daemon.folder / "prompt.txt").write_text("from a file")
    by_file = parsed(kairos(daemon, "task", "submit", "--file", "prompt.txt", "--json"))
    assert by_file["prompt"] == "from a file"
    assert kairos(daemon, "task", "submit", "both", "--file", "prompt.txt").returncode == 2


def test_project_is_created_and_selected(daemon: DaemonProcess):
    assert kairos(daemon, "project", "create", "Second").returncode == 0
    assert parsed(kairos(daemon, "task", "list", "--json"))["items"] == []
    assert kairos(daemon, "project", "use", "Default").returncode == 0
    assert parsed(kairos(daemon, "task", "list", "--json"))["items"]
    assert kairos(daemon, "project", "use", "Nowhere").returncode == 4


def test_exit_code_depends_on_the_kind_of_error(daemon: DaemonProcess):
    missing = "00000000-0000-7000-8000-000000000000"
    assert kairos(daemon, "task", "show", missing).returncode == 4
    assert kairos(daemon, "task", "submit", "x", "--agent", "Nobody").returncode == 2
    assert kairos(daemon, "task", "submit", "x", "--model", "gpt-9").returncode == 2
    assert kairos(daemon, "nonsense").returncode == 2
    (daemon.folder / "bad.json").write_text('{"type": "objekt"}')
    wrong = kairos(daemon, "task", "submit", "x", "--schema", "bad.json")
    assert wrong.returncode == 2
    assert "objekt" in wrong.stderr
    rejected = kairos(daemon, "task", "submit", "Say hello.", "--require", "zzqx", "--forbid", "zzqx", "--wait")
    assert rejected.returncode == 10
    assert "zzqx" in rejected.stdout


def test_sign_in_with_a_password_from_another_folder(daemon: DaemonProcess):
    """The password is set with the one-time link. Without a session, the error names the command that signs in."""
    token = daemon.log.split("/setup#")[1].split()[0]
    address = daemon.client().address
    daemon.client().open("POST", "/api/auth/setup", {"token": token, "password": "correct horse battery"})
    folder = daemon.folder / "elsewhere"
    folder.mkdir()
    environment = {"KAIROS_CONFIG": str(folder / "none.toml"), "KAIROS_URL": address}
    (folder / "none.toml").write_text("")
    refused = command(folder, "task", "list", **environment)
    assert refused.returncode == 6
    assert f"kairos login --url {address}" in refused.stderr or "kairos login" in refused.stderr
    login = ("login", "--email", "admin@localhost")
    assert command(folder, *login, **environment, KAIROS_PASSWORD="wrong").returncode == 6
    assert command(folder, *login, **environment, KAIROS_PASSWORD="correct horse battery").returncode == 0
    assert command(folder, "task", "list", **environment).returncode == 0
    saved = folder / "config" / "kairos" / "credentials.json"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def test_secret_files_are_readable_only_by_their_owner(daemon: DaemonProcess):
    for name in ("local-secret", "secrets.json", "runtime.json"):
        assert stat.S_IMODE((daemon.folder / "data" / name).stat().st_mode) == 0o600, name


def test_second_start_on_the_same_folder_fails_with_the_pid_of_the_first(daemon: DaemonProcess):
    second = kairos(daemon, "start")
    assert second.returncode == 6
    assert str(daemon.process.pid) in second.stderr


@pytest.mark.timeout(120)
async def test_stop_ends_every_process_and_the_next_start_has_the_same_tasks(daemon: DaemonProcess):
    before = parsed(kairos(daemon, "task", "list", "--json"))["items"]
    children = psutil.Process(daemon.process.pid).children(recursive=True)
    assert children
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(30) == 0
    assert [child for child in children if child.is_running()] == []
    await daemon.start()
    after = parsed(kairos(daemon, "task", "list", "--json"))["items"]
    assert [task["id"] for task in after] == [task["id"] for task in before]


def test_json_output_has_no_other_text(daemon: DaemonProcess):
    done = kairos(daemon, "task", "list", "--json")
    assert json.loads(done.stdout)
    assert done.stderr == ""


def test_command_without_a_daemon_names_the_command_that_starts_one(tmp_path: Path):
    (tmp_path / "kairos.toml").write_text("[server]\nport = 9\n")
    done = command(tmp_path, "task", "list", KAIROS_CONFIG=str(tmp_path / "kairos.toml"))
    assert done.returncode == 3
    assert "kairos start" in done.stderr
