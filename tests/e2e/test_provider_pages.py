"""The pages of stored providers in the browser: edit, conflict, remove; all new pages in every appearance."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import text

from kairos.config import Settings
from kairos.db.engine import Database, DatabaseAddresses
from kairos.tenancy import Scope, UserId, new_id
from tests.e2e.office import KEY, OTHER_KEY, WRONG_KEY, Office, add_provider, operator_in
from tests.kit.cloud_server import CloudServer
from tests.kit.conditions import eventually


async def test_provider_is_tested_changed_and_removed(browser: Browser, office: Office, cloud: CloudServer):
    """Two people edit one provider: the second one keeps the input, loads the other's version, and saves."""
    provider = await add_provider(office, cloud, "large")
    async with operator_in(browser, office) as ada:
        page = ada.page
        await ada.open("/models")
        await expect(page.get_by_role("article", name="base")).to_contain_text("From file")
        await page.get_by_role("link", name="Cloud", exact=True).click()
        await page.get_by_role("button", name="Test", exact=True).click()
        await expect(page.get_by_text("The server answers and lists 3 models.")).to_be_visible()

        await page.get_by_label("Name", exact=True).fill("Cloud of Ada")
        await page.get_by_label("New API key").fill(OTHER_KEY)
        theirs = {"version": provider["version"], "name": "Cloud of Ben"}
        await office.daemon.ask("PATCH", f"/api/providers/{provider['id']}", theirs)
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("Someone else changed this provider")
        await ada.screenshot("provider-conflict")
        assert await ada.faults() == []
        await page.get_by_role("button", name="Load the current version").click()
        await expect(page.get_by_text("Stored now: Cloud of Ben")).to_be_visible()
        await expect(page.get_by_label("New API key")).to_have_value(OTHER_KEY)
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_role("heading", name="Cloud of Ada", level=1)).to_be_visible()
        await page.get_by_role("button", name="Test", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("The server refused the key")
        assert cloud.listing_keys[-1] == OTHER_KEY

        cloud.key = OTHER_KEY
        await page.get_by_role("button", name="Add models from this provider").click()
        await page.get_by_role("checkbox", name="Choose middle").check()
        await page.get_by_role("button", name="Add 1 model").click()
        edit = page.get_by_role("button", name="Edit openai-compatible/middle")
        await edit.click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Price per million input tokens").fill("3")
        await dialog.get_by_label("Price per million output tokens").fill("-1")
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog).to_be_visible()  # the browser refuses the negative price
        await dialog.get_by_label("Price per million output tokens").fill("4")
        await dialog.get_by_label("Declared specialties").fill("code, text")
        await ada.screenshot("provider-model")
        assert await ada.faults() == []
        await dialog.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("list", name="Models")).to_contain_text("$3.00 / $4.00 per million tokens")
        await page.get_by_role("button", name="Remove large").click()
        await page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
        await expect(page.get_by_role("button", name="Edit large")).to_have_count(0)

        await page.get_by_role("button", name="Remove provider").click()
        await expect(page.get_by_role("dialog")).to_contain_text("Running calls finish.")
        await ada.screenshot("provider-remove")
        await page.get_by_role("dialog").get_by_role("button", name="Remove provider").click()
        await expect(page.get_by_role("heading", name="Models", level=1)).to_be_visible()
        await expect(page.get_by_text("No shared provider yet")).to_be_visible()
        assert (await office.daemon.ask("GET", "/api/providers"))["items"] == []
        assert ada.errors == []


async def test_key_is_removed(browser: Browser, office: Office, cloud: CloudServer):
    provider = await add_provider(office, cloud, "large")
    async with operator_in(browser, office) as ada:
        page = ada.page
        await ada.open(f"/models/providers/{provider['id']}")
        await expect(page.get_by_text("A key was set on")).to_be_visible()
        await page.get_by_label("Remove the key").check()
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_text("No key is stored.")).to_be_visible()
        await page.get_by_role("button", name="Test", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("The server wants a key")
        assert ada.errors == []


async def test_every_model_has_a_page_whatever_its_name(browser: Browser, office: Office, cloud: CloudServer):
    """Also if its name is the address of another page, or has characters with a meaning in addresses."""
    names = ("add", "providers/x", "vendor/history", "details", "..", "//a/", "a?name=b#c%2F&days=1", "true")
    await add_provider(office, cloud, *names)
    async with operator_in(browser, office) as ada:
        page = ada.page
        heading = page.get_by_role("heading", level=1)
        for name in names:
            await ada.open("/models")
            card = page.get_by_role("article", name=name, exact=True)
            await card.get_by_role("link", name=name, exact=True).click()
            await expect(heading).to_have_text(name)
            await page.reload()
            await expect(heading).to_have_text(name)
            routing = page.get_by_role("region", name="What the router does with it")
            await expect(routing).to_contain_text(re.compile("Chosen|Not chosen"))
        await page.get_by_role("combobox", name="Period", exact=True).select_option("1")
        await expect(page).to_have_url(re.compile("name=true&days=1$"))
        await expect(heading).to_have_text("true")
        assert ada.errors == []


async def lose_master_key(office: Office, provider_id: str) -> None:
    """Encrypt the key of a provider with a master key that no daemon has, as far as the daemon sees."""
    addresses = office.addresses
    at = DatabaseAddresses(addresses.database_url, addresses.migration_url, addresses.system_url)
    database = Database(at, Settings().database)
    try:
        async with database.scope(Scope(user_id=UserId(new_id()), operator=True)) as session:
            changes = "master_key = 'lost', version = version + 1, revision = revision + 1"
            await session.execute(text(f"update providers set {changes} where id = :id"), {"id": provider_id})
    finally:
        await database.close()


async def test_lost_master_key_is_named_and_entering_the_key_again_helps(
    browser: Browser, office: Office, cloud: CloudServer
):
    provider = await add_provider(office, cloud, "large")
    path = f"/api/providers/{provider['id']}"
    await lose_master_key(office, provider["id"])

    async def problem() -> str | None:
        return (await office.daemon.ask("GET", path))["problem"]

    await eventually(problem, 10, "the daemon has found that it cannot decrypt the key")
    async with operator_in(browser, office) as ada:
        page = ada.page
        await ada.open("/models")
        row = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="Cloud", exact=True))
        await expect(row).to_contain_text("cannot be decrypted")
        await ada.screenshot("models-lost-key")
        await page.get_by_role("link", name="Cloud", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("Restore the master key")
        await page.get_by_label("New API key").fill(KEY)
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_role("alert")).to_have_count(0)
        await page.get_by_role("button", name="Test", exact=True).click()
        await expect(page.get_by_text("The server answers and lists 3 models.")).to_be_visible()
        assert ada.errors == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("locale", ["en-GB", "tr-TR"])
async def test_new_pages_fit_the_window_and_have_no_serious_axe_violation(
    browser: Browser, office: Office, cloud: CloudServer, locale: str
):
    provider = await add_provider(office, cloud, "large", "small")
    await office.daemon.ask(
        "PATCH",
        f"/api/providers/{provider['id']}/models/{provider['models'][0]['id']}",
        {"price": {"input": 1, "output": 2.5}, "capabilities": ["tools"], "specialties": ["code"]},
    )
    english = locale == "en-GB"
    faults: dict[str, list[str]] = {}
    async with operator_in(browser, office, locale=locale) as ada:
        page = ada.page

        async def examine(name: str) -> None:
            async for appearance in ada.appearances():
                faults[f"{name}-{appearance}"] = await ada.faults()
                await ada.screenshot(f"{name}-{locale[:2]}-{appearance}")
                excess = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert excess <= 0, f"{name}-{appearance} is {excess} px wider than the window"

        for name, path in {
            "overview-second-model": "/",
            "models-providers": "/models",
            "provider": f"/models/providers/{provider['id']}",
            "add-models": "/models/add",
        }.items():
            await ada.open(path)
            await examine(name)
        await page.get_by_role("button", name="OpenAI-compatible" if english else "OpenAI uyumlu").click()
        await page.locator("input[type=url]").fill(cloud.base_url)
        await page.locator("input[type=password]").fill(WRONG_KEY)
        await examine("add-models-server")
        await page.locator("form button[type=submit]").click()
        await page.get_by_role("alert").wait_for()
        await examine("add-models-refused")
        await page.locator("input[type=password]").fill(KEY)
        await page.locator("form button[type=submit]").click()
        await page.locator(".table-row").first.wait_for()
        await examine("add-models-list")
        await page.locator(".picker-check").first.check()
        await page.locator(".chosen summary").click()
        await examine("add-models-chosen")
        await page.locator("form:has(.chosen) button[type=submit]").click()
        answered = page.locator(".added-model")
        await answered.get_by_role("button").click()
        await expect(answered).to_contain_text("Hello from")
        await expect(answered.get_by_role("status")).to_contain_text("Succeeded" if english else "Başarılı")
        await examine("add-models-answer")
        assert ada.errors == []
    assert {name: found for name, found in faults.items() if found} == {}
