"""Lists the files that connect to PostgreSQL, and those that use it without a project, each with the reason."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import kairos

SOURCE = Path(kairos.__file__).parent
CONNECTION_FUNCTIONS = {"create_engine", "create_async_engine", "async_sessionmaker", "connect"}
CONNECTING_FILES = {
    "db/engine.py": "the connection pools",
    "db/schema.py": "migrations, as the owner role",
    "embedded/postgres.py": "the embedded server's own databases and roles",
}
FILES_WITHOUT_PROJECT_SCOPE = {
    "db/engine.py": "the ping",
    "tenancy.py": "its definition",
    "api/access/accounts.py": "before a user is known: by e-mail, link or token",
    "api/access/first_account.py": "before there is a user: whether one exists, and whether an operator has a password",
    "api/access/api_keys.py": "before a project is known: by the key's prefix",
    "api/routes/joining.py": "before a user is known: by the invitation's link",
    "orchestration/queue/heartbeat.py": "daemons do not belong to a project",
    "orchestration/configuration/configuration.py": "the system's configuration does not belong to a project",
    "orchestration/configuration/config_changes.py": "so does the number of its newest version",
    "orchestration/providers/master_key_rotation.py": "the number of living daemons, which belong to no project",
    "llm/catalog/stored_models.py": "the shared providers, which every daemon calls and no project owns",
    "api/routes/daemons.py": "daemons and the versions that they run do not belong to a project",
}


def files_using(names: set[str], module: str = "") -> set[str]:
    """Return the files that use one of these names of the module, by import or as its attribute."""

    def uses(node: ast.AST) -> bool:
        if isinstance(node, ast.ImportFrom):
            return bool({alias.name for alias in node.names} & names) and (node.module or "").startswith(module)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return node.attr in names and node.value.id == module
        return False

    return {name for name, nodes in named_nodes().items() if any(map(uses, nodes))}


@cache
def named_nodes() -> dict[str, list[ast.AST]]:
    """Return the imports and attributes in each file."""
    wanted = ast.ImportFrom | ast.Attribute
    return {
        str(path.relative_to(SOURCE)): [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, wanted)
        ]
        for path in SOURCE.rglob("*.py")
    }


def test_only_listed_files_open_connections():
    assert files_using(CONNECTION_FUNCTIONS, "sqlalchemy") | files_using(CONNECTION_FUNCTIONS, "psycopg") == set(
        CONNECTING_FILES
    )


def test_only_listed_files_use_the_scope_without_a_project():
    assert files_using({"NOBODY"}) | {"tenancy.py", "db/engine.py"} == set(FILES_WITHOUT_PROJECT_SCOPE)
