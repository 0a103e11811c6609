// A ballot of 4,096 options with names that try to be something else; a whole vote by keyboard alone; the drawn wait; every language.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { faults, go, launch, visit } from "./browser.js";
import type { Election } from "./election.js";
import { Stage } from "./stage.js";
import { at, describe, review, signIn, standing, votes } from "./voter.js";

const HOSTILE = ["<img src=x onerror=window.caught=1>", "{option} {place}", "javascript:window.caught=1", "أحمد بن عبد الله (1,000)", "שם ארוך 50% — ABC", `Z${"\u0323\u0300\u0301\u0302\u0304".repeat(18)}`, "W".repeat(200), "Ada Lovelace", "Аda Lоvelace"].map((name) => name.normalize("NFC"));
const OPTIONS = [...HOSTILE, ...Array.from({ length: 4_090 - HOSTILE.length }, (_, i) => `Option ${i + 1}`)];
const DELAY_S = 3_600;

let election: Election;
let stage: Stage;
let browser: Browser;
let codes: string[][];

before(async () => {
  const contests = `
[[contests]]
name = "<b>ليلى</b>"
method = "approval"
options = ${JSON.stringify(OPTIONS)}

[[contests]]
name = "First"
method = "ranked"
options = ["One", "Two", "Three"]

[[contests]]
name = "Only"
method = "plurality"
options = ["Left", "Right"]
`;
  const [made, launched] = await Promise.all([describe(contests, { voters: 4, delay: DELAY_S }), launch()]);
  ({ election, codes } = made);
  browser = launched;
  stage = await Stage.open(election);
});
after(async () => {
  await browser?.close();
  stage?.close();
  election?.stop();
});

/** When the device would cast; `now` lets it cast at once. */
async function castFrom(page: Page, now = false): Promise<number> {
  return page.evaluate(async ([id, at]) => {
    const wait = <T>(request: IDBRequest<T>): Promise<T> => new Promise((resolve, reject) => ((request.onsuccess = () => resolve(request.result)), (request.onerror = () => reject(request.error))));
    const store = (await wait(indexedDB.open("tallyroot", 1))).transaction("votes", "readwrite").objectStore("votes");
    const kept = (await wait(store.get(id as string))) as { castFrom: number };
    if (at !== 0) await wait(store.put({ ...kept, castFrom: at }, id as string));
    return kept.castFrom;
  }, [election.id, now ? Date.now() : 0] as const);
}

test("4,096 options are text, can be searched, and are cast as chosen, after the wait that was drawn", async () => {
  const options = { locale: "ar", viewport: { width: 360, height: 740 } };
  const { page, problems } = await visit(browser, `${stage.page}vote`, options);
  const before = Date.now();
  await signIn(page, codes.pop() ?? []);
  await at(page, "ballot").waitFor();
  const drawn = await castFrom(page);
  assert.ok(drawn >= before && drawn <= Date.now() + 1_000 * DELAY_S, String(drawn - before));
  const contest = page.locator('[data-contest="0"]');
  assert.deepEqual(await contest.locator("li bdi").allTextContents(), OPTIONS);
  assert.ok(await page.locator("bdi").evaluateAll((all) => all.every((bdi) => bdi.children.length === 0)));
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  assert.ok((await contest.locator("p.doubt").allTextContents()).some((text) => text.includes("Аda Lоvelace") && text.includes("Ada Lovelace")));
  await contest.locator('[data-option="3"]').check();
  await page.locator("#find-0").fill("option 4077");
  await contest.locator("label", { hasText: "Option 4077" }).click();
  // What is chosen stays in sight.
  assert.deepEqual(await contest.locator("li bdi").allTextContents(), [OPTIONS[3], "Option 4077"]);
  assert.deepEqual(await faults(page), []);
  await review(page);
  assert.deepEqual(await page.locator(".chosen li").allTextContents(), [OPTIONS[3], "Option 4077"]);
  await page.locator("#cast").click();
  await at(page, "waiting").waitFor();
  assert.deepEqual(await faults(page), []);
  // Nothing was sent: the voter may think again.
  await page.locator("#change").click();
  await at(page, "ballot").waitFor();
  await page.locator('[data-contest="2"] label', { hasText: "Right" }).click();
  await review(page);
  await page.locator("#cast").click();
  await at(page, "waiting").waitFor();
  assert.equal(await castFrom(page, true), drawn, "the wait is not drawn again");
  assert.ok(!stage.asked.some((path) => path.endsWith("ballots")));
  await page.reload();
  await standing(page, "recorded", "sealed").waitFor();
  stage.asked.length = 0;
  assert.equal(await castFrom(page), undefined);
  assert.equal(await page.evaluate(() => (globalThis as { caught?: number }).caught), undefined);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test("a whole vote by keyboard alone", async () => {
  const { page } = await visit(browser, `${stage.page}vote`);
  await at(page, "signIn").waitFor();
  await go(page, "code-0");
  await page.keyboard.type(codes.pop()?.[0] ?? "");
  await page.keyboard.press("Enter");
  await at(page, "ballot").waitFor();
  await page.waitForFunction(() => document.activeElement?.tagName === "H2");
  await go(page, "find-0");
  await page.keyboard.type("option 17");
  await page.waitForFunction(() => document.querySelectorAll('[data-contest="0"] li').length < 200);
  await page.keyboard.press("Control+A");
  await page.keyboard.type("option 1777");
  await page.waitForFunction(() => document.querySelectorAll('[data-contest="0"] li').length === 1);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  await go(page, "Add Three");
  await page.keyboard.press("Enter");
  // The focus follows what was moved.
  await page.waitForFunction(() => document.activeElement?.closest("li")?.textContent?.includes("Three"));
  await go(page, "Add One");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Move One up");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("[data-contest-said]").textContent(), "One is now number 1.");
  await go(page, "review");
  await page.keyboard.press("Enter");
  await page.locator("#cast").waitFor();
  assert.deepEqual(await page.locator(".chosen li").allTextContents(), ["Option 1777", "One", "Three"]);
  await go(page, "cast");
  await page.keyboard.press("Enter");
  await at(page, "waiting").waitFor();
  await castFrom(page, true);
  const before = votes(election);
  await page.reload();
  await standing(page, "sealed").waitFor();
  assert.equal(votes(election), before + 1);
  await go(page, "download");
  await page.context().close();
});

test("options are dragged into an order", async () => {
  const { page } = await visit(browser, `${stage.page}vote`);
  await signIn(page, codes.pop() ?? []);
  await at(page, "ballot").waitFor();
  const contest = page.locator('[data-contest="1"]');
  const drag = (option: string, to: string) => contest.locator(`[data-option="${option}"]`).dragTo(contest.locator(to));
  await drag("2", ".order");
  await drag("0", '.order [data-option="2"]');
  await drag("1", '.order [data-option="2"]');
  assert.deepEqual(await contest.locator(".order bdi").allTextContents(), ["One", "Two", "Three"]);
  await drag("0", '.order [data-option="2"]');
  assert.deepEqual(await contest.locator(".order bdi").allTextContents(), ["Two", "One", "Three"]);
  await page.context().close();
});

test("every page speaks every language, fits a phone, and axe-core finds nothing", async () => {
  const { page, problems } = await visit(browser, `${stage.page}vote`, { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  for (const name of ["vote", "receipt", "audit"]) {
    await page.goto(`${stage.page}${name}`);
    await page.locator("#election-id").waitFor();
    for (const language of ["es", "pt", "fr", "de", "ar", "en"]) {
      await page.locator("#language").selectOption(language);
      await page.locator(`html[lang="${language}"]`).waitFor();
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} ${language}`);
      assert.ok(!/\{[a-z]+\}/.test(await page.locator("main").innerText()), `${name} ${language}`);
      if (language === "ar" || language === "en") assert.deepEqual(await faults(page), [], `${name} ${language}`);
    }
  }
  assert.deepEqual(problems, []);
  await page.context().close();
});
