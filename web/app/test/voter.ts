// A voter in a browser, step by step.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import { Election, folder, tallyroot } from "./election.js";

const run = promisify(execFile);

interface Described { readonly voters: number; readonly delay?: number; readonly registrars?: number; readonly closing?: number; readonly times?: readonly [opening: string, closing: string] }

/** An election of these contests, which runs. */
export async function describe(contests: string, options: Described): Promise<{ election: Election; codes: string[][] }> {
  const data = await make(contests, options);
  return { election: await Election.start(data), codes: codesOf(data) };
}

/** The folder of a new election of these contests. */
export async function make(contests: string, options: Described): Promise<string> {
  const made = folder();
  const [data, when] = [join(made, "data"), (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString()];
  writeFileSync(join(made, "roll.csv"), `identity\n${Array.from({ length: options.voters }, (_, i) => `voter ${i}`).join("\n")}\n`);
  const registrars = Array.from({ length: options.registrars ?? 1 }, (_, i) => `[[registrars]]\nname = "Registrar ${i + 1}"\n`).join("\n");
  writeFileSync(join(made, "election.toml"), `
title = "A vote"
base = "voting.example.org"
roll = "roll.csv"
registration = ${options.times?.[0] ?? when(-1)}
opening = ${options.times?.[0] ?? when(-1)}
closing = ${options.times?.[1] ?? when(options.closing ?? 24)}
demo = true
batch_min = 1
head_interval_ms = 500
cast_delay_s = ${options.delay ?? 0}

${(options.registrars ?? 1) > 1 ? registrars : ""}
${contests}`);
  await tallyroot("election", "new", join(made, "election.toml"), "--out", data);
  return data;
}

/** The codes of each voter, one a registrar; a demo's guests come last. */
export function codesOf(data: string): string[][] {
  const sheets = readdirSync(join(data, "registrars")).filter((name) => /^\d+$/.test(name)).sort().map((r) => readFileSync(join(data, "registrars", r, "codes.csv"), "utf8").trim().split("\n").slice(1).map((line) => line.split(",").at(-1) ?? ""));
  return (sheets[0] ?? []).map((_, voter) => sheets.map((sheet) => sheet[voter] ?? ""));
}

export const at = (page: Page, step: string) => page.locator(`[data-step="${step}"]`);

export async function signIn(page: Page, codes: readonly string[]): Promise<void> {
  await at(page, "signIn").waitFor();
  for (const [r, code] of codes.entries()) {
    const input = page.locator(`#code-${r}`);
    if (await input.count() > 0) await input.fill(code);
  }
  await page.locator("#confirm").click();
}

export async function review(page: Page): Promise<void> {
  await at(page, "ballot").waitFor();
  await page.locator("#review").click();
}

export const standing = (page: Page, ...names: string[]) => page.locator(names.map((name) => `[data-standing="${name}"]`).join(", "));

/** The receipt that the page gives to save. */
export async function download(page: Page): Promise<string> {
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator("#download").first().click()]);
  const path = await file.path();
  assert.equal(file.suggestedFilename(), "tallyroot-receipt.json");
  return readFileSync(path, "utf8");
}

const VERIFIER = (process.env["TALLYROOT"] ?? join(process.env["CARGO_TARGET_DIR"] ?? "../../target", "debug/tallyroot")) + "-verify";

/** What the program for auditors says: a line of JSON, whatever its exit code. */
export async function verifier(...args: readonly string[]): Promise<{ code: number; json: Record<string, unknown> }> {
  try {
    return { code: 0, json: JSON.parse((await run(VERIFIER, [...args, "--json"])).stdout) as Record<string, unknown> };
  } catch (error) {
    const { code, stdout } = error as { code: number; stdout: string };
    return { code, json: JSON.parse(stdout) as Record<string, unknown> };
  }
}

/** How many votes the ledgers hold, by the results. */
export function votes(election: Election): number {
  return (JSON.parse(election.file("results.json").toString()) as { votes: number }).votes;
}
