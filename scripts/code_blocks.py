"""Checks of the code in documents, one function for each language."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import typer
import yaml
from pydantic import ValidationError

from kairos.cli.app import app
from kairos.config import Settings
from kairos.config_reference import by_name, tables
from kairos.orchestration.configuration.config_changes import PROJECT
from kairos.project_settings import ProjectSettings
from scripts.documents import ROOT, CodeBlock

OPERATORS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>"}
CONTAINER_COMMANDS = ("docker", "kubectl")
SECTIONS = {table.name for table in tables() if table.name}
SUFFIXES = {"py", "lua", "md", "toml", "sql", "sh", "json", "js", "ts", "tsx", "log", "gguf", "svg", "png", "txt"}
DOTTED = re.compile(r"([a-z_]+)\.([a-z_]+)")
FILE = re.compile(r"((?:src|tests|scripts|benchmarks|dashboard|docs|examples|requirements|deploy)/[\w./-]*)(?:::\w+)*")
IN_SECTION = re.compile(r"\[([a-z_.]+)\] ([a-z_]+)")
OPTION = re.compile(r"--[a-z][a-z-]+")
OPTIONS_OF_OTHERS = {
    *("--no-deps", "--require-hashes", "--security-opt", "--strict", "--user", "--url"),
    *("--enable-lora", "--max-lora-rank", "--max-loras"),  # vLLM
    *("--lora", "--lora-init-without-apply"),  # llama.cpp
}
"""Options in inline code that belong to pip, Docker and Zensical, or to `kairos` itself."""
ENDPOINT = re.compile(r"(?<![a-z_.])/api/[\w/{}.-]+")
OTHER_ENDPOINTS = {"/api/openapi.json", "/api/events", "/api/chat", "/api/ps", "/api/show"}
"""The description of the API, the WebSocket, which it cannot describe, and endpoints of Ollama."""
VARIABLE = re.compile(r"KAIROS_([A-Z_]+?)__([A-Z_]+)")


def problems(block: CodeBlock, *, commands: bool = True) -> Iterator[str]:
    """Yield the problems of a block."""
    check = LANGUAGES.get(block.language)
    if check is None:
        yield f"the language of a block must be one of {', '.join(LANGUAGES)}, and blocks are fenced"
        return
    try:
        yield from check(block.text) if commands or check is not _console else ()
        yield from _name_problems(block.text) if commands else ()
    except (ValueError, SyntaxError, yaml.YAMLError) as error:
        yield f"this is not valid {block.language}: {error}"


def inline_problems(code: str) -> Iterator[str]:
    """Yield the problems of inline code: commands, keys and files that do not exist."""
    if re.match(r"(?:kairos|make|python -m|scripts/\w+\.(?:sh|py)) ?", code):
        yield from command_problems(_tokens(code))
    if (match := IN_SECTION.fullmatch(code)) and f"{match[1]}.{match[2]}" not in by_name():
        yield "there is no such configuration key"
    if OPTION.fullmatch(code) and code not in OPTIONS_OF_OTHERS | all_options():
        yield "no command has this option"
    if (match := DOTTED.fullmatch(code)) and match[1] in SECTIONS and match[2] not in SUFFIXES:
        yield from () if code in by_name() else ("there is no such configuration key",)
    if (match := FILE.fullmatch(code)) and not (ROOT / match[1]).exists():
        yield "there is no such file"
    yield from _name_problems(code)


def _name_problems(text: str) -> Iterator[str]:
    """Yield the environment variables and endpoints in any text that do not exist."""
    for section, key in VARIABLE.findall(text):
        name = f"{section}.{key}".lower()
        yield from () if name in by_name() else (f"there is no configuration key {name}",)
    for path in ENDPOINT.findall(text):
        yield from () if _is_endpoint(path.rstrip("./")) else (f"there is no endpoint {path}",)


def command_problems(tokens: list[str]) -> Iterator[str]:
    """Yield the problems of one command and its arguments."""
    tokens = _without_assignments(tokens)
    if tokens and tokens[0] in CONTAINER_COMMANDS and "exec" in tokens and "kairos" in tokens:
        tokens = tokens[len(tokens) - 1 - tokens[::-1].index("kairos") :]
    if not tokens:
        return
    name, arguments = tokens[0].removeprefix(".venv/bin/"), tokens[1:]
    if name == "kairos":
        yield from _kairos_problems(arguments)
    elif name == "make":
        yield from _make_problems(arguments)
    elif name.startswith("python") and arguments[:1] == ["-m"]:
        yield from _module_problems(arguments[1])
    elif re.match(r"scripts/[\w/]+\.\w+$", name) and not (ROOT / name).is_file():
        yield f"{name} does not exist"


def _kairos_problems(arguments: list[str]) -> Iterator[str]:
    """Follow the arguments through groups to a command, and compare its options."""
    command = _root_command()
    path, options = ["kairos"], set[str]()
    rest = iter(arguments)
    for argument in rest:
        options = _options(command)
        if argument.startswith("-"):
            name, _, value = argument.partition("=")
            if name not in options:
                yield f"`{' '.join(path)}` has no option {name}"
            elif not value and name in _options_with_value(command):
                next(rest, None)
        elif hasattr(command, "commands") and re.fullmatch(r"[a-z][a-z-]*", argument):
            if argument not in command.commands:
                yield f"`{' '.join(path)}` has no command {argument}"
                return
            command, path = command.commands[argument], [*path, argument]
        elif path in (["kairos", "config", "set"], ["kairos", "config", "unset"]):
            yield from _key_problems(argument.partition("=")[0])


def _key_problems(key: str) -> Iterator[str]:
    """Check a key of `kairos config set`; placeholders have capitals."""
    names = {*by_name(), *(f"{PROJECT}{name}" for name in ProjectSettings.model_fields)}
    if key == key.lower() and key not in names:
        yield f"there is no configuration key {key}"


@cache
def _root_command() -> Any:
    return typer.main.get_command(app)


@cache
def all_options() -> frozenset[str]:
    """Return the options of all commands."""
    commands, found = [_root_command()], set[str]()
    while commands:
        command = commands.pop()
        found |= _options(command)
        commands += getattr(command, "commands", {}).values()
    return frozenset(found)


def _is_endpoint(path: str) -> bool:
    return path in OTHER_ENDPOINTS or any(pattern.fullmatch(path) for pattern in _endpoint_patterns())


@cache
def _endpoint_patterns() -> tuple[re.Pattern[str], ...]:
    paths = json.loads((ROOT / "dashboard" / "openapi.json").read_text())["paths"]
    return tuple(re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))) for path in paths)


def _options(command: Any) -> set[str]:
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}


def _options_with_value(command: Any) -> set[str]:
    return {name for option in command.params if not getattr(option, "is_flag", True) for name in option.opts}


def _make_problems(arguments: list[str]) -> Iterator[str]:
    for target in arguments:
        if re.fullmatch(r"[a-z][a-z-]*", target) and target not in make_targets():
            yield f"the Makefile has no target {target}"


@cache
def make_targets() -> frozenset[str]:
    """Return the documented targets of the Makefile."""
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _module_problems(module: str) -> Iterator[str]:
    if module.split(".")[0] in ("scripts", "benchmarks", "kairos"):
        path = ROOT / ("src" if module.startswith("kairos") else "") / module.replace(".", "/")
        if not path.with_suffix(".py").is_file() and not (path / "__main__.py").is_file():
            yield f"there is no module {module}"


def _bash(text: str) -> Iterator[str]:
    """Check the syntax with bash, and the commands that belong to the repository."""
    parsed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    if parsed.returncode:
        raise ValueError(parsed.stderr.strip())
    for line in text.replace("\\\n", " ").splitlines():
        for tokens in _commands(line):
            yield from command_problems(tokens)


def _console(text: str) -> Iterator[str]:
    """Check the lines after a prompt; the others are output."""
    commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    if not commands:
        raise ValueError("no line begins with `$ `")
    yield from _bash("\n".join(commands))


def _json(text: str) -> Iterator[str]:
    json.loads(text)
    return iter(())


def _python(text: str) -> Iterator[str]:
    ast.parse(text)
    return iter(())


def _yaml(text: str) -> Iterator[str]:
    list(yaml.safe_load_all(text))
    return iter(())


def _toml(text: str) -> Iterator[str]:
    """Check the keys and values of a `kairos.toml`; a `pyproject.toml` has the table `project`."""
    values = tomllib.loads(text)
    if "project" in values:
        return
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            yield f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


LANGUAGES: dict[str, Callable[[str], Iterator[str]]] = {
    "bash": _bash,
    "console": _console,
    "json": _json,
    "python": _python,
    "toml": _toml,
    "yaml": _yaml,
    "text": lambda _: iter(()),
}


def _commands(line: str) -> Iterator[list[str]]:
    """Yield the commands of a line, split at pipes and lists. A here-document's lines are read as commands too."""
    tokens: list[str] = []
    for token in [*_tokens(line), ";"]:
        if token in OPERATORS:
            yield tokens
            tokens = []
        else:
            tokens.append(token)


def _tokens(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # a quotation that goes on in the next line; `bash -n` has checked it
        return line.split()


def _without_assignments(tokens: list[str]) -> list[str]:
    while tokens and re.match(r"[A-Za-z_]\w*=", tokens[0]):
        tokens = tokens[1:]
    return tokens
