// Names that try to be something else, and as many options as an election may have.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { lookalikes } from "../src/page/lookalikes.js";
import { faults, launch, visit } from "./browser.js";
import { Election, folder, tallyroot } from "./election.js";
import { Stage } from "./stage.js";

const HOSTILE = [
  "<img src=x onerror=window.caught=1>",
  "</script><script>window.caught=1</script>",
  "{{constructor.constructor('window.caught=1')()}} {votes} {name}",
  "javascript:window.caught=1",
  "أحمد بن عبد الله (1,000)",
  "שם ארוך 50% — ABC",
  `Z${"\u0323\u0300\u0301\u0302\u0304".repeat(18)}`,
  "Ẅ".repeat(60),
  "W".repeat(200),
  "Ada Lovelace",
  "Аda Lоvelace",
].map((name) => name.normalize("NFC"));
const OPTIONS = [...HOSTILE, ...Array.from({ length: 4_095 - HOSTILE.length }, (_, i) => `Option ${i + 1}`)];

let election: Election;
let stage: Stage;
let browser: Browser;

before(async () => {
  const made = folder();
  const [data, when] = [join(made, "data"), (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString()];
  const title = "W".repeat(100) + " <b>ليلى</b>";
  writeFileSync(join(made, "roll.csv"), "identity\nAda\nGrace\n");
  writeFileSync(join(made, "election.toml"), `
title = ${JSON.stringify(title)}
base = "labels.example.org"
roll = "roll.csv"
registration = ${when(-1)}
opening = ${when(-1)}
closing = ${when(24)}
demo = true
batch_min = 1
head_interval_ms = 500
cast_delay_s = 0

[[contests]]
name = ${JSON.stringify("<h1>Wer?</h1>")}
method = "plurality"
options = ${JSON.stringify(OPTIONS)}

[[contests]]
name = "One"
method = "approval"
options = ["Yes"]
`);
  await tallyroot("election", "new", join(made, "election.toml"), "--out", data);
  [election, browser] = await Promise.all([Election.start(data), launch()]);
  stage = await Stage.open(election);
});
after(async () => {
  await browser?.close();
  stage?.close();
  election?.stop();
});

test("4,096 options stay readable, findable and text", async () => {
  for (const options of [{}, { locale: "ar", viewport: { width: 360, height: 740 } }]) {
    const { page, problems } = await visit(browser, stage.page, options);
    const table = page.locator("table.counts").first();
    await table.waitFor();
    assert.equal(await table.locator("tbody tr").count(), 20);
    // Every label is the manifest's, and nothing but text; each stands alone in its direction.
    assert.deepEqual(await table.locator("tbody th bdi").allTextContents(), OPTIONS.slice(0, 20));
    assert.ok((await page.locator("bdi").evaluateAll((all) => all.every((bdi) => bdi.getAttribute("dir") === "auto" && bdi.children.length === 0))));
    assert.equal(await page.evaluate(() => (globalThis as { caught?: number }).caught), undefined);
    // Nothing is wider than the screen, and no name stands over another.
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    const search = page.locator("#find-0");
    await search.fill("option 4084");
    assert.deepEqual(await table.locator("tbody th bdi").allTextContents(), ["Option 4084"]);
    await search.fill("");
    // Two that look alike are said to be two.
    assert.ok((await page.locator("ul.doubt li").allTextContents()).some((text) => text.includes("Аda Lоvelace") && text.includes("Ada Lovelace")));
    if (options.locale === undefined) {
      assert.deepEqual(await faults(page), []);
      await page.locator("button[aria-expanded]").first().click();
      await page.waitForFunction((count) => document.querySelectorAll("table.counts")[0]?.querySelectorAll("tbody tr").length === count, OPTIONS.length);
    }
    assert.deepEqual(problems, []);
    await page.context().close();
  }
});

test("names that look alike are found, others are not", () => {
  assert.deepEqual(lookalikes(["Ada", "Аdа", "Grace", "ADA", "Gräce", "Bob"]), [[0, 1, 3], [2, 4]]);
  assert.deepEqual(lookalikes(["Yes", "No", "Ann", "Anna"]), []);
});
