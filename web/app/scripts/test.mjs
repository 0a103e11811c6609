// Builds the tests and runs them with Node: `test.mjs [FILE…]`. They start real elections with target/debug/tallyroot (or TALLYROOT), and Debian's chromium (or CHROMIUM).
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const app = dirname(dirname(fileURLToPath(import.meta.url)));
const wanted = process.argv.slice(2);
const names = readdirSync(join(app, "test")).filter((name) => name.endsWith(".test.ts") && (wanted.length === 0 || wanted.some((part) => name.includes(part))));
await build({
  absWorkingDir: app, entryPoints: names.map((name) => `test/${name}`), outdir: "build", bundle: true, platform: "node", format: "esm", target: "node18", packages: "external",
  sourcemap: "inline", logLevel: "warning", outExtension: { ".js": ".mjs" },
});
// They mostly wait: two at a time also where Node would take one.
const two = Number(process.versions.node.split(".")[0]) >= 20 ? ["--test-concurrency=2"] : [];
const ran = spawnSync(process.execPath, ["--test", ...two, "--test-reporter=spec", ...names.map((name) => join(app, "build", name.replace(/\.ts$/, ".mjs")))], { stdio: "inherit" });
process.exitCode = ran.status ?? 1;
