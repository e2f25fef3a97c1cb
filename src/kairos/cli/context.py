"""The global options of a command, and the client made from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from kairos import config
from kairos.cli.client import Client, connect
from kairos.config import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True, slots=True)
class Context:
    file: Path | None
    url: str | None

    def settings(self) -> Settings:
        return config.load(self.file)

    def client(self) -> Client:
        return connect(self.url, self.file)


def context_of(context: typer.Context) -> Context:
    found = context.find_object(Context)
    assert found is not None
    return found
