// Receipts beside a ledger that does not keep what they prove: caught in words, with a dispute file that the program for auditors convicts by.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { faults, go, launch, visit } from "./browser.js";
import { type Election, folder, sha256, tallyroot } from "./election.js";
import { canonical, rootOf } from "./forge.js";
import { Stage } from "./stage.js";
import { describe, verifier } from "./voter.js";

interface Receipt { cell: number; final: { head: string; vote: string } | null; vote: string }

let election: Election;
let stage: Stage;
let browser: Browser;
let receipt: Receipt;
let text: string;

before(async () => {
  const contests = '\n[[contests]]\nname = "Tea or coffee?"\nmethod = "plurality"\noptions = ["Tea", "Coffee"]\n';
  const [made, launched] = await Promise.all([describe(contests, { voters: 3 }), launch()]);
  election = made.election;
  browser = launched;
  stage = await Stage.open(election);
  const kept = folder();
  for (const [i, [code = ""]] of made.codes.entries()) {
    const own = join(kept, String(i));
    await tallyroot("vote", election.url, "--election", election.id, "--code", code, "--choose", "Tea or coffee?=Tea", "--secret", `${own}-secret.json`, "--receipt", `${own}.json`);
  }
  text = readFileSync(join(kept, "1.json"), "utf8");
  receipt = JSON.parse(text) as Receipt;
});
after(async () => {
  await browser?.close();
  stage?.close();
  election?.stop();
});

async function said(page: Page, wanted: string, verdict: string): Promise<void> {
  await page.locator("#paste").fill(wanted);
  await page.locator("#check").click();
  await page.locator(`[data-verdict="${verdict}"]`).waitFor();
}

/** What the page says once the cell's checkpoint was asked for and answered, so much later. */
async function still(page: Page, verdict: string, act: () => Promise<void>, tamper: (path: string, bytes: Buffer) => Buffer, late = 0): Promise<void> {
  stage.late = (path) => (path === "cells/0/checkpoint" ? late : 0);
  const answered = new Promise<void>((resolve) => {
    stage.tamper = (path, bytes) => {
      if (path !== "cells/0/checkpoint") return bytes;
      resolve();
      return tamper(path, bytes);
    };
  });
  await act();
  await answered;
  // What does not come cannot be awaited.
  await page.waitForTimeout(1_000);
  [stage.tamper, stage.late] = [(_, bytes) => bytes, () => 0];
  assert.equal(await page.locator("[data-verdict]").getAttribute("data-verdict"), verdict);
}

/** The dispute file that the page gives, as the program for auditors judges it. */
async function dispute(page: Page): Promise<{ code: number; ruling: unknown }> {
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator("#dispute").click()]);
  assert.equal(file.suggestedFilename(), "tallyroot-dispute.json");
  const { code, json } = await verifier("dispute", await file.path(), "--election", election.id);
  return { code, ruling: json["ruling"] };
}

/** The newest checkpoint of the cell that does not reach the receipt's. */
function olderCheckpoint(): Buffer {
  const size = Number(receipt.vote.split("\n\n")[1]?.split("\n")[1]);
  const older = Array.from({ length: size - 1 }, (_, i) => size - 1 - i).map((n) => { try { return election.file(`cells/0/checkpoints/${n}`); } catch { return undefined; } }).find((file) => file !== undefined);
  assert.ok(older !== undefined);
  return older;
}

/** The receipt under another tree, which the cell's own key has signed. */
function elsewhere(change: (proof: string) => string, size?: number): string {
  const proof = change(receipt.vote);
  const tree = rootOf(proof);
  const note = election.checkpoint(`cells/${receipt.cell}`, size ?? tree.size, tree.root);
  return canonical({ ...receipt, final: null, vote: `${proof.slice(0, proof.indexOf("\n\n"))}\n\n${note}` });
}

test("the Rust client's receipt is taken, and an older ledger is asked for again before it is called one", async () => {
  const { page, problems } = await visit(browser, `${stage.page}receipt`);
  await said(page, text, "covered");
  const older = olderCheckpoint();
  // For a moment only: a cache that lags.
  let looks = 0;
  stage.tamper = (path, bytes) => (path === "cells/0/checkpoint" && ++looks < 3 ? older : bytes);
  await page.reload();
  await said(page, text, "covered");
  assert.ok(looks >= 3);
  stage.tamper = (path, bytes) => (path === "cells/0/checkpoint" ? older : bytes);
  await page.reload();
  await said(page, text, "rolledBack");
  assert.deepEqual(await faults(page), []);
  // It may be an old copy: whoever did not ask the server himself decides nothing.
  assert.deepEqual(await dispute(page), { code: 2, ruling: "rolled-back" });
  // Damage on the way blames nobody.
  stage.tamper = (path, bytes) => (path.startsWith("cells/0/tile/0/") ? Buffer.alloc(bytes.length) : bytes);
  await page.reload();
  await said(page, text, "undecided");
  stage.tamper = (_, bytes) => bytes;
  assert.deepEqual(problems, []);
  await page.context().close();
});

test("receipts and the auditors' corner by keyboard alone", async () => {
  const { page, problems } = await visit(browser, `${stage.page}receipt`, { permissions: ["clipboard-read", "clipboard-write"] });
  const { keyboard } = page;
  await page.locator("#paste").waitFor();
  // Past the ways to other pages, at once.
  await keyboard.press("Tab");
  await keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement?.tagName === "MAIN");
  await go(page, "paste");
  await keyboard.insertText(text);
  await go(page, "check");
  await keyboard.press("Enter");
  await page.locator('[data-verdict="covered"]').waitFor();
  await go(page, "Details", "Shift+Tab");
  await keyboard.press("Enter");
  await go(page, "download");
  const [saved] = await Promise.all([page.waitForEvent("download"), keyboard.press("Enter")]);
  assert.equal(saved.suggestedFilename(), "tallyroot-receipt.json");
  await go(page, "Show it as a code for another device");
  await keyboard.press("Enter");
  await page.locator("svg.qr").waitFor();

  // From a file, beside a ledger that went back: the dispute file, too.
  const older = olderCheckpoint();
  stage.tamper = (path, bytes) => (path === "cells/0/checkpoint" ? older : bytes);
  await page.reload();
  await page.locator("#file").waitFor();
  await go(page, "file");
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), keyboard.press("Enter")]);
  await chooser.setFiles({ name: "receipt.json", mimeType: "application/json", buffer: Buffer.from(text) });
  await page.locator('[data-verdict="rolledBack"]').waitFor();
  await go(page, "dispute", "Shift+Tab");
  const [dispute] = await Promise.all([page.waitForEvent("download"), keyboard.press("Enter")]);
  assert.equal(dispute.suggestedFilename(), "tallyroot-dispute.json");
  stage.tamper = (_, bytes) => bytes;

  await page.goto(`${stage.page}audit`);
  await page.locator("#command").waitFor();
  await go(page, "Copy");
  await keyboard.press("Enter");
  await page.locator("[role=status]", { hasText: "Copied" }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await page.locator("#command").textContent());
  await go(page, "language");
  await keyboard.type("Deu");
  await page.locator('html[lang="de"]').waitFor();
  await go(page, "manifest.json");
  await keyboard.press("Enter");
  await page.waitForURL(`${stage.page}manifest.json`);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test("a second history of the ledger, and a vote that the final record leaves out, convict the operator", async () => {
  const { page } = await visit(browser, `${stage.page}receipt`);
  const split = elsewhere((proof) => {
    const lines = proof.split("\n");
    const at = lines.findIndex((line) => line.startsWith("index ")) + 1;
    lines[at] = sha256(Buffer.from("another history")).toString("base64");
    return lines.join("\n");
  });
  await said(page, split, "splitView");
  assert.deepEqual(await faults(page), []);
  assert.deepEqual(await dispute(page), { code: 1, ruling: "split-view" });

  // A minute later the server shows nothing of use, and what was proven stays, with its file.
  await page.clock.install();
  await page.reload();
  await said(page, split, "splitView");
  await still(page, "splitView", () => page.clock.fastForward(61_000), (_, bytes) => Buffer.alloc(bytes.length));
  assert.deepEqual(await dispute(page), { code: 1, ruling: "split-view" });
  // An answer about one receipt says nothing of the next.
  await said(page, text, "covered");
  await still(page, "noReceipt", async () => {
    await page.locator("#check").click();
    await said(page, "no receipt", "noReceipt");
  }, (_, bytes) => bytes, 1_500);

  await election.close();
  const final = JSON.parse(election.file("results.json").toString()) as { cells: { size: number }[] };
  // The last leaf of a tree that is longer than what is counted.
  const index = (final.cells[0]?.size ?? 0) + 20;
  const siblings = [...index.toString(2)].filter((bit) => bit === "1").map((_, i) => sha256(Buffer.of(i)).toString("base64"));
  const dropped = elsewhere((proof) => {
    const [magic, extra] = proof.split("\n");
    const note = proof.slice(proof.indexOf("\n\n") + 2).split("\n");
    note[1] = String(index + 1);
    return [magic, extra, `index ${index}`, ...siblings].join("\n") + `\n\n${note.join("\n")}`;
  });
  await page.reload();
  await page.waitForFunction(async (base) => ((await (await fetch(`${base}results.json`, { cache: "no-store" })).json()) as { status: string }).status === "final", stage.page);
  await said(page, dropped, "dropped");
  assert.deepEqual(await dispute(page), { code: 1, ruling: "dropped" });
  await said(page, text, "counted");
  // Kept with what the page made of it, it is still the program's receipt.
  const file = join(folder(), "final.json");
  await page.locator("summary", { hasText: "Details" }).click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#download").click()]);
  writeFileSync(file, readFileSync(await download.path()));
  assert.equal((await verifier("receipt", file, "--election", election.id)).code, 0);
  await page.context().close();
});
