// Does a test of the TypeScript verifier fail when a check is broken? Breaks the compiled verifier in one place at a time, and runs the tests that reach the place:
//
//   npm --prefix web/verifier run build && node scripts/mutants_typescript.mjs target/mutants-typescript [PART/PARTS]
//
// Checks that are left out come first, then operands of conditions, then comparisons. Each mutant is a line of FOLDER/mutants.jsonl; what stands there is not run again.
// See tests/mutants-typescript.md.
import { spawn } from "node:child_process";
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const verifier = join(root, "web/verifier");
const ts = createRequire(join(verifier, "package.json"))("typescript");
const [folder = "target/mutants-typescript", shard = "0/1"] = process.argv.slice(2);
const [part, parts] = shard.split("/").map(Number);
const out = resolve(folder);
/** Tables, words, and what hands errors on. */
const SKIPPED = new Set(["unicode14.js", "index.js", "error.js"]);
const CPU_SECONDS = 120;

// A copy in which the tests find the vectors where they look for them.
const work = join(out, "copy");
rmSync(work, { recursive: true, force: true });
mkdirSync(join(work, "web/verifier"), { recursive: true });
for (const name of ["dist", "package.json"]) cpSync(join(verifier, name), join(work, "web/verifier", name), { recursive: true });
for (const name of ["specs", "tests"]) symlinkSync(join(root, name), join(work, name));
const [source, tests] = ["src", "test"].map((name) => join(work, "web/verifier/dist", name));

/** Runs a test file until something in it fails. Processor time is bounded, not the clock's: the machine may be busy. */
function run(test, env = {}) {
  const begun = Date.now();
  return new Promise((done) => {
    const child = spawn("sh", ["-c", 'ulimit -t "$0"; exec "$@"', String(CPU_SECONDS), process.execPath, "--test-reporter=tap", join(tests, test)], { stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, ...env } });
    let failed = false;
    child.stdout.on("data", (text) => { if (/^\s*not ok/m.test(String(text))) { failed = true; child.kill("SIGKILL"); } });
    child.on("close", (code, signal) => done({ ok: code === 0, hung: !failed && signal !== null, ms: Date.now() - begun }));
  });
}

// Which tests reach which place.
const reach = [];
for (const test of readdirSync(tests).filter((name) => name.endsWith(".test.js"))) {
  const where = mkdtempSync(join(tmpdir(), "reach-"));
  const ran = await run(test, { NODE_V8_COVERAGE: where });
  if (!ran.ok) throw new Error(`${test} fails as it is`);
  const ranges = new Map();
  for (const name of readdirSync(where)) {
    for (const { url, functions } of JSON.parse(readFileSync(join(where, name), "utf8")).result) {
      if (url.startsWith("file:") && fileURLToPath(url).startsWith(source)) ranges.set(basename(url), functions.flatMap((one) => one.ranges));
    }
  }
  rmSync(where, { recursive: true });
  reach.push({ test, ms: ran.ms, ranges });
}
/** The innermost range around a place says how often it ran. */
function reaches({ ranges }, file, at) {
  const around = (ranges.get(file) ?? []).filter(({ startOffset, endOffset }) => startOffset <= at && at < endOffset);
  const innermost = around.reduce((best, one) => (best === undefined || one.endOffset - one.startOffset <= best.endOffset - best.startOffset ? one : best), undefined);
  return (innermost?.count ?? 0) > 0;
}

const OTHER = { "<": "<=", "<=": "<", ">": ">=", ">=": ">", "===": "!==", "!==": "===" };
/** The mutants of a file: kind 0 leaves a check out, 1 an operand or a condition, 2 changes a comparison. */
function mutantsOf(file) {
  const text = readFileSync(join(source, file), "utf8");
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  const found = [];
  // `at`: where it must be reached. A check that refuses is reached by its condition.
  const add = (kind, node, replacement, at = node.getStart()) => found.push({
    kind, file, line: tree.getLineAndCharacterOfPosition(node.getStart()).line + 1, at, from: node.getStart(), to: node.getEnd(), was: node.getText().replace(/\s+/g, " ").slice(0, 160), is: replacement.slice(0, 160), replacement,
  });
  const visit = (node) => {
    if (ts.isCallExpression(node) && node.expression.getText() === "fail") {
      let above = node;
      while (above.parent && !ts.isStatement(above)) above = above.parent;
      const check = ts.isIfStatement(above.parent) ? above.parent : above;
      add(0, node, "undefined", check.getStart());
    }
    if (ts.isIfStatement(node)) add(1, node.expression, "false", node.getStart());
    if (ts.isBinaryExpression(node)) {
      const operator = node.operatorToken.getText();
      if (operator === "&&" || operator === "||") for (const side of [node.left, node.right]) add(1, node, `(${side.getText()})`);
      if (OTHER[operator] !== undefined) add(2, node, `(${node.left.getText()} ${OTHER[operator]} ${node.right.getText()})`);
    }
    if (ts.isPrefixUnaryExpression(node) && node.operator === ts.SyntaxKind.ExclamationToken) add(1, node, `(${node.operand.getText()})`);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

const all = readdirSync(source).filter((name) => name.endsWith(".js") && !SKIPPED.has(name)).flatMap(mutantsOf).sort((a, b) => a.kind - b.kind);
const chosen = all.filter((_, i) => i % parts === part);
const log = join(out, "mutants.jsonl");
const nameOf = ({ file, from, to, is }) => `${file} ${from}-${to} ${is}`;
const before = new Set(existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").map((line) => JSON.parse(line).name) : []);
console.log(`${all.length} mutants: ${[0, 1, 2].map((kind) => all.filter((one) => one.kind === kind).length).join(" checks, ")}; ${chosen.length} here, ${before.size} known`);
const killers = new Map();
for (const mutant of chosen) {
  const { kind, file, line, at, from, to, was, is, replacement } = mutant;
  if (before.has(nameOf(mutant))) continue;
  const path = join(source, file);
  const text = readFileSync(path, "utf8");
  const kills = (test) => killers.get(`${file} ${test}`) ?? 0;
  const wanted = reach.filter((one) => reaches(one, file, at)).sort((a, b) => kills(b.test) / b.ms - kills(a.test) / a.ms || a.ms - b.ms);
  let outcome = wanted.length === 0 ? "unreached" : "missed";
  let by = "";
  writeFileSync(path, text.slice(0, from) + replacement + text.slice(to));
  for (const { test } of wanted) {
    const ran = await run(test);
    if (ran.ok) continue;
    [outcome, by] = [ran.hung ? "hung" : "caught", test];
    killers.set(`${file} ${test}`, kills(test) + 1);
    break;
  }
  writeFileSync(path, text);
  appendFileSync(log, `${JSON.stringify({ name: nameOf(mutant), kind, file, line, was, is, outcome, by })}\n`);
  if (outcome !== "caught") console.log(`${outcome}: ${file}:${line} ${was}  ->  ${is}`);
}
