"""Models are added in the browser: from one model to three, bad input, local servers, and where the key is."""

from __future__ import annotations

import asyncio
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, Response, expect

from tests.e2e.demo import PASSWORD, Person, sign_up
from tests.e2e.office import KEY, OTHER_KEY, WRONG_KEY, Office, fill_server, operator_in
from tests.kit.any_server import AnyServer
from tests.kit.browser import Visitor
from tests.kit.cloud_server import CloudServer
from tests.kit.providers import dump

SECRETS = (KEY, OTHER_KEY, WRONG_KEY)
MANY = 3000


class Traffic:
    """What a browser sent and received."""

    def __init__(self, page: Page) -> None:
        self.addresses: list[str] = []
        self._bodies: list[asyncio.Task[str]] = []
        page.on("request", lambda request: self.addresses.append(request.url))
        page.on("response", self._read)

    def _read(self, response: Response) -> None:
        if "/api/" in response.url:
            self._bodies.append(asyncio.ensure_future(self._text(response)))

    async def _text(self, response: Response) -> str:
        try:
            return f"{response.url} {await response.all_headers()} {await response.text()}"
        except Exception:  # the page was left before the body arrived, or there is none
            return ""

    async def responses(self) -> str:
        return "\n".join(await asyncio.gather(*self._bodies))


def unpacked(archive: Path) -> str:
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes()), mode="r:gz") as tar:
        members = [tar.extractfile(member) for member in tar.getmembers()]
        return "\n".join(member.read().decode() for member in members if member)


async def decision_of(page: Page) -> list[str]:
    """The candidates in "Why this model", on the page of a task."""
    why = page.get_by_role("region", name="Why this model")
    await why.get_by_text("Terms as numbers").click()
    return await why.get_by_role("rowheader").all_inner_texts()


@pytest.mark.timeout(180)
async def test_second_and_third_model_are_added_in_the_browser_alone(
    browser: Browser, office: Office, cloud: CloudServer, tmp_path: Path
):
    """From one model to a task that was routed among three. The key is nowhere but in the encrypted column."""
    async with operator_in(browser, office) as ada:
        page, traffic = ada.page, Traffic(ada.page)
        await ada.open("/")
        await page.get_by_role("link", name="Add a second model").click()
        await expect(page.get_by_role("heading", name="Add models", level=1)).to_be_visible()
        await page.get_by_role("button", name="OpenAI-compatible").click()
        await expect(page.get_by_role("heading", name="Address and key")).to_be_focused()
        await fill_server(page, "Cloud", cloud.base_url, WRONG_KEY)
        await expect(page.get_by_role("alert")).to_contain_text("The server refused the key")
        await expect(page.get_by_role("alert")).to_contain_text("Copy the key again")
        assert WRONG_KEY not in await ada.text()
        await ada.screenshot("add-models-wrong-key")
        # A browser makes a space of a line break in the middle of a pasted key.
        await page.get_by_label("API key").fill(f"{KEY[:9]}\n{KEY[9:]}")
        await page.get_by_role("button", name="Test and list models").click()
        await expect(page.get_by_role("alert")).to_contain_text("Copy it again, without line breaks")
        await page.get_by_label("API key").fill(KEY)
        await page.get_by_role("button", name="Test and list models").click()
        await expect(page.get_by_role("heading", name="Models", exact=True, level=2)).to_be_focused()
        assert cloud.listing_keys == [WRONG_KEY, KEY]
        for name in ("large", "small"):
            await page.get_by_role("checkbox", name=f"Choose {name}").check()
        await page.get_by_text("Name and price").first.click()
        await page.get_by_role("spinbutton", name="Price per million input tokens").fill("1")
        await page.get_by_role("button", name="Save provider and 2 models").click()
        await expect(page.get_by_text("Enter both prices, or none.")).to_be_visible()
        await page.get_by_role("spinbutton", name="Price per million output tokens").fill("2.5")
        await ada.screenshot("add-models-chosen")
        await page.get_by_role("button", name="Save provider and 2 models").click()
        await expect(page.get_by_role("heading", name="Added: get a first answer from each")).to_be_focused()
        for name in ("openai-compatible/large", "openai-compatible/small"):
            region = page.get_by_role("region", name=name, exact=True)
            await region.get_by_role("button", name=f"Ask {name}").click()
            await expect(region).to_contain_text(f"Hello from {name.split('/')[1]}.")
            await expect(region).to_contain_text(f"Answered by {name}")
        await ada.screenshot("add-models-answer")

        await page.get_by_role("button", name="New task").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("textbox").first.fill("Which of you answers this?")
        await dialog.get_by_role("button", name="Submit").click()
        await page.get_by_role("button", name="Open", exact=True).click()
        await expect(page.locator("main")).to_contain_text("Succeeded", timeout=20_000)
        assert sorted(await decision_of(page)) == ["base", "openai-compatible/large", "openai-compatible/small"]

        storage = json.dumps(await ada.context.storage_state(indexed_db=True)) + await page.evaluate(
            "JSON.stringify({...sessionStorage, ...localStorage})"
        )
        export = tmp_path / "export.tar.gz"
        await asyncio.to_thread(office.daemon.client().download, f"/api/projects/{office.project_id}/export", export)
        places = {
            "database": dump(office.addresses),
            "log": office.daemon.log,
            "export": unpacked(export),
            "responses": await traffic.responses(),
            "addresses": "\n".join(traffic.addresses),
            "storage": storage,
            "page": await ada.text(),
            "files": "\n".join(path.read_text(errors="replace") for path in office.daemon.folder.rglob("*.toml")),
        }
        assert ada.errors == []
        assert ada.foreign == []
    assert "Cloud" in places["database"]
    assert "Cloud" in places["responses"]
    assert "Which of you" in places["export"]
    assert [(place, secret) for place, text in places.items() for secret in SECRETS if secret in text] == []


async def test_bad_addresses_are_explained_and_nothing_typed_is_lost(
    browser: Browser, office: Office, cloud: CloudServer
):
    def page_of_a_site(_: Any) -> web.Response:
        return web.Response(text="<!doctype html><title>Welcome</title>", content_type="text/html")

    def redirect(_: Any) -> web.Response:
        return web.Response(status=301, headers={"Location": "https://elsewhere.example/v1/models"})

    async with (
        operator_in(browser, office) as ada,
        AnyServer(page_of_a_site) as site,
        AnyServer(redirect) as moved,
        AnyServer(lambda _: {"data": []}) as empty,
    ):
        page, alert = ada.page, ada.page.get_by_role("alert")
        await ada.open("/models/add")
        await page.get_by_role("button", name="OpenAI-compatible").click()
        await fill_server(page, "Odd", site.address, KEY)
        await expect(alert).to_contain_text("A web page answered instead of an API")
        await expect(alert).to_contain_text("/v1")
        await fill_server(page, "Odd", f"{moved.address}/v1", KEY)
        await expect(alert).to_contain_text("elsewhere.example")
        await fill_server(page, "Odd", f"{empty.address}/v1", KEY)
        await expect(alert).to_contain_text("The server lists no models")
        await page.get_by_label("Name", exact=True).fill("Odd")
        await page.get_by_text("Certificate, headers and location").click()
        await page.get_by_label("Extra headers").fill("no colon")
        await page.get_by_role("button", name="Test and list models").click()
        await expect(page.get_by_text("Each line must have a name, a colon and a value.")).to_be_visible()
        await page.get_by_label("Extra headers").fill("X-Team: search")
        await fill_server(page, "Odd", f"{empty.address}/v1", KEY)
        await page.get_by_role("button", name="Continue without a list").click()
        assert empty.requests[-1].headers["X-Team"] == "search"
        await page.get_by_label("Not listed? Add a model by its name").fill("deployment-7")
        await page.get_by_role("button", name="Choose it").click()
        await page.get_by_role("button", name="Change the address or key").click()
        await expect(page.get_by_role("textbox", name="Address")).to_have_value(f"{empty.address}/v1")
        await expect(page.get_by_label("API key")).to_have_value(KEY)
        await page.get_by_role("button", name="Test and list models").click()
        await page.get_by_role("button", name="Continue without a list").click()
        await page.get_by_text("Name and price").click()
        await page.get_by_label("Name in Kairos").fill("base")  # taken by kairos.toml
        await page.get_by_role("button", name="Save provider and 1 model").click()
        await expect(page.get_by_text("The provider Odd is saved; its models are not.")).to_be_visible()
        await expect(alert).to_contain_text("base")
        await page.get_by_label("Name in Kairos").fill("mine")
        await page.get_by_role("button", name="Add 1 model").click()
        await expect(page.get_by_role("heading", name="Added: get a first answer")).to_be_focused()
        ask = page.get_by_role("region", name="mine", exact=True)
        await ask.get_by_role("button", name="Ask mine").click()
        await expect(ask.get_by_role("alert")).to_be_visible()  # the server answers every chat with an empty list
        assert ada.errors == []


async def test_thousands_of_models_are_searched_on_the_server(browser: Browser, office: Office, cloud: CloudServer):
    listing = {"data": [{"id": f"model-{n:04}", "context_length": 4096} for n in range(MANY)]}
    async with operator_in(browser, office) as ada, AnyServer(lambda _: listing) as server:
        page = ada.page
        await ada.open("/models/add")
        await page.get_by_role("button", name="OpenAI-compatible").click()
        await fill_server(page, "Many", f"{server.address}/v1", KEY)
        await expect(page.get_by_text("The first 1,000 of 3,000 models.")).to_be_visible()
        assert await page.get_by_role("row").count() < 60, "only the visible rows are in the document"
        await page.get_by_role("searchbox", name="Search models").fill("model-0500")
        await page.get_by_role("checkbox", name="Choose model-0500").check()
        await page.get_by_role("searchbox", name="Search models").fill("MODEL-2999")
        await page.get_by_role("button", name="Search on the server").click()
        await page.get_by_role("checkbox", name="Choose model-2999").check()
        await ada.screenshot("add-models-many")
        await page.get_by_role("button", name="Save provider and 2 models").click()
        await expect(page.get_by_role("heading", name="Added: get a first answer from each")).to_be_focused()
        [provider] = (await office.daemon.ask("GET", "/api/providers"))["items"]
        assert [(model["upstream"], model["context"]) for model in provider["models"]] == [
            ("model-0500", 4096),
            ("model-2999", 4096),
        ]
        assert ada.errors == []


async def test_local_server_is_offered_with_one_click(browser: Browser, office: Office, cloud: CloudServer):
    async with operator_in(browser, office) as ada:
        page, base = ada.page, f"{office.ollama.address}/v1"
        await ada.open("/models/add")
        await page.get_by_role("button", name=f"Use {base}").click()
        await page.get_by_role("checkbox", name="Choose llama3.2:3b").check()
        await page.get_by_text("Name and price").click()
        await page.get_by_role("spinbutton", name="Price per hour of use").fill("0.4")
        await page.get_by_role("button", name="Save provider and 1 model").click()
        await expect(page.get_by_role("heading", name="Added: get a first answer")).to_be_focused()
        [provider] = (await office.daemon.ask("GET", "/api/providers"))["items"]
        assert (provider["kind"], provider["address"], provider["local"]) == ("ollama", base, True)
        assert [(m["name"], m["price_per_hour"]) for m in provider["models"]] == [("ollama/llama3.2:3b", 0.4)]
        await page.get_by_role("button", name="Add another provider").click()
        await expect(page.get_by_role("link", name="Already added")).to_be_visible()
        assert ada.errors == []


async def test_owner_adds_a_provider_for_the_project_only(browser: Browser, office: Office, cloud: CloudServer):
    """An owner who is no operator sees neither local servers nor shared providers. A viewer may not add models."""
    owner: Person = await sign_up(office.daemon, "Ada", "Own", "cedar")
    async with Visitor.in_new_context(browser, office.address) as ada:
        page = ada.page
        await ada.sign_in(owner.email, PASSWORD)
        await ada.open("/models/add")
        await expect(page.get_by_text("Found on this machine")).to_have_count(0)
        await page.get_by_role("button", name="OpenAI-compatible").click()
        await fill_server(page, "Ours", "http://10.0.0.1/v1", KEY)
        await expect(page.get_by_role("alert")).to_contain_text("providers.private_hosts")
        await fill_server(page, "Ours", cloud.base_url, KEY)
        await page.get_by_role("checkbox", name="Choose small").check()
        await page.get_by_role("button", name="Save provider and 1 model").click()
        name = f"openai-compatible/small@{owner.project_id.replace('-', '')[-8:]}"
        ask = page.get_by_role("region", name=name, exact=True)
        await ask.get_by_role("button", name=f"Ask {name}").click()
        await expect(ask).to_contain_text("Hello from small.")
        await page.get_by_role("link", name="To the provider").click()
        await expect(page).to_have_url(re.compile(r"own=true"))
        await expect(page.get_by_role("heading", name="Ours", level=1)).to_be_visible()
        await ada.open("/models")
        await expect(page.get_by_text("No shared provider yet")).to_have_count(0)
        await expect(page.get_by_role("link", name="Ours", exact=True)).to_be_visible()
        assert ada.errors == []
    assert (await office.daemon.ask("GET", "/api/providers"))["items"] == []


async def test_member_cannot_add_models_and_viewer_cannot_ask(browser: Browser, office: Office, cloud: CloudServer):
    owner = await sign_up(office.daemon, "Ben", "Own", "birch")
    client = office.daemon.client()
    invitation = client.open("POST", "/api/invitations", {"role": "viewer"}, owner.headers)
    body = {"token": invitation["link"].split("#")[1], "email": "v@birch.test", "name": "Vi", "password": PASSWORD}
    client.open("POST", "/api/auth/register", body)
    async with Visitor.in_new_context(browser, office.address) as viewer:
        await viewer.sign_in("v@birch.test", PASSWORD)
        await viewer.open("/models")
        await expect(viewer.page.get_by_role("link", name="Add models")).to_have_count(0)
        await expect(viewer.page.get_by_role("heading", name="Providers")).to_have_count(0)
        await viewer.open("/models/add")
        await expect(viewer.page.get_by_text("Only operators and owners of a project add models")).to_be_visible()
        await viewer.open("/models/providers/0197c1c8-0000-7000-8000-000000000000?own=true")
        await expect(viewer.page.get_by_text("Only operators and owners of a project add models")).to_be_visible()
        assert viewer.errors == []
