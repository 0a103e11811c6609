// A dishonest server is caught on the page, in words, and stays caught.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { type TestContext, after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { verifySplitView } from "../../verifier/src/index.js";
import { en } from "../src/lang/en.js";
import { faults, launch, visit } from "./browser.js";
import { Election, folder, signedLine } from "./election.js";
import { type Results, canonical, changed, moveVotes, parse, signAnew } from "./forge.js";
import { Stage, type Tamper } from "./stage.js";

let election: Election;
let other: Election;
let browser: Browser;

before(async () => {
  // One cell, so that every piece that is drawn lies in it.
  [election, other, browser] = await Promise.all([Election.start(folder(), "--voters", "60"), Election.start(folder(), "--voters", "5"), launch()]);
});
after(async () => {
  await browser?.close();
  election?.stop();
  other?.stop();
});

const only = (name: string, change: (bytes: Buffer) => Buffer | string | null): Tamper => (path, bytes) => (path === name ? change(bytes) : bytes);
const results = (change: Parameters<typeof changed>[1]): Tamper => only("results.json", (bytes) => changed(bytes, change));

/** Three votes for somebody else, in the sums alone. */
function moveShown({ contests }: Results): void {
  const counts = contests[0]?.counts ?? [];
  [counts[0], counts[1]] = [(counts[0] ?? 0) - 3, (counts[1] ?? 0) + 3];
}

/** Signs checkpoints by a key that nobody named. */
function signedByAnother(text: string): string {
  const at = text.indexOf("\n\n");
  const body = text.slice(at + 2, text.lastIndexOf("\n\n") + 1);
  const seed = Buffer.from(generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" }).d ?? "", "base64url");
  return `${text.slice(0, at + 2)}${body}\n${signedLine(body.split("\n")[0] ?? "", body, seed)}`;
}

const CASES: readonly { name: string; tamper: () => Tamper; id: string; words: string; shown?: boolean }[] = [
  { name: "a wrong tally", tamper: () => results(moveShown), id: "sums", words: en.findSums },
  { name: "votes out of nothing", tamper: () => results((all) => void (all.votes += 5)), id: "contradiction", words: en.findContradiction },
  { name: "a wrong leaf under the right checkpoint", tamper: () => results((all) => moveVotes(all, 2)), id: "proof", words: en.findProof },
  { name: "a swapped key", tamper: () => results(({ cells }) => { if (cells[0]?.proof != null) cells[0].proof = signedByAnother(cells[0].proof); }), id: "signature", words: en.findSignature },
  { name: "swapped labels in the results", tamper: () => results(({ contests }) => void contests[0]?.options.reverse()), id: "labels", words: en.findLabels },
  { name: "swapped labels in the rules", tamper: () => only("manifest.json", (bytes) => { const rules = JSON.parse(bytes.toString()) as { contests: { options: string[] }[] }; rules.contests[0]?.options.reverse(); return canonical(rules); }), id: "rules", words: en.findRules },
  { name: "another election's results", tamper: () => only("results.json", () => other.file("results.json")), id: "other-election", words: en.findOtherElection },
  { name: "another election's rules", tamper: () => only("manifest.json", () => other.file("manifest.json")), id: "rules", words: en.findRules },
  // By the cell's own key: only who compares finds it.
  { name: "a second history, signed with the ledger's own key", tamper: () => results((all) => { moveVotes(all, 2); signAnew(election, all); }), id: "heads-differ", words: en.findHeadsDiffer, shown: true },
  {
    name: "a heads log signed by somebody else",
    tamper: () => only("heads/checkpoint", (bytes) => signedByAnother(`x\n\n${bytes.toString()}`).slice(3)), id: "heads-proof", words: en.findHeadsProof, shown: true,
  },
];

for (const { name, tamper, id, words, shown } of CASES) {
  test(`caught: ${name}`, async (t) => {
    const stage = await open(t);
    stage.tamper = tamper();
    const { page, problems } = await visit(browser, stage.page);
    await caught(page, id, words);
    if (shown !== true) assert.equal(await page.locator("#total-votes").count(), 0, "nothing that was refuted is shown");
    if (id === "sums") assert.deepEqual(await faults(page), []);
    assert.deepEqual(problems, []);
    await page.context().close();
  });
}

/** A server for one test, closed however it ends: what stays open would keep Node running. */
async function open(t: TestContext): Promise<Stage> {
  const stage = await Stage.open(election);
  t.after(() => stage.close());
  return stage;
}

async function caught(page: Page, id: string, words: string): Promise<void> {
  const finding = page.locator(`[role=alert] [data-finding="${id}"]`);
  await finding.waitFor();
  assert.ok((await finding.textContent())?.includes(words), await finding.innerText());
  assert.equal(await page.locator("#badge").textContent(), en.badgeCaught);
  assert.equal(await page.locator('header a[href="vote"]').count(), 0, "nobody is sent to vote where something was caught");
}

test("caught once, the page stays caught, whatever comes after and whoever comes back", async (t) => {
  const stage = await open(t);
  stage.events = "own";
  const { page } = await visit(browser, stage.page);
  await page.locator("#badge.partly").waitFor();
  const honest = election.file("results.json");
  const votes = (await page.locator("#total-votes").textContent()) ?? "";
  stage.push(changed(honest, moveShown));
  await caught(page, "sums", en.findSums);
  // The newest numbers that verified stay.
  assert.equal(await page.locator("#total-votes").textContent(), votes);
  stage.push(honest);
  await election.vote(0);
  stage.push(election.file("results.json"));
  await page.locator(`#total-votes:text-is("${Number(votes) + 1}")`).waitFor();
  await caught(page, "sums", en.findSums);
  await page.waitForFunction((key) => localStorage.getItem(key)?.includes("sums"), `tallyroot-${election.id}`);
  await page.reload();
  await caught(page, "sums", en.findSums);
  await page.getByRole("button", { name: en.forget }).click();
  await page.locator("#badge.partly").waitFor();
  await page.context().close();
});

test("caught with false rules, the page stays caught when the right ones are back", async (t) => {
  const stage = await open(t);
  stage.tamper = only("manifest.json", () => other.file("manifest.json"));
  const { page } = await visit(browser, stage.page);
  await caught(page, "rules", en.findRules);
  await page.waitForFunction((key) => localStorage.getItem(key)?.includes("rules"), `tallyroot-${election.id}`);
  stage.tamper = (_, bytes) => bytes;
  await page.reload();
  await page.locator("#total-votes").waitFor();
  await caught(page, "rules", en.findRules);
  await page.context().close();
});

test("caught: a split checkpoint, and what the page saves convinces anybody", async (t) => {
  const stage = await open(t);
  stage.events = "own";
  const { page } = await visit(browser, stage.page);
  await page.locator("#total-votes").waitFor();
  stage.push(changed(election.file("results.json"), (all) => { moveVotes(all, 1); signAnew(election, all); }));
  await caught(page, "fork", en.findFork);
  const saved = new Map<string, string>();
  page.on("download", async (download) => saved.set(download.suggestedFilename(), readFileSync(await download.path(), "utf8")));
  await page.getByRole("button", { name: en.caughtSave }).click();
  const evidence = `split-view-${election.id.slice(0, 8)}-0.json`;
  while (!saved.has(evidence)) await page.waitForEvent("download").catch(() => undefined);
  const split = await verifySplitView(new Uint8Array(Buffer.from(saved.get(evidence) ?? "")), election.id);
  assert.deepEqual([split.log, split.older.size], [{ kind: "cell", cell: 0 }, split.newer.size]);
  await page.context().close();
});

test("caught: a second history between two visits", async (t) => {
  const stage = await open(t);
  const { page } = await visit(browser, stage.page);
  await page.locator('[data-check="growth"][data-state="verified"]').waitFor();
  await page.waitForFunction((key) => localStorage.getItem(key)?.includes("cells/0"), `tallyroot-${election.id}`);
  const grown = parse(election.file("results.json")).cells[0]?.size ?? 0;
  // Consistent in itself: only what was kept from the last visit contradicts it. Heads are not given.
  stage.tamper = (path, bytes) => (path.startsWith("heads/") ? null : path === "results.json" ? changed(bytes, (all) => { moveVotes(all, 1); signAnew(election, all); }) : bytes);
  await page.reload();
  await caught(page, "fork", en.findFork);
  assert.ok(grown > 0);
  await page.context().close();
});

test("caught: a changed vote, by whoever draws the piece that it is in", async (t) => {
  const stage = await open(t);
  // A byte in the middle of each bundle of the cell: some vote's.
  stage.tamper = (path, bytes) => {
    if (!path.startsWith("cells/0/tile/entries/")) return bytes;
    const copy = Buffer.from(bytes);
    const middle = 2 + 41 + 2 + Math.floor((copy.length - 45) / 2);
    copy[middle] = (copy[middle] ?? 0) ^ 1;
    return copy;
  };
  const { page } = await visit(browser, stage.page);
  await caught(page, "recount", en.findRecount);
  await page.context().close();
});

test("an id that the reader brings must be the page's", async (t) => {
  const stage = await open(t);
  const right = await visit(browser, `${stage.page}#id=${election.id}`);
  await right.page.locator(`text=${en.compareSame}`).waitFor();
  await right.page.context().close();
  const wrong = await visit(browser, `${stage.page}#id=${other.id}`);
  await caught(wrong.page, "other-id", en.findOtherId);
  assert.equal(await wrong.page.locator("#total-votes").count(), 0);
  await wrong.page.context().close();
});

test("an older copy is no crime: the newest that was verified stays", async (t) => {
  const stage = await open(t);
  stage.events = "own";
  const older = election.file("results.json");
  await election.vote(1);
  const { page } = await visit(browser, stage.page);
  const votes = String(parse(older).votes + 1);
  await page.locator(`#total-votes:text-is("${votes}")`).waitFor();
  stage.push(older);
  stage.push("<!doctype html><title>Some proxy's error</title>");
  // Both were looked at once a newer one is shown.
  await election.vote(2);
  stage.push(election.file("results.json"));
  await page.locator(`#total-votes:text-is("${Number(votes) + 1}")`).waitFor();
  assert.equal(await page.locator("[data-finding]").count(), 0);
  await page.context().close();
});

