"""The console in a real browser: its pages and actions on a local cloud, by mouse and by keyboard."""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from conftest import deployed, deployed_tiny, new_settings, put_away, stage_test_photos
from console.consoles import console_of, serving
from scones.console.app import PAGES
from scones.console.server import ConsoleServer
from scones.data.dataset import Sample, to_lines
from scones.data.labels import LabelOrigin
from scones.domain.naming import manifest_key
from scones.domain.progress import Silent
from scones.environment import save_result
from scones.model.model_file import OUT_OF_FOLD, write_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.pipeline import Pipeline
from scones.steps.approve import register
from scones.steps.classify import classify_one
from scones.steps.train import TrainingResult
from scones_local.cloud import Cloud
from tiny_model import noisy_pngs, plain_photo, tar, write_tiny_model_file

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
AXE = ROOT / ".venv" / "asl" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = ROOT / "reports" / "console"
HOSTILE = "<img src=x onerror=alert(1)>\u202e\"'&{{7*7}}.png"
LOADED = """() => !document.querySelector('.loading')
    && [...document.images].every((each) => each.complete || each.hidden || each.loading === 'lazy')"""
"""Whether a page has its parts and pictures; the network is idle half a second later."""
WIDTHS = (390, 768, 1280, 2560)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: make browser-tools installs Debian's"),
]


def stage_wrong_labels(flow: Pipeline, count: int = 12) -> None:
    """Stage training photos whose labels the tiny model contradicts: of those that it has seen, each tenth."""
    bucket, classes = flow.aws.bucket, flow.settings.classes
    samples = []
    for number, photo in list(enumerate(noisy_pngs(400, 1)))[9 : 10 * count : 10]:
        label = classes[int(np.asarray(Image.open(io.BytesIO(photo))).mean() < 128)]
        samples.append(Sample(f"{label}/{number}.png", label, "train", hashlib.sha256(photo).hexdigest()))
        bucket.put(f"data/v/train/{samples[-1].key}", photo)
    for version in ("test", "v"):
        keyed = [replace(sample, key=f"data/{version}/train/{sample.key}") for sample in samples]
        bucket.put(manifest_key(version, "train"), to_lines(keyed, bucket.name, classes))


@pytest.fixture(scope="module")
def flow(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """An environment with decisions of every kind, orders, two models and a monitoring run."""
    folder = tmp_path_factory.mktemp("console")
    with deployed_tiny(cloud, folder, guarded=True) as own:
        stage_test_photos(own)
        stage_wrong_labels(own)
        own.order(30)
        photos = [*noisy_pngs(30, 3), plain_photo(130), plain_photo(250), b"no photo"]
        arn = own._up().workflow_arn
        for number, photo in enumerate(photos):
            name = HOSTILE if number == 0 else f"photo {number}.png"
            courier = {
                "id": f"{HOSTILE} {number % 5}",
                "x_km": number % 5 - 2.0,
                "y_km": number % 3 - 1.0,
                "capacity": 2,
            }
            classify_one(own.aws, arn, own.upload(name, photo), f"seen{number}", courier if number % 3 == 0 else None)
        own.monitor()
        own.evaluate()
        save_result(
            own.aws, "train", TrainingResult("other", own._trained().model_uri, "test", own.settings.classes, {}, 0)
        )
        yield own


@pytest.fixture(scope="module")
def server(flow: Pipeline) -> Iterator[ConsoleServer]:
    """The console of that environment."""
    with serving(console_of(flow)) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Watched:
    """A signed-in page; it notes what must not happen: script errors, refused resources, requests to other places."""

    def __init__(self, context: BrowserContext, server: ConsoleServer) -> None:
        self.faults: list[str] = []
        self.page: Page = context.new_page()
        self.base = f"http://127.0.0.1:{server.port}"
        self.page.on("pageerror", lambda error: self.faults.append(f"script error: {error}"))
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        self.page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda asked: self._check(asked.url))
        self.page.goto(server.url)

    def _check(self, url: str) -> None:
        if not url.startswith((self.base, "blob:", "data:")):
            self.faults.append(f"request to {url}")

    def go(self, path: str) -> Page:
        """Load a page with all its parts."""
        self.page.goto(self.base + path)
        self.page.wait_for_function(LOADED)
        return self.page


@pytest.fixture
def watched(browser: Browser, server: ConsoleServer) -> Iterator[Watched]:
    """A visitor at a desk; at the end nothing may have gone wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="Asia/Kolkata", locale="en-GB")
    found = Watched(context, server)
    yield found
    context.close()
    assert found.faults == []


def shot(page: Page, name: str) -> None:
    """Keep a picture of the page, to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def violations(page: Page) -> list[tuple[str, str]]:
    """What axe finds that is serious or critical; its script runs beside the page's policy, as a debugger does."""
    session = page.context.new_cdp_session(page)
    script = f"{AXE.read_text()}; axe.run(document).then(found => JSON.stringify(found.violations))"
    reply: dict[str, Any] = session.send(
        "Runtime.evaluate", {"expression": script, "awaitPromise": True, "returnByValue": True}
    )
    found = json.loads(reply["result"]["value"])
    return [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]


MORE = (
    "/decision?execution=seen0",
    "/courier",
    "/jobs",
    "/confirm/rollback",
    "/confirm/down",
    "/nowhere",
    "/decisions?outcome=failed",
    "/review?of=training",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits(browser: Browser, server: ConsoleServer, scheme: str) -> None:
    """WCAG AA by axe, in both color schemes, and no page is wider than its window from 390 to 2560 pixels."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})  # type: ignore[arg-type]
    watched = Watched(context, server)
    found: list[tuple[object, ...]] = []
    for path in (*(address for address, _, _ in PAGES), *MORE):
        page = watched.go(path)
        if AXE.exists():
            found += [(path, *each) for each in violations(page)]
        for width in WIDTHS if scheme == "light" else WIDTHS[:1]:
            page.set_viewport_size({"width": width, "height": 900})
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            found += [(path, "too wide at", width)] if over > 0 else []
        page.set_viewport_size({"width": 1280, "height": 900})
        shot(page, f"{path.strip('/').translate(str.maketrans('/?=', '---')) or 'overview'}-{scheme}")
    context.close()
    assert found == []
    assert [fault for fault in watched.faults if "404" not in fault] == []


def test_the_overview_says_that_it_is_well(watched: Watched) -> None:
    """Release, accuracy, alarms, traffic and cost, each under the name that the command line uses."""
    page = watched.go("/")
    expect(page.locator("#verdict")).to_be_visible()
    for words in ("Release", "Accuracy, test photos", "Alarms", "Photos in the last 24 hours", "Cost an hour"):
        expect(page.locator("main")).to_contain_text(words)


def test_a_photo_is_tried_and_its_courier_gets_orders(watched: Watched, tmp_path: Path) -> None:
    """The workflow's states light up, then the decision, the probabilities, the reasons and the orders are shown."""
    path = tmp_path / "scooter.png"
    path.write_bytes(plain_photo(212))
    page = watched.go("/try")
    page.set_input_files("#photo", path)
    expect(page.locator("#preview")).to_be_visible()
    page.click("text=Of a courier")
    page.fill("input[name=courier]", "rider 7")
    page.click("text=Classify")
    expect(page.locator(".answer")).to_contain_text("motorcycle")
    expect(page.locator("[data-state=Dispatch]")).to_have_class("state succeeded")
    expect(page.locator("main")).to_contain_text("Orders of courier rider 7")
    expect(page.locator(".overlay")).to_be_visible()
    shot(page, "try-result")
    page.click("text=The whole record")
    page.click("text=Reproduce this decision")
    expect(page.locator("main")).to_contain_text("reproduced exactly")


def test_a_photo_is_pasted(watched: Watched) -> None:
    """From the clipboard, as a screenshot is."""
    page = watched.go("/try")
    page.evaluate(
        """async (url) => {
            const blob = await (await fetch(url)).blob(), data = new DataTransfer();
            data.items.add(new File([blob], "pasted.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }""",
        "/photo?execution=seen30",
    )
    expect(page.locator("#preview")).to_be_visible()
    page.click("text=Classify")
    expect(page.locator("h2", has_text="Result")).to_be_visible()


def test_a_photo_of_ten_megabytes_is_made_smaller_before_it_is_sent(watched: Watched, tmp_path: Path) -> None:
    """A phone's photo may be larger than the endpoint takes."""
    path = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(1).integers(180, 240, (2100, 2100, 3), np.uint8)).save(path)
    assert path.stat().st_size > 8 << 20
    page = watched.go("/try")
    page.set_input_files("#photo", path)
    expect(page.locator("#preview")).to_be_visible(timeout=20_000)
    page.click("text=Classify")
    expect(page.locator(".answer")).to_contain_text("motorcycle", timeout=20_000)


def test_what_is_no_photo_is_said_to_be_none(watched: Watched, tmp_path: Path) -> None:
    """The workflow refuses it, and the page says why."""
    path = tmp_path / "letter.png"
    path.write_bytes(b"dear courier")
    page = watched.go("/try")
    page.set_input_files("#photo", path)
    page.click("text=Classify")
    expect(page.locator("main")).to_contain_text("unreadable")


def test_names_with_markup_are_shown_as_text(watched: Watched) -> None:
    """File names and couriers' ids: nothing is run, and no right-to-left mark turns the words around it."""
    for path in ("/decisions", "/decision?execution=seen0", "/orders", "/decisions?courier=%3Cb%3Ex"):
        text = watched.go(path).content()
        assert "<img src=x" not in text
        assert "\u202e" not in watched.page.inner_text("main")
        assert "49.png" not in watched.page.inner_text("main")
    expect(watched.go("/decision?execution=seen0").locator("main")).to_contain_text("onerror=alert(1)")


def test_decisions_are_filtered_searched_paged_and_exported(watched: Watched) -> None:
    """Each filter is in the address, so it can be kept as a bookmark, and the back button returns to it."""
    page = watched.go("/decisions")
    page.select_option("select[name=outcome]", "unreadable")
    page.click("button:has-text('Show')")
    expect(page.locator(".shot").first).to_contain_text("unreadable")
    assert "outcome=unreadable" in page.url
    with page.expect_download() as download:
        page.click("text=Export as CSV")
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("recorded,execution")
    assert {line.split(",")[3] for line in lines[1:]} == {"unreadable"}
    page.fill("#search", "seen30")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("seen30")
    page.go_back()
    expect(page.locator(".shot").first).to_contain_text("unreadable")
    page = watched.go("/decisions?q=nothing+like+it")
    expect(page.locator(".empty")).to_contain_text("Nothing matches")


def test_times_are_in_the_users_zone(watched: Watched) -> None:
    """Five and a half hours from UTC; the tooltip keeps UTC."""
    page = watched.go("/decision?execution=seen0")
    shown = page.locator("main time").first
    assert "UTC" in (shown.get_attribute("title") or "")
    hour, minute = page.evaluate(
        "[...document.querySelector('main time').dateTime.matchAll(/T(\\d+):(\\d+)/g)][0].slice(1)"
    )
    local = (int(hour) * 60 + int(minute) + 330) % (24 * 60)
    expect(shown).to_contain_text(f"{local // 60:02}:{local % 60:02}")


def test_keys_open_pages_and_move_in_lists(watched: Watched) -> None:
    """Everything without a mouse."""
    page = watched.go("/")
    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.locator("h1")).to_have_text("Decisions")
    expect(page.locator(".shot").first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h2", has_text="Its way through the workflow")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("h1")).to_have_text("Decisions")


def test_a_model_is_rejected_approved_and_rolled_back_by_two_clicks_at_once(watched: Watched) -> None:
    """A click twice starts one job; what cannot be done says why, and what to do."""
    page = watched.go("/models")
    page.fill("input[name=reason]", "looks <b>odd</b>")
    page.click("button:has-text('Reject')")
    expect(page.locator("[data-job-status]")).to_have_text("done")
    page = watched.go("/models")
    expect(page.locator(".card").first).to_contain_text("rejected: looks <b>odd</b>")
    page.click("button:has-text('Approve')")
    expect(page.locator("[data-job-status]")).to_have_text("done")
    page = watched.go("/models")
    page.click("text=Roll back at once")
    expect(page.locator("main")).to_contain_text("local cloud this costs nothing")
    page.dblclick("button.stop")
    expect(page.locator("[role=alert]")).to_contain_text("there is no release to return to")


def register_another(flow: Pipeline, folder: Path, differs: int = 0) -> None:
    """Register a model that says something else of so many training photos; it waits for approval."""
    about = write_tiny_model_file(folder)
    known = OutOfFoldPredictions.load(folder / OUT_OF_FOLD)
    known.probabilities[:differs] = known.probabilities[:differs, ::-1]
    known.save(folder / OUT_OF_FOLD)
    write_model_file(folder, about, f"The model {folder.name}.\n")
    uri = flow.aws.bucket.put(f"models/{folder.name}/output/model.tar.gz", tar(folder))
    register(flow.aws, flow.settings, uri, Silent())


@pytest.fixture
def canary(cloud: Cloud, tmp_path: Path) -> Iterator[Pipeline]:
    """An environment with two instances behind its endpoint, and three registered models, of which one is live."""
    write_tiny_model_file(tmp_path / "one")
    settings = replace(new_settings(cloud, tmp_path), endpoint_instances=2, canary_percent=10, bake_seconds=2)
    own = deployed(settings, tar(tmp_path / "one"))
    register_another(own, tmp_path / "two", differs=5)
    register_another(own, tmp_path / "three")
    yield own
    put_away(own.aws)


def test_a_model_is_compared_deployed_and_left_again_and_its_environment_deleted(
    browser: Browser, canary: Pipeline
) -> None:
    """The canary is watched to its end; the endpoint returns past a rejected release; nothing is left after all."""
    with serving(console_of(canary)) as server:
        context = browser.new_context()
        watched = Watched(context, server)
        compare(watched)
        watch_deployment(watched)
        canary.approve(3)
        canary.deploy(3, now=True)
        canary.approve(2, "it confuses scooters", reject=True)
        return_to_the_first_release(watched)
        delete(watched, canary.settings.env)
        assert watched.faults == []
        context.close()


def compare(watched: Watched) -> None:
    """Models 2 and 1, on the page Models."""
    page = watched.go("/models")
    page.select_option("select[name=one]", "2")
    page.select_option("select[name=other]", "1")
    page.click("button:has-text('Compare')")
    expect(page.locator("main")).to_contain_text("On 400 training photos")
    expect(page.locator(".tile", has_text="Difference")).to_contain_text("95% interval")
    expect(page.locator("main .shot")).to_have_count(5)
    assert not AXE.exists() or violations(page) == []


def watch_deployment(watched: Watched) -> None:
    """Approve and deploy model 2; see the canary's steps on the job's page, and on the page Models."""
    page = watched.go("/models")
    page.locator(".card", has_text="Model 2").get_by_text("Approve").click()
    expect(page.locator("[data-job-status]")).to_have_text("done")
    page = watched.go("/models")
    page.locator(".card", has_text="Model 2").get_by_text("Deploy").click()
    expect(page.locator("main")).to_contain_text("local cloud this costs nothing")
    page.click("button:has-text('Deploy model 2')")
    step = re.compile(r"step 1 of 2, 10% of the requests, \d s left")
    expect(page.locator("[data-job-left]")).to_contain_text(step, timeout=60_000)
    shot(page, "canary")
    page.goto(f"{watched.base}/models")
    expect(page.locator("[data-job-lines]")).to_contain_text("step 2 of 2: 100% of the requests", timeout=60_000)
    expect(page.locator(".lead")).to_contain_text("Live: model 2, release 2", timeout=60_000)


def return_to_the_first_release(watched: Watched) -> None:
    """At once, past the second."""
    page = watched.go("/models")
    page.click("[aria-label='Return to release 1 at once']")
    expect(page.locator("main")).to_contain_text("The endpoint returns to release 1, at once: no alarm")
    assert not AXE.exists() or violations(page) == []
    page.click("button:has-text('Return to release 1')")
    expect(page.locator("[data-job-status]")).to_have_text("done", timeout=60_000)
    page.click("text=Continue")
    expect(page.locator(".lead")).to_contain_text("Live: model 1, release 1")


def delete(watched: Watched, env: str) -> None:
    """The environment's name is typed; the job ends with the teardown report."""
    page = watched.go("/resources")
    page.click("text=Delete everything")
    expect(page.locator("main")).to_contain_text("resources of environment")
    page.fill("input[name=name]", env)
    page.click("button.stop")
    expect(page.locator("[data-job-status]")).to_have_text("done", timeout=120_000)
    expect(page.locator("main")).to_contain_text("listed again: nothing is left")
    shot(page, "deleted")
    page.click("text=Continue")
    expect(page.locator("main")).to_contain_text("Nothing exists in this environment")


def test_monitoring_orders_and_costs_have_their_pages(watched: Watched) -> None:
    """Drift is checked and acknowledged, an order says why, and deleting asks for the environment's name."""
    page = watched.go("/drift")
    page.click("text=Check the traffic now")
    expect(page.locator("[data-job-status]")).to_have_text("done")
    page = watched.go("/orders")
    page.click("tbody a >> nth=0")
    expect(page.locator("#why")).to_contain_text("Couriers now, and why not")
    page.click("button:has-text('Simulate')")
    expect(page.locator("[data-job-status]")).to_have_text("done", timeout=60_000)
    page.click("text=Continue")
    expect(page.locator("section", has_text="What the classifier is worth")).to_contain_text("perfect knowledge")
    page = watched.go("/resources")
    expect(page.locator("main")).to_contain_text("Cost so far")
    page.click("text=Delete everything")
    expect(page.locator("main")).to_contain_text("an hour at AWS's prices")
    page.fill("input[name=name]", "another")
    page.click("button.stop")
    expect(page.locator("main")).to_contain_text("Nothing was done")
    watched.faults = [fault for fault in watched.faults if "400" not in fault]


def test_a_photo_that_is_gone_leaves_the_page_whole(watched: Watched, flow: Pipeline) -> None:
    """Photos expire before decisions do."""
    sample = flow.upload("gone.png", plain_photo(214))
    classify_one(flow.aws, flow._up().workflow_arn, sample, "gone")
    flow.aws.bucket.remove([sample.key])
    page = watched.go("/decision?execution=gone")
    expect(page.locator("main")).to_contain_text("The photo is gone")
    assert page.evaluate("document.querySelector('img.large').naturalWidth") > 0
    watched.faults = [fault for fault in watched.faults if "404" not in fault]


def test_ten_tabs_of_one_visitor_all_work(watched: Watched) -> None:
    """A browser opens at most six connections to one server: none of them may be kept."""
    tabs = [watched.page.context.new_page() for _ in range(10)]
    for number, tab in enumerate(tabs):
        tab.goto(watched.base + PAGES[number % len(PAGES)][0], wait_until="commit")
    for tab in tabs:
        tab.wait_for_function(LOADED)
        expect(tab.locator("h1")).to_be_visible()


@pytest.fixture(scope="module")
def review_photos(flow: Pipeline) -> None:
    """Photos that the model is not sure of, 62 of them beside those of the other tests; one courier waits."""
    arn = flow._up().workflow_arn
    unsure = [
        photo
        for photo in noisy_pngs(200, 11)
        if abs(np.asarray(Image.open(io.BytesIO(photo)), float).mean() - 128) < 20
    ]
    for number, photo in enumerate(unsure[:62]):
        sample = flow.upload(f"unsure {number}.png", photo)
        courier = {"id": "waiting", "x_km": 0.0, "y_km": 0.0, "capacity": 2} if number == 0 else None
        classify_one(flow.aws, arn, sample, f"unsure{number}", courier)


@pytest.mark.usefixtures("review_photos")
def test_sixty_photos_are_reviewed_by_keyboard(watched: Watched, flow: Pipeline) -> None:
    """Each key is one photo, with no wait between; all labels are in the store, and the courier has orders."""
    page = watched.go("/review")
    page.fill("#review-by", "ann")
    page.keyboard.press("Tab")
    expect(page.locator("#review-waits")).to_be_visible()
    shot(page, "review")
    for number in range(60):
        expect(page.locator("#review-photo")).to_be_visible()
        page.keyboard.press("12x"[number % 3])
        if number == 29:
            expect(page.locator("#review-pause")).to_be_visible()
            page.keyboard.press("Enter")
    expect(page.locator("#review")).to_have_attribute("data-kept", "60", timeout=60_000)
    labels = [label for label in flow.aws.tables.labels.all() if label.by == "ann"]
    assert len({label.photo for label in labels}) == len(labels) == 60
    assert {label.label for label in labels} == {*flow.settings.classes, "other"}
    answered = flow.reviews("answered", 100).items
    assert len(answered) == 60
    assert any(item.courier and item.orders for item in answered)


@pytest.mark.usefixtures("review_photos")
def test_an_answer_is_undone_and_a_photo_is_skipped(watched: Watched, flow: Pipeline) -> None:
    """The photo is shown again; what was withdrawn does not count."""
    page = watched.go("/review")
    page.fill("#review-by", "eve")
    page.check("#review-shown")
    expect(page.locator("#review-model")).to_contain_text("the model thought")
    page.locator("#review-photo").wait_for()
    first = page.get_attribute("#review-photo", "src")
    page.locator("h1").click()
    page.keyboard.press("1")
    page.keyboard.press("z")
    expect(page.locator("#review")).to_have_attribute("data-kept", "2", timeout=20_000)
    assert page.get_attribute("#review-photo", "src") == first
    page.keyboard.press("s")
    expect(page.locator("#review")).to_have_attribute("data-kept", "3", timeout=20_000)
    assert [label.label for label in flow.aws.tables.labels.all() if label.by == "eve"] == ["bicycle", ""]
    assert len(flow.reviews("skipped", 10).items) == 1


def test_labels_of_training_photos_are_corrected_and_confirmed_by_keyboard(watched: Watched, flow: Pipeline) -> None:
    """The same keys as in review; what was undone is asked about again, and what was skipped stays open."""
    wrong = flow.corrections().open
    page = watched.go("/review?of=training")
    page.fill("#review-by", "ann")
    page.locator("h1").click()
    page.locator("#review-photo").wait_for()
    first = flow.corrections(1).items[0]
    label = flow.settings.classes.index(first.label)
    page.keyboard.press("12"[label])
    expect(page.locator("#review-last")).to_contain_text(f"you: {first.label}, the model: {first.predicted}")
    expect(page.locator("#review-last")).to_contain_text(f"the label: {first.label}")
    for key in "sxz12":
        page.keyboard.press(key)
    expect(page.locator("#review")).to_have_attribute("data-kept", "5", timeout=20_000)
    found = flow.corrections()
    assert found.open == wrong - found.decided == wrong - 3
    assert first.photo not in {item.photo for item in found.items}
    said = [label for label in flow.aws.tables.labels.all() if label.origin is LabelOrigin.CORRECTION]
    assert [label.label for label in said] == [first.label, "other", "", *flow.settings.classes]
    assert {label.by for label in said} == {"ann"}
    shot(page, "corrections")


@pytest.mark.usefixtures("review_photos")
def test_two_reviewers_at_once_keep_both_answers(browser: Browser, server: ConsoleServer, flow: Pipeline) -> None:
    """They see the same photo and differ: both labels are kept, and the second is told what the first said."""
    contexts = [browser.new_context() for _ in range(2)]
    visitors = [Watched(context, server) for context in contexts]
    for name, visitor in zip(("kim", "lou"), visitors, strict=True):
        page = visitor.go("/review")
        page.fill("#review-by", name)
        page.locator("h1").click()
        expect(page.locator("#review-photo")).to_be_visible()
    for key, visitor in zip("12", visitors, strict=True):
        visitor.page.keyboard.press(key)
        expect(visitor.page.locator("#review")).to_have_attribute("data-kept", "1", timeout=20_000)
    expect(visitors[1].page.locator("#review-last")).to_contain_text("kim said bicycle")
    said = {label.by: label.label for label in flow.aws.tables.labels.all() if label.by in ("kim", "lou")}
    assert said == {"kim": "bicycle", "lou": "motorcycle"}
    assert [visitor.faults for visitor in visitors] == [[], []]
    for context in contexts:
        context.close()


def test_labels_of_traffic_replace_the_accuracy_on_test_photos(
    watched: Watched, flow: Pipeline, tmp_path: Path
) -> None:
    """What people said of photos that the model answered is the measured accuracy, as in `scones status`."""
    sample = flow.upload("late.png", plain_photo(214))
    flow.classify_samples([sample])
    table = tmp_path / "late.csv"
    table.write_text(f"photo,label\n{sample.sha256},motorcycle\n")
    flow.import_labels(table, "garage")
    (measured,) = (model.measured for model in flow.status().accuracy if model.measured)
    page = watched.go("/")
    tile = page.locator(".tile", has_text="Accuracy, measured")
    expect(tile.locator(".figure")).to_have_text(f"{measured.accuracy:.1%}")
    expect(tile).to_contain_text(f"{measured.labels} label")
