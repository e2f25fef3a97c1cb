"""Create the README's screenshots of a demo project, light and dark: python -m scripts.pictures"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.e2e.demo import PASSWORD, demo
from tests.kit.browser import Visitor, browsing
from tests.kit.engines import engines_for_tests

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"


async def shoot(folder: Path) -> None:
    async with engines_for_tests(folder / "engines") as addresses, demo(addresses, folder) as company:
        ada = company.ada
        views = {
            "tasks": "/tasks",
            "task": f"/tasks/{ada.tasks[2]}",
            "models": "/models",
            "learning": f"/learning/dataset/{ada.adapter.samples[0]}",
            "adapter": f"/learning/adapters/{ada.adapter.id}",
        }
        async with browsing() as browser:
            for scheme in ("light", "dark"):
                async with Visitor.in_new_context(browser, company.address) as visitor:
                    await visitor.page.emulate_media(color_scheme=scheme)
                    await visitor.sign_in(ada.email, PASSWORD)
                    for view, path in views.items():
                        await visitor.open(path)
                        await visitor.page.screenshot(path=FOLDER / f"{view}-{scheme}.png")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # as root, PostgreSQL runs as another user
        asyncio.run(shoot(Path(name)))


if __name__ == "__main__":
    main()
