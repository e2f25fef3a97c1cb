"""The dashboard in a browser: every page, both colour schemes, phone width, the keyboard, two people at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, FilePayload, expect

from kairos.agents.checks.requested import in_order
from kairos.embedded import Addresses
from tests.e2e.demo import PASSWORD, Demo, PersonWithData, demo
from tests.kit.browser import Visitor

SECTIONS = ("project", "members", "invitations", "keys", "config", "sessions")


@pytest.fixture(scope="module")
async def company(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """A daemon with two projects, shared by all tests of this file."""
    folder: Path = tmp_path_factory.mktemp("company")
    async with demo(addresses, folder) as company:
        yield company


def pages(person: PersonWithData) -> dict[str, str]:
    """The path of every page of a project, by the name of its screenshot."""
    settings = {f"settings-{section}": f"/settings/{section}" for section in SECTIONS}
    tasks = {"task-approved": person.tasks[0], "task-edited": person.tasks[1], "task-rejected": person.tasks[2]}
    return {
        "overview": "/",
        "tasks": "/tasks",
        **{name: f"/tasks/{task_id}" for name, task_id in tasks.items()},
        "agents": "/agents",
        "models": "/models",
        "models-add": "/models/add",
        "provider": f"/models/providers/{person.provider}?own=true",
        "model": "/models/details?name=large",
        "learning": "/learning",
        "learning-label": "/learning/label",
        "learning-dataset": "/learning/dataset",
        "learning-row": f"/learning/dataset/{person.samples[-1]}",
        "learning-adapter": f"/learning/adapters/{person.adapter.id}",
        "learning-run": f"/learning/runs/{person.adapter.id}",
        "audit": "/audit",
        **settings,
    }


@pytest.mark.timeout(240)
async def test_every_page_fits_the_window_and_has_no_serious_axe_violation(browser: Browser, company: Demo):
    faults: dict[str, list[str]] = {}

    async def examine(name: str) -> None:
        async for appearance in ada.appearances():
            faults[f"{name}-{appearance}"] = await ada.faults()
            await ada.screenshot(f"{name}-{appearance}")
            excess = await ada.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert excess <= 0, f"{name}-{appearance} is {excess} px wider than the window"

    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.page.goto(f"{company.address}/sign-in")
        await ada.settled()
        await examine("sign-in")
        await ada.sign_in(company.ada.email, PASSWORD)
        for name, path in pages(company.ada).items():
            await ada.open(path)
            await expect(ada.page.get_by_text("Page not found")).to_have_count(0)
            await examine(name)
        assert ada.errors == []
        assert ada.foreign == [], "a page sent requests to another host"
    assert {name: found for name, found in faults.items() if found} == {}


async def test_no_page_contains_data_of_another_project(browser: Browser, company: Demo):
    """Ada and Ben are signed in at the same time. The pages of each contain their own marker and never the other's."""
    async with (
        Visitor.in_new_context(browser, company.address) as ada,
        Visitor.in_new_context(browser, company.address) as ben,
    ):
        for visitor, person, other in ((ada, company.ada, company.ben), (ben, company.ben, company.ada)):
            await visitor.authenticate(person.email, PASSWORD)
            pages_with_marker = 0
            for path in pages(person).values():
                await visitor.open(path)
                text = await visitor.text()
                assert other.marker not in text, path
                assert other.project_id not in text, path
                pages_with_marker += person.marker in text
            assert pages_with_marker > 5, "pages do not contain the marker of their own project"
            await visitor.page.goto(f"{company.address}/tasks/{other.tasks[0]}")
            await expect(visitor.page.get_by_role("alert")).to_contain_text(other.tasks[0])
            assert other.marker not in await visitor.text()


async def test_model_page_shows_what_the_router_does_and_asks_the_model(browser: Browser, company: Demo):
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.authenticate(company.ada.email, PASSWORD)
        await ada.open("/models")
        page, main = ada.page, ada.page.get_by_role("main")
        await page.get_by_role("article", name="small", exact=True).get_by_role("link", name="small").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("small")
        await expect(main).to_contain_text("From file")
        await expect(main).to_contain_text("The circuit breaker is closed")
        await expect(page.get_by_role("img", name="Calls by period")).to_be_visible()
        routing = page.get_by_role("region", name="What the router does with it")
        code = routing.get_by_role("group").filter(has_text="code")
        await expect(code).to_contain_text(re.compile("Chosen|Not chosen"))
        await expect(code).to_contain_text("of recent calls")
        results = page.get_by_role("region", name="Results by task type")
        await expect(results.get_by_role("row").filter(has_text="code")).to_be_visible()
        await page.get_by_role("combobox", name="Period", exact=True).select_option("1")
        await expect(page.get_by_role("img", name="Calls by period")).to_be_visible()
        await page.get_by_label("Prompt for small").fill("Write it on the page (aurora)")
        await page.get_by_role("button", name="Ask small").click()
        await expect(page.get_by_role("region", name="Answer", exact=True)).to_contain_text(
            "def median", timeout=20_000
        )
        assert await ada.faults() == []
        await ada.screenshot("model-asked")
        assert ada.errors == []


async def test_page_of_an_unknown_model_leads_back(browser: Browser, company: Demo):
    """The name is part of the address, whatever it contains, also when the page is loaded from it."""
    name = "vendor/../gone-2.5:7b@x&days=7/history"
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.authenticate(company.ada.email, PASSWORD)
        await ada.open(f"/models/details?{urlencode({'name': name})}")
        await expect(ada.page.get_by_role("main")).to_contain_text(f"No model is named {name}")
        assert await ada.faults() == []
        await ada.screenshot("model-gone")
        await ada.page.get_by_role("link", name="All models").click()
        await expect(ada.page.get_by_role("article", name="small", exact=True)).to_be_visible()
        await ada.open("/models/details")
        await expect(ada.page).to_have_url(f"{company.address}/models")
        assert ada.errors == []


async def test_project_is_created_in_the_dialog_and_selected(browser: Browser, company: Demo):
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.sign_in(company.ada.email, PASSWORD)
        await ada.page.get_by_role("button", name=company.ada.project).click()
        await ada.screenshot("selector")
        await ada.page.get_by_role("menuitem", name="Create project").click()
        await ada.page.get_by_role("dialog").get_by_role("textbox").fill("Playground")
        await ada.screenshot("create-project")
        await ada.page.keyboard.press("Enter")
        await expect(ada.page.get_by_role("button", name="Playground")).to_be_visible()
        await ada.open("/tasks")
        assert company.ada.marker not in (await ada.page.inner_text("main"))
        await ada.page.get_by_role("button", name="Playground").click()
        await ada.page.get_by_role("menuitemradio", name=company.ada.project).click()
        await expect(ada.page.locator("main")).to_contain_text(company.ada.marker)


async def test_import_lists_every_refused_row_with_its_reason(browser: Browser, company: Demo):
    rows = [
        '{"messages": [{"role": "user", "content": "Capital of Norway?"}, {"role": "assistant", "content": "Oslo"}]}',
        '{"prompt": "A prompt alone"}',
        "no JSON",
    ]
    file: FilePayload = {"name": "rows.jsonl", "mimeType": "text/plain", "buffer": "\n".join(rows).encode()}
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.authenticate(company.ada.email, PASSWORD)
        await ada.open("/learning/dataset")
        await ada.page.get_by_role("button", name="Import").click()
        dialog = ada.page.get_by_role("dialog")
        await dialog.get_by_label("File").set_input_files(file)
        await dialog.get_by_role("button", name="Import").click()
        await expect(dialog.get_by_role("status")).to_contain_text("1 new sample")
        for refusal in ("2 samples refused", "Line 2: it has a `prompt`", "Line 3: it is not JSON"):
            await expect(dialog.get_by_role("status")).to_contain_text(refusal)
        assert await ada.faults() == []
        await ada.screenshot("import-dialog")
        await dialog.get_by_text("Close", exact=True).click()
        await expect(ada.page.get_by_role("main")).to_contain_text("Capital of Norway?")
        assert ada.errors == []


async def test_two_tabs_keep_different_projects(browser: Browser, company: Demo):
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.sign_in(company.ada.email, PASSWORD)
        await ada.page.get_by_role("button", name=company.ada.project).click()
        await ada.page.get_by_role("menuitem", name="Create project").click()
        await ada.page.get_by_role("dialog").get_by_role("textbox").fill("Second tab")
        await ada.page.keyboard.press("Enter")
        await expect(ada.page.get_by_role("button", name="Second tab")).to_be_visible()
        second_tab = await ada.context.new_page()
        await second_tab.goto(company.address)
        await second_tab.get_by_role("button", name="Second tab").click()
        await second_tab.get_by_role("menuitemradio", name=company.ada.project).click()
        await expect(second_tab.get_by_role("button", name=company.ada.project)).to_be_visible()
        await ada.page.reload()
        await expect(ada.page.get_by_role("button", name="Second tab")).to_be_visible()


async def test_task_is_submitted_and_labelled_by_keyboard(browser: Browser, company: Demo):
    """`c` opens the form and Ctrl+Enter submits it. `r` rejects the answer, Undo withdraws the label, `a` accepts."""
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.authenticate(company.ada.email, PASSWORD)
        await ada.open("/tasks")
        # The button is shown only once the permissions are loaded.
        await expect(ada.page.get_by_role("button", name="New task")).to_be_visible()
        await ada.page.keyboard.press("c")
        dialog = ada.page.get_by_role("dialog")
        await dialog.get_by_role("textbox").first.fill("Write by keyboard (aurora)")
        await ada.screenshot("submit")
        await ada.page.keyboard.press("Control+Enter")
        await expect(dialog).to_be_hidden()
        await ada.open("/tasks")
        await ada.page.get_by_role("link", name="Write by keyboard").click()
        await expect(ada.page.locator("main")).to_contain_text("Succeeded", timeout=20_000)
        await expect(ada.page.locator("main")).to_contain_text("def median")
        await ada.page.keyboard.press("r")
        await expect(ada.page.get_by_text("sent in a few seconds")).to_be_visible()
        await ada.page.get_by_role("button", name="Undo").click()
        await expect(ada.page.get_by_text("sent in a few seconds")).to_be_hidden()
        await ada.page.keyboard.press("a")
        await ada.page.reload()  # leaving the page sends the pending label
        await expect(ada.page.locator("main")).to_contain_text("Accepted")


async def test_form_offers_every_registered_check(browser: Browser, company: Demo):
    """The fields are built from the schemas of the checks; an invalid value is shown at its field and not sent."""
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.authenticate(company.ada.email, PASSWORD)
        await ada.open("/tasks")
        await ada.page.get_by_role("button", name="New task").click()
        dialog = ada.page.get_by_role("dialog")
        await dialog.get_by_role("textbox").first.fill("Write by form (borealis)")
        await dialog.get_by_text("Checks", exact=True).click()
        for label in (check.label.en for check in in_order()):
            await expect(dialog.get_by_label(label)).to_be_visible()
        await dialog.get_by_label("JSON Schema").fill("{")
        await dialog.get_by_role("button", name="Submit").click()
        await expect(dialog.get_by_text("This is not a valid JSON object.")).to_be_visible()
        await dialog.get_by_label("JSON Schema").fill("")
        await dialog.get_by_label("Required texts").fill("def median\n\nreturn")
        await dialog.get_by_role("button", name="Submit").click()
        await expect(dialog).to_be_hidden()
        await ada.page.get_by_role("link", name="Write by form").click()
        await expect(ada.page.locator("dl.checks")).to_contain_text('"def median",')


async def test_form_shows_that_the_checks_cannot_be_loaded(browser: Browser, company: Demo):
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.authenticate(company.ada.email, PASSWORD)
        await ada.page.route("**/api/checks", lambda route: route.abort())
        await ada.open("/tasks")
        await ada.page.get_by_role("button", name="New task").click()
        dialog = ada.page.get_by_role("dialog")
        await dialog.get_by_text("Checks", exact=True).click()
        await expect(dialog.get_by_role("alert")).to_be_visible()
        await ada.page.unroute("**/api/checks")
        await dialog.get_by_role("button", name="Retry").click()
        await expect(dialog.get_by_label("Required texts")).to_be_visible()


async def test_samples_are_labelled_by_keyboard(browser: Browser, company: Demo):
    """`g l` opens the page, `2` corrects, Ctrl+Enter saves and approves, `3` rejects, `4` skips, `u` undoes."""
    first = company.ben.samples[0]
    headers = {"Authorization": f"Bearer {company.ben.token}"}
    client = company.daemon.client()

    def row(sample_id: str) -> dict:
        return client.open("GET", f"/api/dataset/{sample_id}", headers=headers)

    async with Visitor.in_new_context(browser, company.address) as ben:
        await ben.sign_in(company.ben.email, PASSWORD)
        page, last = ben.page, ben.page.locator(".labelling-last")
        await expect(page.get_by_role("link", name="Learning")).to_be_visible()
        await page.keyboard.press("g")
        await page.keyboard.press("l")
        await page.get_by_role("link", name="Label", exact=True).click()
        await expect(page.get_by_text("No correction yet.")).to_be_visible()
        await page.keyboard.press("1")  # without effect: there is no correction to approve
        await page.keyboard.press("2")
        await page.keyboard.press("Control+End")
        await page.keyboard.type(" BREAKING")
        await expect(page.locator("ins")).to_contain_text("BREAKING")
        await page.keyboard.press("Control+Enter")
        await expect(last).to_contain_text("Approved: Draft the release note")
        assert (row(first)["state"], row(first)["corrected_output"][-8:]) == ("approved", "BREAKING")
        await expect(
            page.get_by_text("That answer was rejected")
        ).to_be_visible()  # a key applies to the sample on display
        await page.keyboard.press("3")
        await expect(last).to_contain_text("Rejected: ")
        await expect(page.get_by_text("Edited by a person")).to_be_visible()
        await page.keyboard.press("4")
        await expect(page.get_by_text("Only skipped samples are left")).to_be_visible()
        for message in ("Rejected: ", "Approved: ", "Approve correct answers"):
            await page.keyboard.press("u")
            await expect(last).to_contain_text(message)
        assert (row(first)["state"], row(first)["corrected_output"]) == ("open", None)
        await expect(page.get_by_label("Samples by state").get_by_role("link").first).to_contain_text("2")
        changed = {"version": row(first)["version"], "reason": "A colleague was faster"}
        client.open("PATCH", f"/api/dataset/{first}", changed, headers)
        await page.keyboard.press("3")
        await expect(page.get_by_role("alert")).to_contain_text("Someone else changed this sample")
        await expect(page.locator("main")).to_contain_text("A colleague was faster")
        assert row(first)["state"] == "open"
        await ben.screenshot("learning-overtaken")


async def test_language_follows_the_browser(browser: Browser, company: Demo):
    async with Visitor.in_new_context(browser, company.address, locale="tr-TR") as ada:
        await ada.authenticate(company.ada.email, PASSWORD)
        await ada.open("/")
        await expect(ada.page.get_by_role("heading", level=1)).to_have_text("Genel bakış")
        assert await ada.page.evaluate("document.documentElement.lang") == "tr"
        await ada.screenshot("overview-tr")
        await ada.open("/models/details?name=small")
        await expect(ada.page.get_by_role("heading", name="Yönlendirici bu modelle ne yapıyor")).to_be_visible()
        await ada.screenshot("model-tr")


async def test_failed_sign_in_shows_the_reason(browser: Browser, company: Demo):
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.page.goto(f"{company.address}/sign-in")
        await ada.page.locator("input[type=email], input[autocomplete=username]").first.fill(company.ada.email)
        await ada.page.locator("input[type=password]").fill("wrong")
        await ada.page.keyboard.press("Enter")
        await expect(ada.page.get_by_role("alert")).to_contain_text("E-mail or password is wrong")
        await ada.screenshot("sign-in-wrong")


async def test_invitation_link_leads_to_an_account_in_the_project(browser: Browser, company: Demo):
    headers = {"Authorization": f"Bearer {company.ada.token}"}
    invitation = company.daemon.client().open("POST", "/api/invitations", {"role": "viewer"}, headers)
    async with Visitor.in_new_context(browser, company.address) as guest:
        await guest.page.goto(invitation["link"])
        await expect(guest.page.locator("main")).to_contain_text(company.ada.project)
        await guest.page.get_by_label("E-mail").fill("guest-by-link@aurora.test")
        await guest.page.get_by_label("Name").fill("Guest")
        await guest.page.locator("input[type=password]").first.fill(PASSWORD)
        await guest.screenshot("join")
        await guest.page.keyboard.press("Enter")
        await expect(guest.page.get_by_role("button", name=company.ada.project)).to_be_visible()
        await guest.open("/tasks")
        await expect(guest.page.locator("main")).to_contain_text("release note")
        await expect(guest.page.get_by_role("button", name="New task")).to_have_count(0)


async def test_operator_sees_all_accounts_and_the_system_audit_log(browser: Browser, company: Demo):
    user = await company.daemon.ask("GET", "/api/auth/me")
    link = (await company.daemon.ask("POST", f"/api/users/{user['user_id']}/reset-link"))["link"]
    async with Visitor.in_new_context(browser, company.address) as operator:
        await operator.page.goto(link)
        await operator.page.locator("input[type=password]").first.fill("an operator's password")
        await operator.page.keyboard.press("Enter")
        await operator.page.wait_for_selector("nav")
        await operator.open("/users")
        await expect(operator.page.locator("main")).to_contain_text(company.ben.email)
        await operator.screenshot("users")
        assert await operator.faults() == []
        await operator.open("/audit?system=true")
        await expect(operator.page.locator("main")).to_contain_text(company.ben.email)
        await operator.screenshot("audit-system")
        assert await operator.faults() == []


async def test_reset_link_sets_a_password_once_and_signs_in(browser: Browser, company: Demo):
    users = (await company.daemon.ask("GET", "/api/users"))["items"]
    ben = next(user for user in users if user["email"] == company.ben.email)
    link = (await company.daemon.ask("POST", f"/api/users/{ben['id']}/reset-link"))["link"]
    async with Visitor.in_new_context(browser, company.address) as visitor:
        await visitor.page.goto(link)
        await visitor.page.locator("input[type=password]").first.fill("another long one")
        await visitor.screenshot("reset")
        await visitor.page.keyboard.press("Enter")
        await expect(visitor.page.get_by_role("button", name=company.ben.project)).to_be_visible()
        await visitor.page.goto(link)
        await visitor.page.locator("input[type=password]").first.fill("another long one")
        await visitor.page.keyboard.press("Enter")
        await expect(visitor.page.get_by_role("alert")).to_contain_text("already used")


async def test_setting_is_refused_changed_and_reset(browser: Browser, company: Demo):
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.authenticate(company.ada.email, PASSWORD)
        await ada.open("/settings/config")
        page = ada.page
        await page.get_by_role("searchbox", name="Search", exact=True).fill("project.weight")
        change = page.get_by_role("button", name="Change project.weight")
        row = page.get_by_role("region", name="project", exact=True).get_by_role("listitem")
        await change.click()
        await page.get_by_role("textbox", name="Value").fill("99")
        await page.get_by_role("textbox", name="Reason").fill("a big week")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("less than or equal to 10")).to_be_visible()
        await page.get_by_role("textbox", name="Value").fill("2")
        await page.get_by_role("button", name="Save").click()
        await expect(row.get_by_text("set here")).to_be_visible()
        await expect(page.get_by_text("a big week")).to_be_visible()
        await change.click()
        await page.get_by_role("button", name="Reset").click()
        await expect(row.get_by_text("set here")).to_have_count(0)
        assert ada.errors == []


async def test_plugin_is_configured_and_disabled_in_one_project(browser: Browser, company: Demo):
    async with Visitor.in_new_context(browser, company.address) as ada:
        await ada.authenticate(company.ada.email, PASSWORD)
        await ada.open("/agents")
        page = ada.page
        cards = page.get_by_role("list", name="Plugins").get_by_role("listitem")
        weather, broken = cards.filter(has_text="WeatherAgent"), cards.filter(has_text="broken.py")
        await expect(broken).to_contain_text("No module named 'no_such_library'")
        units = page.get_by_role("dialog").get_by_role("combobox", name="units")
        await page.get_by_role("button", name="Configure WeatherAgent").click()
        await units.select_option("fahrenheit")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.get_by_role("button", name="Configure WeatherAgent").click()
        await expect(units).to_have_value("fahrenheit")
        await page.get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="Disable WeatherAgent").click()
        await expect(weather.get_by_text("Disabled in this project")).to_be_visible()
        await page.get_by_role("button", name="Enable WeatherAgent").click()
        await expect(weather.get_by_text("Loaded")).to_be_visible()
        assert ada.errors == []
