import assert from "node:assert/strict";
import { test } from "node:test";
import { audit } from "../src/audit.js";
import { trees } from "./trees.js";

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
