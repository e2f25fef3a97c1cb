"""Dangerous calls, found in the syntax tree of the code.

Errors: running a shell or replacing the process, executing or unpickling data, disabling certificate verification,
accessing memory through ctypes, deleting a file system or home directory.
Warnings: calls that are dangerous only in some places, such as listening on all interfaces.

Not detected: names built at run time, and values passed through containers or object attributes; see `python_names`.
The sandbox for tests does not rely on this check.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from kairos.agents.checks.check_result import CheckResult, error, first, warning
from kairos.agents.checks.python_names import NameResolver, constant_text
from kairos.agents.checks.python_syntax import Program
from kairos.agents.finding import Finding

CHECK = "safety"

SHELL = "runs a command line through the shell. Use subprocess.run with a list of arguments."
PROGRAM = "replaces or starts a process directly. Use subprocess.run with a list of arguments."
UNPICKLE = "executes code from the data. Use json, or another format for data only."
UNVERIFIED = "disables certificate verification. Keep it on; for a private authority, pass its certificate file."
MEMORY = "accesses native code and memory through ctypes. Remove it."

ALWAYS: dict[str, str] = {
    **{f"os.{name}": SHELL for name in ("system", "popen", "startfile")},
    **{
        f"os.{name}": PROGRAM
        for name in (
            *("execl", "execle", "execlp", "execlpe", "execv", "execve", "execvp", "execvpe"),
            *("spawnl", "spawnle", "spawnlp", "spawnlpe", "spawnv", "spawnve", "spawnvp", "spawnvpe"),
            *("posix_spawn", "posix_spawnp"),
        )
    },
    **dict.fromkeys(("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"), SHELL),
    "asyncio.subprocess.create_subprocess_shell": SHELL,
    "pty.spawn": PROGRAM,
    **{
        f"{module}.{name}": UNPICKLE
        for module in ("pickle", "_pickle", "cPickle", "marshal", "dill", "cloudpickle")
        for name in ("load", "loads", "Unpickler")
    },
    **dict.fromkeys(("shelve.open", "joblib.load", "pandas.read_pickle", "jsonpickle.decode"), UNPICKLE),
    **dict.fromkeys(("yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"), UNPICKLE),
    **dict.fromkeys(("ssl._create_unverified_context", "ssl.CERT_NONE"), UNVERIFIED),
    **{
        f"ctypes.{name}": MEMORY
        for name in (
            *("CDLL", "PyDLL", "WinDLL", "OleDLL", "cdll", "pydll", "windll", "oledll", "pythonapi", "LibraryLoader"),
            *("memmove", "memset", "string_at", "wstring_at", "cast", "util"),
        )
    },
}
"""Errors for any reference, called or not: `run = os.system` and `map(os.system, …)` lead to calls."""

SUSPECT: dict[str, str] = {
    "tempfile.mktemp": "gives a name that another process can take first. Use tempfile.NamedTemporaryFile or mkstemp.",
    "os.fork": "copies the process with all its threads' locks. Use multiprocessing or subprocess.",
    "os._exit": "ends the process without cleaning up. Use sys.exit.",
}
"""Warnings for any reference."""

SAFE_LOADERS = frozenset({"yaml.SafeLoader", "yaml.CSafeLoader", "yaml.BaseLoader", "yaml.CBaseLoader"})
HTTP_CLIENTS = frozenset({"requests", "httpx", "aiohttp", "urllib3", "urllib"})
REQUEST_METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "request", "send"})
EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "cmd", "cmd.exe", "powershell", "pwsh"})
PRECIOUS = ("/", "~", "$HOME", "/*", "~/", "/home", "/root", "/etc", "/usr", "/var", "C:\\", "C:/")
FROM_ENVIRONMENT = ("os.environ", "os.getenv", "os.path.expanduser", "os.path.expandvars", "pathlib.Path.home")


def check_dangers(program: Program) -> CheckResult:
    """Return findings on dangerous calls. Gives no score."""
    findings = list(_in_tree(program.tree, program.names))
    unique = {(finding.message, finding.line): finding for finding in findings}
    return CheckResult(CHECK, first(unique.values()))


def _in_tree(tree: ast.AST, names: NameResolver) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for rule in CALL_RULES:
                yield from rule(node, names)
        if isinstance(node, ast.Assign):
            yield from _hostname_unchecked(node)
        if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            yield from _named(node, names)


def _named(node: ast.expr, names: NameResolver) -> Iterator[Finding]:
    for path in sorted(names.paths(node)):
        if reason := ALWAYS.get(path):
            yield error(CHECK, f"`{path}` {reason}", node.lineno)
        elif reason := SUSPECT.get(path):
            yield warning(CHECK, f"`{path}` {reason}", node.lineno)


def _shell(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    """`shell=` in a call of subprocess, unless it is a false literal."""
    function = _in_module(names.paths(call.func), "subprocess")
    value = keyword(call, "shell")
    if function and value is not None and not _is_false(value):
        yield error(CHECK, f"`{function}` with shell=… {SHELL}", call.lineno)


def _shell_by_name(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    """`subprocess.run(["sh", "-c", command])` with a command that is not a literal."""
    function, command = _in_module(names.paths(call.func), "subprocess"), _first_argument(call, "args")
    if not function or not isinstance(command, ast.List | ast.Tuple) or len(command.elts) < 3:
        return
    program, *options = [constant_text(part) for part in command.elts]
    if program and program.rpartition("/")[2] in SHELLS and options[0] in ("-c", "-lc", "/c") and options[1] is None:
        yield error(CHECK, f"`{function}` of `{program} {options[0]}` {SHELL}", call.lineno)


def _evaluation(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    """`eval` and `exec`: of data an error; code in a literal is checked like the rest of the answer."""
    for name in sorted({"eval", "exec", "compile"} & names.paths(call.func)):
        source = constant_text(call.args[0]) if call.args else None
        if source is None:
            yield error(CHECK, f"`{name}` of a non-literal executes data as code.", call.lineno)
            continue
        yield warning(CHECK, f"`{name}` of a literal: write the code itself.", call.lineno)
        yield from _in_literal(source, call.lineno)


def _in_literal(source: str, line: int) -> Iterator[Finding]:
    try:
        tree = ast.parse(source)
        findings = list(_in_tree(tree, NameResolver(tree)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for finding in findings:
        yield Finding(finding.check, finding.severity, finding.message, line)


def _dynamic_import(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    found = {"__import__", "importlib.import_module", "importlib.__import__"} & names.paths(call.func)
    if found and (not call.args or constant_text(call.args[0]) is None):
        yield error(
            CHECK, f"`{min(found)}` with a name that is not a literal can load any module. Use a literal.", call.lineno
        )


def _dynamic_attribute(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    """`getattr(os, name)`: any function of the module."""
    if "getattr" not in names.paths(call.func) or len(call.args) < 2 or constant_text(call.args[1]) is not None:
        return
    for module in sorted({"os", "sys", "subprocess", "builtins", "__builtins__", "ctypes"} & names.paths(call.args[0])):
        message = f"`getattr({module}, …)` with a name that is not a literal can return anything. Use a literal."
        yield error(CHECK, message, call.lineno)


def _yaml(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    found = {"yaml.load", "yaml.load_all"} & names.paths(call.func)
    loader = keyword(call, "Loader") or (call.args[1] if len(call.args) > 1 else None)
    if found and (loader is None or not names.paths(loader) & SAFE_LOADERS):
        yield error(CHECK, f"`{min(found)}` without SafeLoader {UNPICKLE} Or use yaml.safe_load.", call.lineno)


def _allow_pickle(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    paths = names.paths(call.func)
    value = keyword(call, "allow_pickle")
    if paths & {"numpy.load"} and value is not None and not _is_false(value):
        yield error(CHECK, f"`numpy.load` with allow_pickle {UNPICKLE}", call.lineno)
    if paths & {"torch.load"} and (flag := keyword(call, "weights_only")) is not None and _is_false(flag):
        yield error(CHECK, f"`torch.load` with weights_only=False {UNPICKLE}", call.lineno)


def _unverified(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    """`verify=False` (requests, httpx, …), `ssl=False` (aiohttp), `cert_reqs='CERT_NONE'` (urllib3)."""
    for name in ("verify", "ssl", "verify_ssl"):
        value = keyword(call, name)
        if value is not None and _is_literal(value, False) and _is_request(call, names):
            yield error(CHECK, f"`{name}=False` {UNVERIFIED}", call.lineno)
    requirement = keyword(call, "cert_reqs")
    if requirement is not None and constant_text(requirement) in ("CERT_NONE", "NONE"):
        yield error(CHECK, f"`cert_reqs` {UNVERIFIED}", call.lineno)


def _is_request(call: ast.Call, names: NameResolver) -> bool:
    """Whether the call is to an HTTP library, or to a method with a request's name, perhaps of a session."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return method in REQUEST_METHODS or any(path.split(".")[0] in HTTP_CLIENTS for path in names.paths(call.func))


def _hostname_unchecked(node: ast.Assign) -> Iterator[Finding]:
    for target in node.targets:
        if isinstance(target, ast.Attribute) and target.attr == "check_hostname" and _is_literal(node.value, False):
            yield error(CHECK, f"`check_hostname = False` {UNVERIFIED}", node.lineno)


def _deletion(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    """`shutil.rmtree` of a root, a home, or a path from the environment."""
    if "shutil.rmtree" not in names.paths(call.func) or not (target := _first_argument(call, "path")):
        return
    text = constant_text(target)
    if text is not None and (text in PRECIOUS or text.rstrip("/*") in PRECIOUS or text.startswith("~")):
        yield error(CHECK, f"`shutil.rmtree({text!r})` deletes everything there.", call.lineno)
    elif text is None and _reads_environment(target, names):
        message = "`shutil.rmtree` of a path from the environment or a home can delete anything."
        yield error(CHECK, message, call.lineno)


def _reads_environment(target: ast.expr, names: NameResolver) -> bool:
    paths = [path for node in ast.walk(target) if isinstance(node, ast.expr) for path in names.paths(node)]
    return any(path.startswith(FROM_ENVIRONMENT) for path in paths)


def _listening_everywhere(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    is_bind = isinstance(call.func, ast.Attribute) and call.func.attr == "bind"
    address = call.args[0] if is_bind and call.args else keyword(call, "host")
    if isinstance(address, ast.Tuple) and address.elts:
        address = address.elts[0]
    elif is_bind:
        return
    if address is not None and constant_text(address) in EVERYWHERE:
        yield warning(
            CHECK, "It listens on all interfaces. Use 127.0.0.1 unless other hosts must reach it.", call.lineno
        )


def _debug_server(call: ast.Call, names: NameResolver) -> Iterator[Finding]:
    value = keyword(call, "debug")
    is_run = isinstance(call.func, ast.Attribute) and call.func.attr == "run"
    if is_run and value is not None and _is_literal(value, True):
        yield warning(CHECK, "`run(debug=True)` gives every caller a console. Remove it in production.", call.lineno)


Rule = Callable[[ast.Call, NameResolver], Iterator[Finding]]
CALL_RULES: tuple[Rule, ...] = (
    *(_shell, _shell_by_name, _evaluation, _dynamic_import, _dynamic_attribute, _yaml, _allow_pickle),
    *(_unverified, _deletion, _listening_everywhere, _debug_server),
)


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """Return the value of a keyword argument, also from `**{...}` with literal keys."""
    for argument in call.keywords:
        if argument.arg == name:
            return argument.value
        if argument.arg is None and isinstance(argument.value, ast.Dict):
            for key, value in zip(argument.value.keys, argument.value.values, strict=True):
                if key is not None and constant_text(key) == name:
                    return value
    return None


def _first_argument(call: ast.Call, name: str) -> ast.expr | None:
    return call.args[0] if call.args else keyword(call, name)


def _in_module(paths: frozenset[str], module: str) -> str | None:
    return min((path for path in paths if path.startswith(f"{module}.")), default=None)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def _is_literal(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
