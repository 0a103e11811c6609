// Pictures of every page in the states that matter, compared with those in screens/; axe-core on each. TALLYROOT_WRITE_SCREENS=1 takes them anew: look at them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { faults, launch, visit } from "./browser.js";
import { Camera } from "./camera.js";
import type { Election } from "./election.js";
import { changed } from "./forge.js";
import { NOW, Recording, type State, recorded } from "./recording.js";
import { Stage } from "./stage.js";
import { at, describe, review, signIn, standing } from "./voter.js";

const SITE = "http://voting.localhost";
const [WIDE, PHONE] = [{ width: 900, height: 800 }, { width: 360, height: 740 }];
const LOOKS = {
  light: { viewport: WIDE },
  dark: { viewport: WIDE, colorScheme: "dark" },
  phone: { viewport: PHONE, colorScheme: "dark" },
  rtl: { viewport: PHONE, locale: "ar" },
} satisfies Record<string, BrowserContextOptions>;
type Look = keyof typeof LOOKS;
/** By itself a run takes every state once, not in every look: that would be minutes. */
const ALL = process.env["TALLYROOT_WRITE_SCREENS"] === "1" || process.env["TALLYROOT_SCREENS"] === "all";
const some = (all: readonly Look[], few: readonly Look[]): readonly Look[] => (ALL ? all : few);

let recording: Recording;
let election: Election;
let codes: string[][];
let stage: Stage;
let browser: Browser;
let camera: Camera;

const CONTESTS = `
[[contests]]
name = "Mayor"
method = "ranked"
options = ["Ada Lovelace", "Grace Hopper", "Mary Somerville", "Alan Turing"]

[[contests]]
name = "Open the library on Sundays?"
method = "plurality"
options = ["Yes", "No"]

[[contests]]
name = "What should the new park have?"
method = "approval"
options = ["Orchard", "Playground", "Pond"]
`;

before(async () => {
  recording = await Recording.open();
  const times = ["2026-11-01T00:00:00Z", "2099-11-01T00:00:00Z"] as const;
  [{ election, codes }, browser] = await Promise.all([describe(CONTESTS, { voters: 3, times }), launch(`--host-resolver-rules=MAP voting.localhost:80 127.0.0.1:${recording.port}`)]);
  [stage, camera] = await Promise.all([Stage.open(election), Camera.open(browser)]);
});
after(async () => {
  await browser?.close();
  recording?.close();
  stage?.close();
  election?.stop();
});

async function open(look: Look, url: string, now?: number): Promise<Page> {
  const { page } = await visit(browser, "about:blank", { ...LOOKS[look], timezoneId: "UTC", reducedMotion: "reduce" });
  if (now !== undefined) await page.clock.setFixedTime(now);
  await page.goto(url);
  return page;
}

async function shot(page: Page, name: string): Promise<void> {
  assert.deepEqual(await faults(page), [], name);
  await camera.take(page, name);
}

/** A page of the recorded election. */
async function still(state: State, name: string, look: Look, ready: (page: Page) => Promise<void>): Promise<void> {
  recording.state = state;
  const page = await open(look, `${SITE}${recording.path}${name.startsWith("receipt") ? "receipt" : name.startsWith("audit") ? "audit" : ""}`, NOW[state]);
  await ready(page);
  await shot(page, `${name}-${look}`);
  await page.context().close();
}

const verified = async (page: Page): Promise<void> => {
  await page.locator('[data-pieces="1"]').waitFor();
  await page.waitForFunction(() => document.querySelector('[data-check][data-state="waiting"]') === null && document.querySelector('[data-connection="live"]') !== null);
};
/** Nothing of what the worker still does is said any more. */
const caught = async (page: Page): Promise<void> => {
  await page.locator("#badge.caught").waitFor();
  for (let [before, quiet] = ["", 0]; quiet < 8; quiet++) {
    const now = await page.locator("body").innerText();
    if (now !== before) [before, quiet] = [now, 0];
    await page.waitForTimeout(500);
  }
};
const swapped = (path: string, bytes: Buffer): Buffer | string => {
  if (path !== "results.json") return bytes;
  return changed(bytes, (results) => results.contests[1]?.counts.reverse());
};

test("the results, while voting is open, at the end, cancelled, and where the server is caught", async () => {
  for (const look of some(["light", "phone", "rtl"], ["phone"])) await still("open", "open", look, verified);
  for (const look of some(["light", "dark", "phone", "rtl"], ["light", "rtl"])) await still("final", "final", look, verified);
  for (const look of some(["light", "rtl"], ["light"])) await still("cancelled", "cancelled", look, verified);
  recording.tamper = swapped;
  for (const look of some(["light", "phone", "rtl"], ["rtl"])) await still("final", "caught", look, caught);
  recording.tamper = (_, bytes) => bytes;
});

/** The recorded receipt, brought as a text, and what is said of it. */
const brought = (text: string, verdict: string) => async (page: Page): Promise<void> => {
  await page.locator('[data-ready="true"]').waitFor({ state: "attached" });
  await page.locator("#paste").fill(text);
  await page.locator("#check").click();
  const told = page.locator('[data-busy="false"] > [data-verdict]');
  await told.waitFor();
  assert.equal(await told.getAttribute("data-verdict"), verdict, (await told.textContent()) ?? "");
  for (const summary of await page.locator("[data-verdict] summary").all()) await summary.click();
};

test("receipts, good and bad, and the auditors' corner", async () => {
  const receipt = recorded("receipt.json");
  await still("open", "receipt-none", "light", async (page) => page.locator('[data-ready="true"]').waitFor({ state: "attached" }));
  for (const look of some(["light", "phone", "rtl"], ["rtl"])) await still("final", "receipt-counted", look, brought(receipt, "counted"));
  await still("open", "receipt-covered", "light", brought(receipt, "covered"));
  await still("final", "receipt-invalid", "light", brought(receipt.replace('{"cell":0', '{"cell":1'), "invalid"));
  for (const look of some(["light", "phone", "rtl"], ["phone"])) await still("open", "receipt-caught", look, brought(recorded("other-receipt.json"), "splitView"));
  for (const look of some(["light", "phone", "rtl"], ["light"])) await still("open", "audit", look, async (page) => page.locator("#command").waitFor());
});

async function choose(page: Page): Promise<void> {
  await at(page, "ballot").waitFor();
  for (const nth of [2, 0]) await page.locator('[data-contest="0"] [data-way="add"]').nth(nth).click();
  await page.locator('[data-contest="1"] input').nth(1).click();
  for (const nth of [0, 2]) await page.locator('[data-contest="2"] input').nth(nth).click();
}

test("voting, from the code to the sealed receipt", async () => {
  for (const [voter, look] of some(["light", "phone", "rtl"], ["phone"]).entries()) {
    const page = await open(look, `${stage.page}vote#id=${election.id}`);
    const take = (step: string): Promise<void> => shot(page, `vote-${step}-${look}`);
    await at(page, "signIn").waitFor();
    await page.locator("#may-forget").waitFor();
    await take("code");
    await signIn(page, ["00000-00000-00000-00000"]);
    await page.locator('[data-problem="unknownCode"]').waitFor();
    await take("unknown-code");
    await signIn(page, codes[voter] ?? []);
    await choose(page);
    await take("ballot");
    await review(page);
    await take("review");
    // The answer takes its time; then the connection is cut, which is said; then it arrives, and no head comes.
    let arrive = (): void => undefined;
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    stage.late = (path) => (path.endsWith("ballots") ? arrived : 0);
    stage.tamper = (path, bytes) => (path.startsWith("heads/") ? null : bytes);
    await page.locator("#cast").click();
    await page.locator('[data-step="casting"]').waitFor();
    await take("casting");
    stage.cutPost = () => "before";
    stage.cut();
    await page.locator('[data-problem="noAnswer"]').waitFor();
    await take("no-answer");
    arrive();
    stage.late = () => 0;
    stage.cutPost = () => "pass";
    await standing(page, "recorded").waitFor();
    await take("recorded");
    stage.tamper = (_, bytes) => bytes;
    await standing(page, "sealed").waitFor();
    await page.locator("summary").first().click();
    await take("sealed");
    await page.context().close();
  }
});

test("every picture is the one that is kept", () => camera.check());
