// Builds the benchmark of the pages and runs it with Node: `bench.mjs [small|large] [loads|stream|hour]`. It wants what the tests want.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const app = dirname(dirname(fileURLToPath(import.meta.url)));
await build({ absWorkingDir: app, entryPoints: ["bench/pages.ts"], outfile: "build/bench.mjs", bundle: true, platform: "node", format: "esm", target: "node18", packages: "external", logLevel: "warning" });
process.exitCode = spawnSync(process.execPath, [join(app, "build/bench.mjs"), ...process.argv.slice(2)], { stdio: "inherit", cwd: app }).status ?? 1;
