// Signing in with an account: the page goes to a real OpenID provider and comes back, whatever happens on the way.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { faults, go, goToFirst, launch, visit } from "./browser.js";
import { Services } from "./services.js";
import { Stage } from "./stage.js";
import { at, download, make, review, standing } from "./voter.js";

let services: Services;
let stage: Stage;
let browser: Browser;
let cast = 0;

before(async () => {
  const contests = '\n[[contests]]\nname = "Tea or coffee?"\nmethod = "plurality"\noptions = ["Tea", "Coffee"]\n';
  [services, browser] = await Promise.all([make(contests, { voters: 6 }).then((data) => Services.start(data)), launch()]);
  stage = await Stage.open(services);
});
after(async () => {
  await browser?.close();
  stage?.close();
  services?.stop();
});

/** To the provider, from the page's first step. */
async function leave(page: Page): Promise<void> {
  await at(page, "signIn").waitFor();
  if (!(await page.locator("#account").isVisible())) await page.locator("summary", { hasText: "No code?" }).click();
  await page.locator("#account").click();
  await page.locator("#leave").waitFor();
}

/** Through the provider's own pages, as this account. */
async function login(page: Page, account: string): Promise<void> {
  await page.locator('[name="login"]').fill(account);
  await page.locator('[name="password"]').fill("any");
  await page.locator('button[type="submit"]').click();
  await page.locator("button", { hasText: "Continue" }).click();
}

async function signIn(page: Page, account: string): Promise<void> {
  await page.context().clearCookies();
  await leave(page);
  await page.locator("#leave").click();
  await login(page, account);
}

async function vote(page: Page): Promise<void> {
  await at(page, "ballot").waitFor();
  await page.locator("label", { hasText: "Tea" }).click();
  await review(page);
  await page.locator("#cast").click();
  await standing(page, "recorded", "sealed").waitFor();
  cast += 1;
  const { votes } = JSON.parse(await once(() => services.file("results.json").toString(), (text) => (JSON.parse(text) as { votes: number }).votes >= cast)) as { votes: number };
  assert.equal(votes, cast);
}

async function once<T>(read: () => T, good: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = read();
    if (good(value)) return value;
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** Everything that the page keeps. */
function kept(page: Page): Promise<string> {
  return page.evaluate(async (id) => {
    const wait = <T>(request: IDBRequest<T>): Promise<T> => new Promise((resolve, reject) => ((request.onsuccess = () => resolve(request.result)), (request.onerror = () => reject(request.error))));
    const store = (await wait(indexedDB.open("tallyroot", 1))).transaction("votes").objectStore("votes");
    return JSON.stringify(await wait(store.get(id))) + JSON.stringify(localStorage) + JSON.stringify(sessionStorage);
  }, services.id);
}

test("a voter signs in with an account and votes; nothing of it stays", async () => {
  const { page, problems, asked } = await visit(browser, `${stage.page}vote`);
  await leave(page);
  // She is told where she goes, before.
  assert.ok((await page.locator("main").textContent())?.includes(`sends you to ${new URL(services.issuer).host} to sign in`));
  assert.deepEqual(await faults(page), []);
  assert.ok((await kept(page)).includes('"pending"'));
  const before = asked.length;
  await page.locator("#leave").click();
  await login(page, "voter 0");
  await at(page, "ballot").waitFor();
  assert.ok((await page.locator("[data-on-roll]").textContent())?.includes("Confirmed for voter 0,"));
  assert.equal(page.url(), `${stage.page}vote`);
  assert.doesNotMatch(await kept(page), /"pending"|eyJ|"state"|"verifier"/);
  // Behind the #, the code reached no server but the provider; and the provider was not told what is blinded.
  assert.ok(asked.every((url) => !url.startsWith(stage.url) || !url.includes("code=")));
  const [went] = asked.slice(before).filter((url) => url.includes("/auth?"));
  assert.deepEqual([...new URL(went ?? "").searchParams.keys()].sort(), ["client_id", "code_challenge", "code_challenge_method", "nonce", "redirect_uri", "response_mode", "response_type", "scope", "state"]);
  await vote(page);
  await standing(page, "sealed").waitFor();
  await download(page);
  assert.doesNotMatch(await kept(page), /voter 0|eyJ/);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test("another's answer, a refusal, another tab, the back button and a reload in between: one vote", async () => {
  const { page } = await visit(browser, `${stage.page}vote`);
  // A page elsewhere sends the browser here with a code of its own: before, and while she is away.
  for (const begun of [false, true]) {
    if (begun) await leave(page);
    for (const mark of ["?", "#"]) {
      await page.goto("about:blank");
      await page.goto(`${stage.page}vote${mark}state=other&code=other&iss=${encodeURIComponent(services.issuer)}`);
      await page.locator('[data-problem="notThisSignIn"]').waitFor();
      assert.equal(page.url(), `${stage.page}vote`);
    }
  }
  // Her own, without the provider's name or under another's.
  await leave(page);
  const state = new URL(await page.locator("#leave").getAttribute("href") ?? "").searchParams.get("state") ?? "";
  for (const iss of ["", "&iss=https://id.example.org"]) {
    await page.goto("about:blank");
    await page.goto(`${stage.page}vote#state=${state}&code=other${iss}`);
    await page.locator('[data-problem="notThisSignIn"]').waitFor();
  }
  // With a code that is none; after that, her own sign-in is used up.
  for (const id of ["provider", "notThisSignIn"]) {
    await page.goto("about:blank");
    await page.goto(`${stage.page}vote#state=${state}&code=other&iss=${encodeURIComponent(services.issuer)}`);
    await page.locator(`[data-problem="${id}"]`).waitFor();
  }
  // She changes her mind at the provider; she is nobody of the roll.
  await leave(page);
  await page.locator("#leave").click();
  await page.locator("a", { hasText: "Cancel" }).click();
  await page.locator('[data-problem="notSignedIn"]').waitFor();
  await signIn(page, "nobody");
  await page.locator('[data-problem="notOnRoll"]').waitFor();

  // Another tab takes over while she is away, and has the page when she comes back.
  await page.context().clearCookies();
  await leave(page);
  await page.locator("#leave").click();
  await page.locator('[name="login"]').waitFor();
  const other = await page.context().newPage();
  await other.goto(`${stage.page}vote`);
  await at(other, "signIn").waitFor();
  // The answer to her request is lost, and the page is loaded again: the account is known, and no other one goes on.
  stage.cutPost = (path) => (path.endsWith("credentials") ? "behind" : "pass");
  await login(page, "voter 1");
  await at(page, "otherWindow").waitFor();
  await other.close();
  await page.locator('[data-problem="noAnswer"]').waitFor();
  await page.reload();
  await at(page, "signIn").waitFor();
  stage.cutPost = () => "pass";
  await signIn(page, "voter 2");
  await page.locator('[data-problem="otherCode"]').waitFor();
  await signIn(page, "voter 1");
  await at(page, "ballot").waitFor();
  await page.goBack();
  await page.goto(`${stage.page}vote`);
  await vote(page);
  await page.reload();
  await standing(page, "recorded", "sealed").waitFor();
  await page.context().close();

  // The same account, on another device.
  const second = await visit(browser, `${stage.page}vote`);
  await signIn(second.page, "voter 1");
  await second.page.locator('[data-problem="otherDevice"]').waitFor();
  await second.page.context().close();
});

test("signing in with an account, and voting, by keyboard alone", async () => {
  const { page } = await visit(browser, `${stage.page}vote`);
  const { keyboard } = page;
  await at(page, "signIn").waitFor();
  if (!(await page.locator("#account").isVisible())) {
    await go(page, "No code?");
    await keyboard.press("Enter");
  }
  await go(page, "account");
  await keyboard.press("Enter");
  await page.locator("#leave").waitFor();
  await go(page, "leave");
  await keyboard.press("Enter");
  // The provider's own pages: its first field has the focus.
  await page.locator('[name="login"]:focus').waitFor();
  await keyboard.type("voter 3");
  await keyboard.press("Tab");
  await keyboard.type("any");
  await keyboard.press("Enter");
  await page.locator("button", { hasText: "Continue" }).waitFor();
  await goToFirst(page, "button");
  await keyboard.press("Enter");
  await at(page, "ballot").waitFor();
  await goToFirst(page, "input[type=radio]");
  await keyboard.press("Space");
  await go(page, "review");
  await keyboard.press("Enter");
  await page.locator("#cast").waitFor();
  await go(page, "cast");
  await keyboard.press("Enter");
  await standing(page, "recorded", "sealed").waitFor();
  cast += 1;
  await once(() => services.file("results.json").toString(), (text) => (JSON.parse(text) as { votes: number }).votes === cast);
  await page.context().close();
});

test("where the page may not reach the provider, it says so", async () => {
  stage.alone = true;
  const { page } = await visit(browser, `${stage.page}vote`);
  await at(page, "signIn").waitFor();
  await page.locator("summary", { hasText: "No code?" }).click();
  await page.locator("#account").click();
  await page.locator('[data-problem="provider"]').waitFor();
  stage.alone = false;
  await page.context().close();
});
