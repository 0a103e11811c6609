// The page over a real election in real Chromium, from the first vote to the final result.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { checked, faults, launch, visit } from "./browser.js";
import { Election, folder, sha256 } from "./election.js";
import { Stage } from "./stage.js";

const DIST = resolve("dist");
let election: Election;
let stage: Stage;
let browser: Browser;

before(async () => {
  [election, browser] = await Promise.all([Election.start(folder(), "--voters", "120", "--cells", "2", "--witnesses", "3"), launch()]);
  stage = await Stage.open(election);
  stage.events = "real";
});
after(async () => {
  await browser?.close();
  stage?.close();
  election?.stop();
});

const ALL = ["rules", "numbers", "tallies", "complete", "signatures", "growth", "heads", "notices", "witnesses", "anchors"];
const votes = (count: string) => `#total-votes:text-is("${count}")`;

test("the program serves what the source builds, and the page verifies the results live", async () => {
  if (process.env["TALLYROOT_PAGES"] === undefined) {
    for (const name of readdirSync(DIST)) {
      const served = await fetch(`${election.url}${election.path}${name.replace(/^index\.html$|\.html$/, "")}`);
      assert.deepEqual(Buffer.from(await served.arrayBuffer()), readFileSync(join(DIST, name)), name);
    }
  }
  const { page, problems, asked } = await visit(browser, stage.page);
  await page.locator(votes("120")).waitFor();
  for (const id of ALL) await checked(page, id);
  await page.locator("#badge.verified").waitFor();
  await page.locator('[data-connection="live"]').waitFor();
  assert.equal(await page.locator("[data-finding]").count(), 0);
  // The very counts of the file.
  const { contests } = JSON.parse(election.file("results.json").toString()) as { contests: { counts: number[] }[] };
  for (const [c, { counts }] of contests.entries()) {
    const shown = await page.locator("table.counts").nth(c).locator("tbody tr td:nth-child(2)").allTextContents();
    assert.deepEqual(shown.map(Number), [...counts].sort((a, b) => b - a));
  }
  // A piece was recounted by itself.
  await page.locator('[data-pieces]:not([data-pieces="0"])').waitFor();
  // A vote appears without anybody asking.
  await election.vote(0);
  await page.locator(votes("121")).waitFor();
  // The bundle's hash is that of the list of files.
  const shown = await page.locator("footer code.id").textContent();
  assert.equal(shown, sha256(readFileSync(join(DIST, "sums.txt"))).toString("hex"));
  // Nothing from anywhere else, and nothing that the policy stopped.
  assert.deepEqual(asked.filter((url) => !url.startsWith(stage.page)), []);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test("without the stream the page asks, and without the server it says so", async () => {
  stage.events = "off";
  const { page } = await visit(browser, stage.page);
  await page.locator('[data-connection="polling"]').waitFor();
  await election.vote(1);
  await page.locator(votes("122")).waitFor();
  stage.down = true;
  stage.cut();
  await page.locator('[data-connection="unreachable"]').waitFor();
  stage.down = false;
  stage.events = "real";
  await page.locator('[data-connection="live"]').waitFor();
  assert.equal(await page.locator("[data-finding]").count(), 0);
  await page.context().close();
});

test("by keyboard alone: language, an option's proof, recounting, comparing the id", async () => {
  const { page } = await visit(browser, stage.page);
  await page.locator(votes("122")).waitFor();
  const press = async (key: string, times = 1): Promise<void> => {
    for (let i = 0; i < times; i++) await page.keyboard.press(key);
  };
  const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent);
  const reach = async (wanted: string): Promise<void> => {
    for (let i = 0; i < 60; i++) {
      if ((await focused())?.includes(wanted) === true) return;
      await press("Tab");
    }
    assert.fail(`not reached: ${wanted}`);
  };
  await press("Tab");
  assert.equal(await focused(), "Skip to the results");
  await press("Enter");
  assert.equal(await focused(), "results");
  await page.evaluate(() => (document.activeElement as HTMLElement).blur());
  await reach("language");
  await page.keyboard.type("Deutsch");
  await page.locator("text=Von Ihrem Browser").first().waitFor();
  assert.equal(await page.locator("html").getAttribute("lang"), "de");
  await page.locator('[data-pieces]:not([data-pieces="0"])').waitFor();
  await reach("Noch ein Stück nachzählen");
  await press("Enter");
  await page.locator('[data-pieces="2"]').waitFor();
  await reach("other-id");
  await page.keyboard.type(election.id.toUpperCase().replace(/(.{8})/g, "$1 "));
  await press("Enter");
  await page.locator("text=Dieselbe.").waitFor();
  await reach("other-id");
  await press("Control+A");
  await page.keyboard.type("0".repeat(64));
  await press("Enter");
  await page.locator("text=Nicht dieselbe.").waitFor();
  await page.context().close();
});

test("axe-core finds no fault: light, dark, on a phone, from right to left", async () => {
  for (const options of [
    { colorScheme: "light" as const },
    { colorScheme: "dark" as const, viewport: { width: 360, height: 740 } },
    { colorScheme: "light" as const, locale: "ar", viewport: { width: 360, height: 740 }, reducedMotion: "reduce" as const },
  ]) {
    const { page } = await visit(browser, stage.page, options);
    await page.locator("#badge.verified").waitFor();
    assert.deepEqual(await faults(page), []);
    assert.equal(await page.locator("html").getAttribute("dir"), options.locale === "ar" ? "rtl" : "ltr");
    // Nothing is wider than the screen.
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    await page.context().close();
  }
});

test("every language has every word, and says it", async () => {
  const { page } = await visit(browser, stage.page);
  await page.locator("#badge.verified").waitFor();
  const seen = new Set<string>();
  for (const language of ["en", "es", "pt", "fr", "de", "ar"]) {
    await page.selectOption("#language", language);
    await page.locator(`html[lang="${language}"]`).waitFor();
    await page.waitForFunction((known) => !known.includes(document.getElementById("proof-heading")?.textContent ?? ""), [...seen]);
    seen.add((await page.locator("#proof-heading").textContent()) ?? "");
    assert.doesNotMatch(await page.locator("body").innerText(), /[{}]|undefined|NaN/);
  }
  assert.equal(seen.size, 6);
  // It is kept.
  await page.reload();
  await page.locator('html[lang="ar"]').waitFor();
  await page.context().close();
});

test("the first load is below 150 KB, compressed", () => {
  const first = ["index.html", "page.css", "start.js", "page.js", "worker.js"];
  const bytes = first.reduce((sum, name) => sum + execFileSync("gzip", ["-9", "-c", join(DIST, name)]).length, 0);
  console.log(`first load: ${bytes} bytes compressed, ${first.reduce((sum, name) => sum + readFileSync(join(DIST, name)).length, 0)} as they are`);
  assert.ok(bytes < 150_000);
});

test("the final result, its winners and the run-off", async () => {
  const { page } = await visit(browser, stage.page);
  await page.locator(votes("122")).waitFor();
  assert.equal(await page.locator('a[href="vote"]').count(), 1);
  await election.close();
  await page.locator("#status:text-is('Final result')").waitFor({ timeout: 60_000 });
  await page.locator(".winner").first().waitFor();
  assert.equal(await page.locator('a[href="vote"]').count(), 0, "nobody is sent to vote when it is over");
  assert.equal(await page.locator(".winner").count(), 3);
  // The rounds are ranked choices': said not to be recounted. All else is verified at the end, too.
  await checked(page, "outcome", "unchecked");
  for (const id of ALL) await checked(page, id);
  assert.equal(await page.locator("svg.flow").count(), 1);
  const { contests } = JSON.parse(election.file("results.json").toString()) as { contests: { winner: number; options: string[]; rounds: object[] | null }[] };
  assert.equal(await page.locator(".winner bdi").first().textContent(), contests[0]?.options[contests[0].winner]);
  const heads = page.locator(".scroll:has(> svg.flow) + .scroll thead th");
  assert.equal(await heads.count(), (contests[0]?.rounds?.length ?? 0) + 1);
  assert.equal(await page.locator("[data-finding]").count(), 0);
  assert.deepEqual(await faults(page), []);
  await page.context().close();
});
