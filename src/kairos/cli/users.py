"""`kairos user`: list accounts, and make a link for a forgotten password."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated

import typer

from kairos.cli import output
from kairos.cli.client import LOCAL_SECRET, Client, Refused, runtime
from kairos.cli.context import Json, of
from kairos.cli.credentials import Credential, CredentialFile

app = typer.Typer(help="The accounts of a Kairos, for whoever runs it.", no_args_is_help=True)


@app.command("list")
def list_users(context: typer.Context, json: Json = False) -> None:
    """List all accounts. For operators, and for whoever can read the daemon's data folder."""
    client = _operator(context)
    items = client.get("/api/users")["items"]
    _leave(client)
    if json:
        return output.show_json(items)
    rows = [
        [
            output.plain(user["email"]),
            output.plain(user["name"]),
            "operator" if user["operator"] else "",
            "disabled" if user["disabled"] else "",
        ]
        for user in items
    ]
    output.out.print(output.table(["e-mail", "name", "", ""], rows))


@app.command("reset-password")
def reset_password(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="The account's e-mail; the first account is admin@localhost.")],
    json: Json = False,
) -> None:
    """Print a one-time link that sets a new password. For operators, and for whoever can read the data folder.

    Opening the link and setting a password ends the account's sessions and its other links.
    """
    client = _operator(context)
    answer = client.post("/api/users/reset-link", {"email": email})
    _leave(client)
    if json:
        return output.show_json(answer)
    output.out.print(answer["link"], soft_wrap=True, markup=False, highlight=False)
    output.err.print(f"good for one use, until {output.plain(answer['expires_at'])}", style="dim")


class _InMemory(CredentialFile):
    """A session that ends with the command and is saved nowhere."""

    def __init__(self) -> None:
        self.kept: Credential | None = None

    def get(self, address: str) -> Credential | None:
        return self.kept

    def put(self, address: str, credential: Credential) -> None:
        self.kept = credential

    def forget(self, address: str) -> None:
        self.kept = None


class _LocalOperator(Client):
    """The first operator, by the daemon's local secret."""


def _operator(context: typer.Context) -> Client:
    """The first operator where the daemon's data folder can be read; else whoever is signed in."""
    client, folder = of(context).client(), of(context).settings().data_dir
    if runtime(folder).get("address") == client.address and os.access(folder / LOCAL_SECRET, os.R_OK):
        return _LocalOperator(client.address, folder, _InMemory())
    return client


def _leave(client: Client) -> None:
    """End the session that this command began."""
    if isinstance(client, _LocalOperator):
        with suppress(Refused):
            client.post("/api/auth/logout")
