import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bytes } from "../src/bytes.js";
import { audit } from "../src/audit.js";
import { trees } from "./trees.js";

/** What may be missing: checkpoints, cosigned or not, that nothing names. */
const OPTIONAL: readonly string[] = ["heads/cosigned/1", "heads/cosigned/2", "heads/cosigned/3", "heads/cosigned/4", "registrars/0/0/checkpoints/1"];

test("trees.json: the findings of a whole audit, by their codes", async () => {
  const wrong: string[] = [];
  for (const { why, election, files, findings, also, state } of trees()) {
    const found = await audit(files, election);
    const codes = new Set(found.findings.map(({ code }) => code));
    const expected = findings.map(({ code }) => code);
    const extra = [...codes].filter((code) => !expected.includes(code) && !also.includes(code));
    const missing = expected.filter((code) => !codes.has(code));
    if (extra.length + missing.length > 0) wrong.push(`${why}: missing ${missing.join()}; too many: ${found.findings.filter(({ code }) => extra.includes(code)).map((f) => Object.values(f).join(" | ")).join("; ")}`);
    if (found.state !== undefined && found.state !== state) wrong.push(`${why}: ${found.state}`);
  }
  assert.deepEqual(wrong, []);
});

test("no file of a tree can be changed, and none that must be there be taken away", async () => {
  const whole = trees().find(({ why }) => why === "an election to its end");
  assert.ok(whole);
  const silent: string[] = [];
  const passes = async (files: ReadonlyMap<string, Bytes>) => (await audit(files, whole.election)).findings.length === 0;
  for (const [path, bytes] of whole.files) {
    const without = new Map(whole.files);
    without.delete(path);
    if (path !== "manifest.json" && (await passes(without))) silent.push(path);
    const middle = bytes.length >> 1;
    const changed = Uint8Array.from(bytes, (byte, i) => (i === middle ? byte ^ 1 : byte));
    assert.ok(!(await passes(new Map([...whole.files, [path, changed]]))), `${path} changed`);
  }
  assert.deepEqual(silent, OPTIONAL);
});
