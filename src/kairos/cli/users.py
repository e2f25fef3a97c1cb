"""`kairos user`: list accounts, and create password reset links."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer

from kairos.cli import output
from kairos.cli.client import LOCAL_SECRET, Client, daemon_address
from kairos.cli.context import Json, context_of
from kairos.cli.credentials import CredentialFile, StoredCredential
from kairos.errors import KairosError

app = typer.Typer(help="The accounts of the installation, for operators.", no_args_is_help=True)


@app.command("list")
def list_users(context: typer.Context, json: Json = False) -> None:
    """List all accounts. For operators, and for users who can read the daemon's data folder."""
    with _operator(context) as client:
        items = client.get("/api/users")["items"]
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
    """Print a one-time link to set a new password. For operators, and for users who can read the data folder.

    Opening the link and setting a password ends the account's sessions and its other links.
    """
    with _operator(context) as client:
        answer = client.post("/api/users/reset-link", {"email": email})
    if json:
        return output.show_json(answer)
    output.out.print(answer["link"], soft_wrap=True, markup=False, highlight=False)
    output.err.print(f"valid once, until {output.plain(answer['expires_at'])}", style="dim")


class _InMemory(CredentialFile):
    """A session that is not saved and ends with the command."""

    def __init__(self) -> None:
        self.credential: StoredCredential | None = None

    def get(self, address: str) -> StoredCredential | None:
        return self.credential

    def put(self, address: str, credential: StoredCredential) -> None:
        self.credential = credential

    def remove(self, address: str) -> None:
        self.credential = None


@contextmanager
def _operator(context: typer.Context) -> Iterator[Client]:
    """A client for the first operator if the data folder is readable, in a session that ends with the block; otherwise
    for the signed-in user."""
    client, folder = context_of(context).client(), context_of(context).settings().data_dir
    if daemon_address(folder) != client.address or not os.access(folder / LOCAL_SECRET, os.R_OK):
        yield client
        return
    session = _InMemory()
    operator = Client(client.address, folder, session)
    try:
        yield operator
    finally:
        if session.credential:
            with suppress(KairosError):  # the session expires anyway, and the error would hide that of the block
                operator.post("/api/auth/logout")
