// Voting that breaks off: tabs closed and connections cut at every step, services that are busy, and answers that do not hold. After reopening there is exactly one vote, and its receipt.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { launch } from "./browser.js";
import { type Election, folder } from "./election.js";
import { Stage } from "./stage.js";
import { at, describe, download, review, signIn, standing, verifier, votes } from "./voter.js";

let election: Election;
let stage: Stage;
let browser: Browser;
let codes: string[][];
let cast = 0;

const CONTESTS = `
[[contests]]
name = "Tea or coffee?"
method = "plurality"
options = ["Tea", "Coffee"]
`;

before(async () => {
  const [made, launched] = await Promise.all([describe(CONTESTS, { voters: 16 }), launch()]);
  ({ election, codes } = made);
  browser = launched;
  stage = await Stage.open(election);
});
after(async () => {
  await browser?.close();
  stage?.close();
  election?.stop();
});

interface Voter { readonly context: BrowserContext; readonly codes: string[]; page: Page }

/** The next voter, with a device of her own. */
async function voter(): Promise<Voter> {
  const context = await browser.newContext({ locale: "en-GB" });
  context.setDefaultTimeout(90_000);
  return reopen({ context, codes: codes.pop() ?? assert.fail("no voters left"), page: await context.newPage() });
}

/** The tab is closed as it stands, and opened again. */
async function reopen(one: Voter): Promise<Voter> {
  const page = await one.context.newPage();
  await one.page.close();
  await page.goto(`${stage.page}vote`);
  one.page = page;
  return one;
}

async function choose(page: Page, name: string): Promise<void> {
  await at(page, "ballot").waitFor();
  await page.locator("label", { hasText: name }).click();
  await review(page);
  await page.locator("#cast").click();
}

/** One vote more, and a receipt that the program for auditors takes. */
async function done(one: Voter, more = 1): Promise<string> {
  await standing(one.page, "recorded", "sealed").waitFor();
  await standing(one.page, "sealed").waitFor();
  const receipt = await download(one.page);
  const file = join(folder(), "receipt.json");
  writeFileSync(file, receipt);
  assert.equal((await verifier("receipt", file, "--election", election.id)).code, 0);
  cast += more;
  // The results follow the ledger.
  while (votes(election) < cast) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(votes(election), cast);
  return receipt;
}

/** Cuts the first requests of this kind. */
function cutting(path: RegExp, how: "before" | "behind", times: number): { readonly hit: Promise<void> } {
  let hit = (): void => undefined;
  const seen = new Promise<void>((resolve) => (hit = resolve));
  stage.cutPost = (name) => {
    if (!path.test(name) || times-- <= 0) return "pass";
    hit();
    return how;
  };
  return { hit: seen };
}

const honest = (): void => {
  stage.cutPost = () => "pass";
  stage.answerPost = () => undefined;
  stage.late = () => 0;
  stage.down = false;
};

for (const how of ["before", "behind"] as const) {
  test(`connections are cut ${how} the request, at sign-in and at casting: it is asked again`, async () => {
    const one = await voter();
    cutting(/credentials$/, how, 2);
    await signIn(one.page, one.codes);
    await at(one.page, "ballot").waitFor();
    cutting(/ballots$/, how, 2);
    await choose(one.page, "Tea");
    await done(one);
    honest();
    await one.context.close();
  });

  test(`the tab is closed at every step, and the last request cut ${how} it`, async () => {
    const one = await voter();
    await at(one.page, "signIn").waitFor();
    await reopen(one);
    const signing = cutting(/credentials$/, how, 1_000);
    await signIn(one.page, one.codes);
    await signing.hit;
    await reopen(one);
    honest();
    // The code is kept nowhere, so it is typed again; another one is another voter's.
    assert.equal(await one.page.locator("#code-0").inputValue(), "");
    await signIn(one.page, codes[0] ?? []);
    await one.page.locator('[data-problem="otherCode"]').waitFor();
    await signIn(one.page, [(one.codes[0] ?? "").toLowerCase().replace(/-/g, " ")]);
    await at(one.page, "ballot").waitFor();
    await reopen(one);
    const casting = cutting(/ballots$/, how, 1_000);
    await choose(one.page, "Coffee");
    await casting.hit;
    // It is said not to be cast.
    assert.ok((await one.page.locator("main").textContent())?.includes("not cast until this page says"));
    await reopen(one);
    await at(one.page, "casting").waitFor();
    await reopen(one);
    honest();
    await done(one);
    await reopen(one);
    await standing(one.page, "sealed").waitFor();
    assert.equal(votes(election), cast);
    await one.context.close();
  });
}

test("two windows do not vote at once; a busy service is waited for, a misled front too", async () => {
  const one = await voter();
  await at(one.page, "signIn").waitFor();
  const second = await one.context.newPage();
  await second.goto(`${stage.page}vote`);
  await second.locator('[data-step="otherWindow"]').waitFor();
  await second.close();
  await signIn(one.page, one.codes);
  await at(one.page, "ballot").waitFor();
  const answers = [
    // A cell whose clock is behind this device's.
    { status: 403, body: '{"error":{"code":"not-open","message":"not yet"}}' },
    { status: 503, body: '{"error":{"code":"busy","message":"later"}}', headers: { "retry-after": "1" } },
    { status: 421, body: '{"cell":7,"error":{"code":"wrong-cell","message":"elsewhere"}}' },
    { status: 502, body: "<html>Bad gateway</html>" },
    { status: 200, body: "{" },
  ];
  const left = [...answers];
  stage.answerPost = () => left.shift();
  await choose(one.page, "Tea");
  await one.page.locator('[data-problem="notOpen"]').waitFor();
  await one.page.locator('[data-problem="busy"]').waitFor();
  await done(one);
  assert.equal(left.length, 0);
  honest();
  await one.context.close();
});

test("codes that are none, unknown or used elsewhere are said to be", async () => {
  const one = await voter();
  await signIn(one.page, ["ABC"]);
  await one.page.locator('[data-problem="badCode"]').waitFor();
  await signIn(one.page, ["00000-00000-00000-00000"]);
  await one.page.locator('[data-problem="unknownCode"]').waitFor();
  await signIn(one.page, one.codes);
  await at(one.page, "ballot").waitFor();
  const other = await voter();
  await signIn(other.page, one.codes);
  await other.page.locator('[data-problem="otherDevice"]').waitFor();
  await Promise.all([one.context.close(), other.context.close()]);
});

/** What the device keeps, changed behind the page's back. */
async function forgetTheCast(page: Page): Promise<void> {
  await page.evaluate(async (id) => {
    const wait = <T>(request: IDBRequest<T>): Promise<T> => new Promise((resolve, reject) => ((request.onsuccess = () => resolve(request.result)), (request.onerror = () => reject(request.error))));
    const store = (await wait(indexedDB.open("tallyroot", 1))).transaction("votes", "readwrite").objectStore("votes");
    const { secret, signatures, marks } = (await wait(store.get(id))) as Record<string, unknown>;
    await wait(store.put({ secret, signatures, marks }, id));
  }, election.id);
}

test("answers that do not hold are caught in words, and the vote stands once", async () => {
  const one = await voter();
  // A registrar that signs something else, and one that shows another voter's issuance.
  const credentials: Buffer[] = [];
  const flip = (text: string): string => (text[20] === "A" ? `${text.slice(0, 20)}B${text.slice(21)}` : `${text.slice(0, 20)}A${text.slice(21)}`);
  stage.answerPost = (_, status, bytes) => {
    credentials.push(bytes);
    const body = JSON.parse(bytes.toString()) as { blind_signature: string };
    return { status, body: JSON.stringify({ ...body, blind_signature: flip(body.blind_signature) }) };
  };
  await signIn(one.page, one.codes);
  await one.page.locator('[data-problem="registrarSignature"]').waitFor();
  stage.answerPost = (_, status, bytes) => ({ status, body: bytes.toString().replace(/"identity":"[^"]*"/, '"identity":"somebody else"') });
  await signIn(one.page, one.codes);
  await one.page.locator('[data-problem="issuance"]').waitFor();
  assert.ok((await one.page.locator(".alarm").textContent())?.includes("Do not trust this server"));
  honest();
  await signIn(one.page, one.codes);
  await at(one.page, "ballot").waitFor();

  let others = "";
  const first = await voter();
  await signIn(first.page, first.codes);
  stage.answerPost = (_, __, bytes) => ((others = bytes.toString()), undefined);
  await choose(first.page, "Tea");
  await done(first);

  // Another voter's receipt; a proof that leads elsewhere; an entry that was changed.
  stage.answerPost = () => ({ status: 200, body: others });
  await choose(one.page, "Coffee");
  await one.page.locator('[data-problem="wrongVoter"]').waitFor();
  assert.equal(await standing(one.page, "recorded").count(), 0);
  for (const wrong of [
    (proof: string) => proof.replace(/index (\d+)/, (_, index) => `index ${Number(index) + 1}`),
    (proof: string) => proof.replace(/extra (\S{60})(.)/, (_, head: string, next: string) => `extra ${head}${next === "A" ? "B" : "A"}`),
    () => "c2sp.org/tlog-proof@v1\nindex 0\n\nnothing",
  ]) {
    stage.answerPost = (_, status, bytes) => {
      const body = JSON.parse(bytes.toString()) as { proof: string };
      return { status, body: JSON.stringify({ ...body, proof: wrong(body.proof) }) };
    };
    // Held until the page has taken back what it said of the answer before: it would else be taken for this one's.
    let give = (): void => undefined;
    const held = new Promise<void>((resolve) => (give = resolve));
    stage.late = (path) => (path.endsWith("ballots") ? held : 0);
    await one.page.locator("#again").click();
    await one.page.locator("[data-problem]").waitFor({ state: "detached" });
    give();
    await one.page.locator('[data-problem="notProven"]').waitFor();
  }
  // It was recorded all the while: the same bytes again find it.
  honest();
  await one.page.locator("#again").click();
  await done(one);

  // Another ballot under the same key is refused with the proof of the first, which is then shown; said to be recorded, it is a lie.
  await forgetTheCast(one.page);
  stage.answerPost = (_, __, bytes) => ({ status: 200, body: bytes.toString() });
  await reopen(one);
  await choose(one.page, "Tea");
  await one.page.locator('[data-problem="wrongBallot"]').waitFor();
  honest();
  await one.page.locator("#again").click();
  await one.page.locator('[data-problem="firstVote"]').waitFor();
  await done(one, 0);
  await one.page.locator("summary", { hasText: "Your vote" }).click();
  assert.deepEqual(await one.page.locator(".chosen li").allTextContents(), ["Coffee"]);
  await Promise.all([one.context.close(), first.context.close()]);
});

test("a receipt of another election, of another voter's changed, and an id that is not the page's are refused", async () => {
  const one = await voter();
  await signIn(one.page, one.codes);
  await choose(one.page, "Tea");
  const receipt = await done(one);
  const page = await one.context.newPage();
  const said = async (text: string, verdict: string): Promise<void> => {
    await page.locator("#paste").fill(text);
    await page.locator("#check").click();
    await page.locator(`[data-verdict="${verdict}"]`).waitFor();
  };
  await page.goto(`${stage.page}receipt`);
  await page.locator('[data-verdict="covered"]').waitFor();
  await said(receipt.replaceAll(election.id, "0".repeat(64)), "otherElection");
  await said("hello", "noReceipt");
  await said(receipt.replace(/(extra \S{60})(.)/, (_, head: string, next: string) => `${head}${next === "A" ? "B" : "A"}`), "invalid");
  await said(receipt, "covered");
  await page.goto(`${stage.page}vote#id=${"0".repeat(64)}`);
  await page.locator('[data-finding="other-id"]').waitFor();
  assert.equal(await page.locator("[data-step]").count(), 0);
  // One that is cut off is another one, also in a page that is open; capitals make none.
  await page.goto(`${stage.page}vote#id=${election.id.toUpperCase()}`);
  await page.locator("#election-id + .good").waitFor();
  await page.goto(`${stage.page}vote#id=${election.id.slice(1)}`);
  await page.locator('[data-finding="other-id"]').waitFor();
  await one.context.close();
});

test("after the close the vote is refused in words, and the receipt becomes final", async () => {
  const [late, early] = [await voter(), await voter()];
  await signIn(late.page, late.codes);
  await at(late.page, "ballot").waitFor();
  await signIn(early.page, early.codes);
  await choose(early.page, "Tea");
  await done(early);
  await election.close();
  await choose(late.page, "Tea");
  await late.page.locator('[data-problem="closed"]').waitFor();
  assert.ok((await late.page.locator("main").textContent())?.includes("Your vote is not recorded"));
  assert.equal(votes(election), cast);
  const page = await early.context.newPage();
  await page.goto(`${stage.page}receipt`);
  await page.locator('[data-verdict="counted"]').waitFor();
  await reopen(early);
  await standing(early.page, "final").waitFor();
  await Promise.all([late.context.close(), early.context.close()]);
});
