import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, type BrowserContextOptions, type Page, chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export function launch(...more: readonly string[]): Promise<Browser> {
  return chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: [...ARGUMENTS, ...more] });
}

export interface Visit { readonly page: Page; readonly problems: string[]; readonly asked: string[] }

/** A fresh profile's visit; what its console and its requests say is kept. */
export async function visit(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1000, height: 800 }, ...options });
  // Nothing that is waited for takes this long, on a busy machine either.
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  const seen: Visit = { page, problems: [], asked: [] };
  page.on("pageerror", (error) => seen.problems.push(String(error)));
  // That a file is not there is no problem: anchors are looked for until there is none.
  page.on("console", (message) => message.type() === "error" && !message.text().startsWith("Failed to load resource") && seen.problems.push(message.text()));
  page.on("request", (request) => seen.asked.push(request.url()));
  await page.goto(url);
  return seen;
}

/** What has the focus, by its id, else its label, else its words. */
const focused = (page: Page): Promise<string> =>
  page.evaluate(() => (document.activeElement?.id !== "" ? document.activeElement?.id : document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent)?.trim() ?? "");

/** Presses a key until this holds. */
async function press(page: Page, key: "Tab" | "Shift+Tab", wanted: string, holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 60; i++) {
    if (await holds()) return;
    await page.keyboard.press(key);
  }
  assert.fail(`${wanted} is not reached, but ${await focused(page)}`);
}

/** Goes by the tabulator to what has this id, label or words, as somebody without a mouse does; it must be seen where the focus is. */
export async function go(page: Page, wanted: string, key: "Tab" | "Shift+Tab" = "Tab"): Promise<void> {
  await press(page, key, wanted, async () => (await focused(page)) === wanted);
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement ?? document.body).outlineStyle);
  assert.notEqual(outline, "none", `where the focus is cannot be seen: ${wanted}`);
}

/** The same to the first that this selector finds. */
export async function goToFirst(page: Page, selector: string): Promise<void> {
  await page.locator(selector).first().waitFor();
  await press(page, "Tab", selector, () => page.evaluate((wanted) => document.activeElement?.matches(wanted) === true, selector));
}

/** Waits until the page says so of a check. */
export async function checked(page: Page, id: string, state = "verified"): Promise<void> {
  await page.locator(`[data-check="${id}"][data-state="${state}"]`).waitFor();
}

/** What axe-core finds fault with. It runs past its policy: in the debugger, as a person's own extension would. */
export async function faults(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const axe = (globalThis as unknown as { axe: { run(options: object): Promise<{ violations: { id: string; nodes: { target: string[] }[] }[] }> } }).axe;
    const { violations } = await axe.run({ resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(" ")}`));
  });
}
