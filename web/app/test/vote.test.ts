// Voters in real Chromium against a real election: from a code to a sealed receipt, which a second device and the program for auditors check.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { faults, launch, visit } from "./browser.js";
import { Election, folder } from "./election.js";
import { Stage } from "./stage.js";
import { at, codesOf, download, review, signIn, standing, verifier, votes } from "./voter.js";

let election: Election;
let stage: Stage;
let browser: Browser;
let guests: string[][];

before(async () => {
  [election, browser] = await Promise.all([Election.start(folder(), "--voters", "20", "--cells", "2", "--registrars", "2", "--witnesses", "3"), launch()]);
  guests = codesOf(election.data).slice(-3);
  stage = await Stage.open(election);
});
after(async () => {
  await browser?.close();
  stage?.close();
  election?.stop();
});

test("a voter votes in each counting method; a second device checks the receipt, offline too", async () => {
  const { page, problems, asked } = await visit(browser, `${stage.page}vote#id=${election.id}`);
  const telling: string[] = [];
  page.on("request", (request) => void request.allHeaders().then((headers) => ["cookie", "referer", "authorization"].forEach((name) => headers[name] !== undefined && telling.push(`${request.url()} ${name}`)), () => undefined));
  await at(page, "signIn").waitFor();
  assert.equal((await page.locator("#election-id").textContent())?.replace(/\s/g, ""), election.id);
  assert.deepEqual(await faults(page), []);
  // This browser promises nothing.
  await page.locator("#may-forget").waitFor();
  await signIn(page, guests[0] ?? []);
  await at(page, "ballot").waitFor();
  // Both registrars have named the same place, under the roll's root.
  const [place, again] = (await page.locator("[data-on-roll]").getAttribute("data-on-roll"))?.split(",") ?? [];
  assert.ok(place !== undefined && place === again);
  assert.ok((await page.locator("[data-on-roll]").textContent())?.includes(`~guest 0, at place ${place} of the roll`), await page.locator("[data-on-roll]").textContent() ?? "");
  const ranked = page.locator('[data-contest="0"]');
  for (const name of ["Mary Somerville", "Ada Lovelace", "Alan Turing"]) await ranked.getByRole("button", { name: `Add ${name}` }).click();
  await ranked.getByRole("button", { name: "Move Alan Turing up" }).click();
  await ranked.getByRole("button", { name: "Take Mary Somerville out" }).click();
  await page.locator('[data-contest="1"] label', { hasText: "No" }).click();
  for (const name of ["Open stage", "Pond"]) await page.locator('[data-contest="2"] label', { hasText: name }).click();
  assert.deepEqual(await faults(page), []);
  await review(page);
  assert.deepEqual(await page.locator(".chosen li").allTextContents(), ["Alan Turing", "Ada Lovelace", "No", "Pond", "Open stage"]);
  assert.deepEqual(await faults(page), []);
  await page.locator("#cast").click();
  await standing(page, "recorded", "sealed").waitFor();
  await standing(page, "sealed").waitFor();
  assert.deepEqual(await faults(page), []);
  const receipt = await download(page);
  const file = join(folder(), "receipt.json");
  writeFileSync(file, receipt);
  const judged = await verifier("receipt", file, "--election", election.id);
  assert.equal(judged.code, 0, JSON.stringify(judged.json));
  const code = await page.locator("summary", { hasText: "code for another device" }).click().then(() => page.locator(".qr").getAttribute("data-text"));
  // Nothing but the election's own files and the two services, and neither code nor choice in an address.
  assert.deepEqual(asked.filter((url) => !url.startsWith(stage.page)), []);
  assert.ok(asked.every((url) => !url.includes("?") && !(guests[0] ?? []).some((one) => url.includes(one))));
  assert.deepEqual(problems, []);
  assert.deepEqual(telling, []);
  // The device keeps neither codes, nor what tells them apart, nor when the vote was cast.
  const kept = await page.evaluate(async (id) => {
    const wait = <T>(request: IDBRequest<T>): Promise<T> => new Promise((resolve, reject) => ((request.onsuccess = () => resolve(request.result)), (request.onerror = () => reject(request.error))));
    const store = (await wait(indexedDB.open("tallyroot", 1))).transaction("votes").objectStore("votes");
    const found = (await wait(store.get(id))) as Record<string, unknown>;
    return { names: Object.keys(found).sort(), marks: found["marks"], text: JSON.stringify(found) + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) };
  }, election.id);
  assert.deepEqual(kept.names, ["choices", "entry", "marks", "receipt", "secret", "sent", "signatures"]);
  assert.deepEqual(kept.marks, []);
  for (const code of guests[0] ?? []) assert.ok(!kept.text.includes(code) && !kept.text.includes(code.replace(/-/g, "")));
  // Opened again, it is still there; the ledger holds it once.
  await page.reload();
  await standing(page, "sealed").waitFor();
  assert.equal(votes(election), 21);
  await page.context().close();

  // Another device: from the file, then without any network.
  const other = await visit(browser, `${stage.page}receipt`);
  await other.page.locator("#file").setInputFiles({ name: "receipt.json", mimeType: "application/json", buffer: Buffer.from(receipt) });
  await other.page.locator('[data-verdict="covered"]').waitFor();
  assert.deepEqual(await faults(other.page), []);
  await other.page.locator('[data-ready="true"]').waitFor();
  stage.down = true;
  await other.page.context().setOffline(true);
  await other.page.reload();
  await other.page.locator("#paste").fill(receipt);
  await other.page.locator("#check").click();
  await other.page.locator('[data-verdict="unreachable"]').waitFor();
  assert.ok((await other.page.locator("[data-verdict] h2").textContent())?.startsWith("The receipt is genuine"));
  await other.page.locator("#paste").fill(receipt.replace(/"cell":(.)/, (_, cell) => `"cell":${1 - Number(cell)}`));
  await other.page.locator("#check").click();
  await other.page.locator('[data-verdict="invalid"]').waitFor();
  // A network that takes requests and says nothing.
  stage.down = "silent";
  await other.page.context().setOffline(false);
  await other.page.reload();
  await other.page.locator("#paste").waitFor();
  assert.deepEqual(other.problems, []);
  await other.page.context().close();
  stage.down = false;

  // A third, by the code alone; the address keeps nothing of it.
  assert.ok(code?.startsWith(`${stage.page}receipt#i=`));
  const third = await visit(browser, code ?? "");
  await third.page.locator('[data-verdict="covered"]').waitFor();
  assert.equal(third.page.url(), `${stage.page}receipt`);
  // The verdict alone is announced.
  const told = await third.page.locator('[role="status"]').allTextContents();
  assert.deepEqual(told, [await third.page.locator("[data-verdict] h2").textContent()]);
  assert.deepEqual(third.problems, []);
  await third.page.context().close();
});

test("codes of two voting cards that were mixed up are noticed, and both can vote", async () => {
  const [one = [], two = []] = guests.slice(1);
  for (const [codes, other] of [[[one[0] ?? "", two[1] ?? ""], false], [[two[0] ?? "", one[1] ?? ""], true]] as const) {
    const { page, problems } = await visit(browser, `${stage.page}vote`);
    await signIn(page, codes);
    await at(page, "ballot").waitFor();
    const said = await page.locator("[data-on-roll].alarm").textContent() ?? "";
    const names = ["~guest 1", "~guest 2"];
    if (other) names.reverse();
    assert.ok(said.indexOf(names[0] ?? "") > 0 && said.indexOf(names[1] ?? "") > said.indexOf(names[0] ?? ""), said);
    assert.deepEqual(await faults(page), []);
    await review(page);
    await page.locator("#cast").click();
    await standing(page, "recorded", "sealed").waitFor();
    assert.equal(await page.locator("[data-on-roll]").count(), 0);
    assert.deepEqual(problems, []);
    await page.context().close();
  }
});
