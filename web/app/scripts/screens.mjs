// Pictures of the page, of a real election before and after its end: `npm run screens`. Looked at, and kept in screens/ as references.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const app = dirname(dirname(fileURLToPath(import.meta.url)));
const screens = join(app, "screens");
mkdirSync(screens, { recursive: true });
await build({ absWorkingDir: app, entryPoints: ["test/election.ts", "test/stage.ts", "test/browser.ts"], outdir: "build", bundle: true, platform: "node", format: "esm", packages: "external", outExtension: { ".js": ".mjs" } });
const load = (name) => import(pathToFileURL(join(app, "build", name)).href);
const [{ Election, folder }, { Stage }, { launch, visit }] = await Promise.all(["election.mjs", "stage.mjs", "browser.mjs"].map(load));

const [election, browser] = await Promise.all([Election.start(folder(), "--voters", "600", "--cells", "2", "--witnesses", "3"), launch()]);
const stage = await Stage.open(election);
stage.events = "real";
const looks = {
  light: { viewport: { width: 900, height: 800 } },
  dark: { viewport: { width: 900, height: 800 }, colorScheme: "dark" },
  phone: { viewport: { width: 360, height: 740 } },
  rtl: { viewport: { width: 360, height: 740 }, locale: "ar" },
};
async function take(name, options) {
  const { page } = await visit(browser, stage.page, options);
  await page.locator("#badge.verified, #badge.partly, #badge.caught").first().waitFor();
  await page.waitForTimeout(5_000);
  await page.screenshot({ path: join(screens, `${name}.png`), fullPage: name !== "first" });
  await page.context().close();
}
for (const name of ["light", "phone"]) await take(`open-${name}`, looks[name]);
await election.close();
await new Promise((done) => setTimeout(done, 5_000));
for (const [name, options] of Object.entries(looks)) await take(`final-${name}`, options);
// For the README: what is seen first.
await take("first", { viewport: { width: 900, height: 1_150 } });
stage.tamper = (path, bytes) => {
  if (path !== "results.json") return bytes;
  const results = JSON.parse(bytes.toString());
  const { counts } = results.contests[1];
  [counts[0], counts[1]] = [counts[1], counts[0]];
  return JSON.stringify(results);
};
stage.events = "off";
for (const name of ["light", "rtl"]) await take(`caught-${name}`, looks[name]);
await browser.close();
stage.close();
election.stop();
process.exit(0);
