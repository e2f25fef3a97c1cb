"""`kairos provider`: add, test, list, set-key, remove, rotate-master-key. `ollama.py` adds more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.cli import output
from kairos.cli.client import Client
from kairos.cli.context import Json, context_of
from kairos.errors import InvalidInput, NotFound
from kairos.text_files import read_text_file

app = typer.Typer(help="Providers of models, stored with their keys and known to every daemon.", no_args_is_help=True)

SHARED, OWN = "/api/providers", "/api/project/providers"
LONGEST_KEY = 64 * 1024
SHOWN_MODELS = 30

Which = Annotated[str, typer.Argument(help="Name or id.", metavar="PROVIDER")]
Own = Annotated[bool, typer.Option("--own", help="The active project's own providers; without it, the shared ones.")]
Kind = Annotated[
    str,
    typer.Option(
        help="openai, anthropic, google, mistral, openrouter, azure, ollama, vllm, llamacpp, lmstudio or "
        "openai-compatible."
    ),
]
Address = Annotated[str | None, typer.Option(help="Address of its API; without it, the kind's usual one.")]
KeyFile = Annotated[
    str | None,
    typer.Option(
        help="File with the key; `-` is standard input. Without it, you are asked for the key.", metavar="FILE"
    ),
]
NoKey = Annotated[bool, typer.Option("--no-key", help="The server needs no key.")]
CaFile = Annotated[Path | None, typer.Option(help="Certificate of the server's own authority, in PEM.")]
HeaderFile = Annotated[
    Path | None, typer.Option(help="File with extra headers, one `Name: value` a line. Stored encrypted.")
]


@app.command()
def add(
    context: typer.Context,
    name: str,
    kind: Kind,
    address: Address = None,
    key_file: KeyFile = None,
    no_key: NoKey = False,
    ca_file: CaFile = None,
    header_file: HeaderFile = None,
    local: Annotated[
        bool | None,
        typer.Option("--local/--remote", help="Whether prompts stay on your hardware; by default, from the address."),
    ] = None,
    own: Own = False,
    json: Json = False,
) -> None:
    """Store a provider with its key. The key is read from a prompt, a file or standard input, never from an option."""
    client = context_of(context).client()
    body = {**_server(client, kind, address, key_file, no_key, ca_file, header_file), "name": name, "local": local}
    made = client.post(_path(own), body)
    if json:
        return output.show_json(made)
    output.out.print(output.line("added ", output.bold(made["name"]), f" {made['id']}"))
    output.err.print(
        f"next: kairos model add {name!r} MODEL; `kairos provider test {name!r}` lists its models", style="dim"
    )
    return None


@app.command("test")
def try_provider(
    context: typer.Context,
    provider: Annotated[
        str | None, typer.Argument(help="A stored provider; without it, --kind is needed.", metavar="PROVIDER")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Test an address before it is stored.")] = None,
    address: Address = None,
    key_file: KeyFile = None,
    no_key: NoKey = False,
    ca_file: CaFile = None,
    header_file: HeaderFile = None,
    search: Annotated[str | None, typer.Option(help="Part of the names of the models to list.")] = None,
    own: Own = False,
    json: Json = False,
) -> None:
    """Call a provider, or an address and a key that are not stored, and list its models."""
    client = context_of(context).client()
    if provider is not None:
        found = provider_of(client, provider, own)
        tested = client.get(f"{_path(own)}/{found['id']}/models", search=search)
    elif kind is not None:
        body = _server(client, kind, address, key_file, no_key, ca_file, header_file)
        tested = client.post(f"{_path(own)}/test", {**body, "search": search})
    else:
        raise InvalidInput(where="PROVIDER", problem="it is missing", remedy="Name a stored provider, or give --kind")
    if json:
        output.show_json(tested)
    elif tested["ok"]:
        _show_models(tested)
    else:
        problem = tested["problem"]
        output.err.print(output.line((f"{problem['kind']}: ", "red"), f"{problem['cause']}. {problem['remedy']}."))
    if not tested["ok"]:
        raise typer.Exit(3)


@app.command("list")
def list_providers(context: typer.Context, own: Own = False, json: Json = False) -> None:
    """List the providers with their models. Keys are never shown."""
    items = context_of(context).client().get(_path(own))["items"]
    if json:
        return output.show_json(items)
    if not items:
        return output.out.print("no providers; to add one, run: kairos provider add")
    columns = ["provider", "kind", "where", "key?", "models", "problem?", "address?"]
    rows = [
        [
            output.plain(item["name"]),
            item["kind"],
            "local" if item["local"] else "cloud",
            f"set {item['key_set_at'][:10]}" if item["has_key"] else "none",
            output.plain(", ".join(model["name"] for model in item["models"]) or "–"),
            output.plain(item["problem"] or ""),
            output.plain(item["address"]),
        ]
        for item in items
    ]
    return output.out.print(output.table(columns, rows))


@app.command("set-key")
def set_key(
    context: typer.Context, provider: Which, key_file: KeyFile = None, no_key: NoKey = False, own: Own = False
) -> None:
    """Replace a provider's key. Two seconds later, no daemon begins a call with the old one."""
    client = context_of(context).client()
    found = provider_of(client, provider, own)
    body = {"version": found["version"], "key": None if no_key else _key(key_file)}
    client.call("PATCH", f"{_path(own)}/{found['id']}", body)
    output.out.print(
        output.line("the key of ", output.bold(found["name"]), " was removed" if no_key else " was replaced")
    )


@app.command()
def remove(context: typer.Context, provider: Which, own: Own = False) -> None:
    """Remove a provider with its key and its models. Running calls continue."""
    client = context_of(context).client()
    found = provider_of(client, provider, own)
    client.call("DELETE", f"{_path(own)}/{found['id']}")
    count = len(found["models"])
    output.out.print(
        output.line("removed ", output.bold(found["name"]), f" and {count} model{'' if count == 1 else 's'}")
    )


@app.command("rotate-master-key")
def rotate_master_key(context: typer.Context, json: Json = False) -> None:
    """Encrypt all stored keys with the newest master key; a new one is made if Kairos keeps them in its data folder."""
    result = context_of(context).client().post(f"{SHARED}/rotate-master-key")
    if json:
        return output.show_json(result)
    made = "new" if result["added"] else "newest"
    output.out.print(
        f"{result['rewrapped']} keys were encrypted again with the {made} master key {result['master_key']}"
    )
    if result["unreadable"]:
        output.err.print(f"{result['unreadable']} cannot be decrypted; see `kairos provider list`", style="red")
        raise typer.Exit(1)
    return None


def provider_of(client: Client, wanted: str, own: bool) -> dict[str, Any]:
    """The provider of this name or id. Raises `NotFound`."""
    items = client.get(_path(own))["items"]
    for item in items:
        if wanted in (item["name"], item["id"]):
            return item
    raise NotFound(what="provider", id=wanted)


def path_of(provider: dict[str, Any], own: bool) -> str:
    """The path of a provider's endpoint."""
    return f"{_path(own)}/{provider['id']}"


def _path(own: bool) -> str:
    return OWN if own else SHARED


def _server(
    client: Client,
    kind: str,
    address: str | None,
    key_file: str | None,
    no_key: bool,
    ca_file: Path | None,
    header_file: Path | None,
) -> dict[str, Any]:
    """The body of a request with an address and what its requests carry."""
    facts = next((item for item in client.get(f"{SHARED}/kinds")["items"] if item["kind"] == kind), None)
    asks = key_file is not None or (not no_key and (facts is None or facts["needs_key"]))
    return {
        "kind": kind,
        "address": address,
        "key": _key(key_file) if asks else None,
        "headers": _headers(header_file),
        "ca": read_text_file(ca_file) if ca_file else None,
    }


def _key(file: str | None) -> str:
    """The key from a file, standard input or a prompt. Raises `InvalidInput`."""
    if file == "-":
        key = sys.stdin.read(LONGEST_KEY)
    elif file is not None:
        key = read_text_file(Path(file))
    elif sys.stdin.isatty():
        key = str(typer.prompt("Key", hide_input=True, err=True))
    else:
        raise InvalidInput(
            where="key", problem="there is no terminal to ask for it", remedy="Use --key-file FILE, `-` or --no-key"
        )
    if not key.strip():
        raise InvalidInput(where="key", problem="it is empty", remedy="Give the key, or --no-key")
    return key.strip()


def _headers(file: Path | None) -> dict[str, str]:
    headers = {}
    for number, line in enumerate(read_text_file(file).splitlines() if file else [], 1):
        name, colon, value = line.partition(":")
        if line.strip() and not colon:
            raise InvalidInput(where=f"{file}, line {number}", problem="it is not `Name: value`", remedy="Correct it")
        if line.strip():
            headers[name.strip()] = value.strip()
    return headers


def _show_models(tested: dict[str, Any]) -> None:
    rows = [
        [
            output.plain(model["name"]),
            "unknown" if model["context"] is None else str(model["context"]),
            "unknown" if model["capabilities"] is None else ", ".join(model["capabilities"]) or "–",
            _price(model["price"]),
            output.plain(", ".join(model["added"])),
        ]
        for model in tested["models"][:SHOWN_MODELS]
    ]
    output.out.print(output.table(["model", "context#", "capabilities?", "$/M in, out?", "added as?"], rows))
    if tested["total"] > len(rows):
        output.err.print(f"{tested['total'] - len(rows)} more; narrow them down with --search", style="dim")


def _price(price: dict[str, Any] | None) -> str:
    if price is None:
        return "unknown"
    return f"{price['input']:g}, {price['output']:g} ({price['at'] or 'no date'})"
