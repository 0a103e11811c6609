// Pictures of the page, of a real election before and after its end: `npm run screens`. Looked at, and kept in screens/ as references.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const app = dirname(dirname(fileURLToPath(import.meta.url)));
const screens = join(app, "screens");
mkdirSync(screens, { recursive: true });
await build({ absWorkingDir: app, entryPoints: ["test/election.ts", "test/stage.ts", "test/browser.ts", "test/voter.ts"], outdir: "build", bundle: true, platform: "node", format: "esm", packages: "external", outExtension: { ".js": ".mjs" } });
const load = (name) => import(pathToFileURL(join(app, "build", name)).href);
const [{ Election, folder }, { Stage }, { launch, visit }, { at, codesOf, review, signIn, standing }] = await Promise.all(["election.mjs", "stage.mjs", "browser.mjs", "voter.mjs"].map(load));

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

/** A guest votes: the steps of which a picture is wanted, and afterwards her receipt. */
async function vote(name, options, codes, ...wanted) {
  const { page } = await visit(browser, `${stage.page}vote#id=${election.id}`, options);
  const shot = async (step) => wanted.includes(step) && page.screenshot({ path: join(screens, `vote-${name}-${step}.png`), fullPage: true });
  await at(page, "signIn").waitFor();
  await shot("code");
  await signIn(page, codes);
  await at(page, "ballot").waitFor();
  for (const nth of [2, 0]) await page.locator('[data-contest="0"] [data-way="add"]').nth(nth).click();
  await page.locator('[data-contest="1"] input').nth(1).click();
  await page.mouse.move(0, 0);
  await shot("ballot");
  await review(page);
  await shot("review");
  // Sent into nothing, which is said; then it arrives.
  stage.cutPost = () => "before";
  await page.locator("#cast").click();
  await page.locator('[data-problem="noAnswer"]').waitFor();
  await shot("unknown");
  stage.cutPost = () => "pass";
  await standing(page, "sealed").waitFor();
  await page.locator("summary").first().click();
  await shot("sealed");
  for (const [other, seen] of [["receipt", '[data-verdict="covered"]'], ["audit", "#command"]]) {
    await page.goto(stage.page + other);
    await page.locator(seen).waitFor();
    await shot(other);
  }
  await page.context().close();
}
const guests = codesOf(election.data).slice(-3);
await vote("light", looks.light, guests[0], "code", "ballot", "review", "unknown", "sealed", "receipt", "audit");
await vote("dark", { ...looks.dark, viewport: looks.phone.viewport }, guests[1], "ballot", "unknown", "sealed");
await vote("rtl", looks.rtl, guests[2], "code", "ballot", "sealed", "receipt");
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
