// Builds the pages into static files: `build.mjs FOLDER`. `build.mjs --compare FOLDER` builds them elsewhere, and says whether they are FOLDER's, byte for byte.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const app = dirname(dirname(fileURLToPath(import.meta.url)));
const args = process.argv.slice(2);
const compare = args[0] === "--compare";
const folder = join(app, args[compare ? 1 : 0] ?? "dist");

/** English is in the page; the others are fetched when somebody wants them. */
const languages = readdirSync(join(app, "src/lang")).map((name) => name.slice(0, -3)).filter((name) => name !== "en").sort();

const licence = (name) => readFileSync(join(app, "node_modules", name), "utf8").trim();

async function make(out) {
  mkdirSync(out, { recursive: true });
  for (const name of readdirSync(out)) rmSync(join(out, name));
  const scripts = (entryPoints, licences) => build({
    absWorkingDir: app,
    entryPoints,
    outdir: out,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    jsx: "automatic",
    jsxImportSource: "preact",
    banner: { js: `/*! Tallyroot, Apache-2.0.${licences} */` },
    // A module of its own, which runs before the page's script is there.
    plugins: [{ name: "apart", setup: ({ onResolve }) => onResolve({ filter: /^\.\/start\.js$/ }, ({ path }) => ({ path, external: true })) }],
    logLevel: "warning",
  });
  await scripts({
    start: "src/page/start.ts",
    worker: "src/worker/main.ts",
    voter: "src/voting/worker/voter.ts",
    "receipt-worker": "src/voting/worker/checker.ts",
    offline: "src/voting/offline.ts",
    ...Object.fromEntries(languages.map((language) => [language, `src/lang/${language}.ts`])),
    ...Object.fromEntries(languages.map((language) => [`vote-${language}`, `src/voting/lang/${language}.ts`])),
  }, "");
  // Preact's licence asks to stand in every copy.
  await scripts({
    page: "src/page/main.tsx",
    vote: "src/voting/page/vote.tsx",
    receipt: "src/voting/page/receipt.tsx",
    audit: "src/voting/page/audit.tsx",
  }, ` The page contains Preact:\n${licence("preact/LICENSE")}\n`);
  for (const name of ["page.css", "voting.css"]) {
    writeFileSync(join(out, name), (await build({ absWorkingDir: app, entryPoints: [`static/${name}`], minify: true, write: false, logLevel: "warning" })).outputFiles[0].contents);
  }
  // One number for all that runs: the hash of the list of the files' hashes. The page shows it; `sha256sum -c sums.txt` repeats it.
  const digest = (bytes, encoding) => createHash("sha256").update(bytes).digest(encoding);
  const sums = readdirSync(out).sort().map((name) => `${digest(readFileSync(join(out, name)), "hex")}  ${name}\n`).join("");
  writeFileSync(join(out, "sums.txt"), sums);
  const integrity = (name) => `sha256-${digest(readFileSync(join(out, name)), "base64")}`;
  for (const page of ["index", "vote", "receipt", "audit"]) {
    const html = readFileSync(join(app, `static/${page}.html`), "utf8")
      .replace("@BUNDLE@", digest(sums, "hex"))
      .replace(/@INTEGRITY ([a-z.-]+)@/g, (_, name) => integrity(name));
    writeFileSync(join(out, `${page}.html`), html);
  }
}

if (!compare) {
  await make(folder);
} else {
  const fresh = mkdtempSync(join(tmpdir(), "tallyroot-app-"));
  try {
    await make(fresh);
    const names = [...new Set([...readdirSync(fresh), ...readdirSync(folder)])].sort();
    const read = (where, name) => { try { return readFileSync(join(where, name)); } catch { return Buffer.alloc(0); } };
    const different = names.filter((name) => !read(fresh, name).equals(read(folder, name)));
    if (different.length > 0) {
      console.error(`not what the source builds: ${different.join(", ")} (npm --prefix web/app run build)`);
      process.exitCode = 1;
    }
  } finally {
    rmSync(fresh, { recursive: true });
  }
}
