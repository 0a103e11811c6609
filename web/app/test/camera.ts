// Takes pictures of pages, and compares them with those that are kept in screens/.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { deflateSync, inflateSync } from "node:zlib";
import type { Browser, Page } from "playwright-core";

const [SCREENS, TAKEN] = [resolve("screens"), resolve("build/screens")];
const WRITE = process.env["TALLYROOT_WRITE_SCREENS"] === "1";
/** So many pixels may differ, of a million: antialiasing along a few edges. A changed word has more. */
const MAY_DIFFER = 20;

/** A page of nothing of ours: the letters, boxes and controls that this browser, with its fonts, draws. */
const PROBE = `<!doctype html><html lang="en"><meta charset="utf-8"><body style="margin: 8px; width: 600px; font: 16px/1.5 system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans Arabic', sans-serif">
<h1>Handgloves 0123456789</h1><p><b>The quick brown fox</b> jumps over the lazy dog · – … ✓ “ß” ñ ç ã é</p><p dir="rtl" lang="ar">نص عربي للتجربة ١٢٣</p><p style="font-family: ui-monospace, monospace">0123 abcdef</p><code>0123 abcdef</code>
<p><button>Button</button> <select><option>One</option></select> <input value="text"> <input type="checkbox" checked> <input type="radio" checked> <input type="file"></p><details open><summary>Details</summary></details><textarea>text</textarea></body></html>`;

/** What differs from one election to the next, or from one build to the next, is written over: ids, places in the ledger, the code for another device. */
function still(): void {
  const over = (element: Element, pattern: RegExp, by: string): void => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const after = (node.textContent ?? "").replace(pattern, by);
      if (after !== node.textContent) node.textContent = after;
    }
  };
  const id = "0123456789abcdef".repeat(4);
  over(document.body, /\b[0-9a-f]{64}\b/g, id);
  over(document.body, /\b([0-9a-f]{8} ){7}[0-9a-f]{8}\b/g, id.replace(/(.{8})(?=.)/g, "$1 "));
  for (const element of document.querySelectorAll('[data-on-roll], [data-standing] [role="status"] p, [data-verdict] details > p:first-of-type')) over(element, /\p{Nd}+/gu, "7");
  for (const element of document.querySelectorAll<SVGElement>(".qr .dark")) element.style.visibility = "hidden";
}

export class Camera {
  private readonly room: Page;
  /** Whether this browser draws as the one that the pictures were taken with. */
  private readonly alike: boolean;
  readonly different: string[] = [];

  private constructor(room: Page, alike: boolean) {
    [this.room, this.alike] = [room, alike];
  }

  static async open(browser: Browser): Promise<Camera> {
    const room = await (await browser.newContext()).newPage();
    await room.setContent(PROBE);
    const probe = await room.screenshot();
    const camera = new Camera(await (await browser.newContext()).newPage(), true);
    if (WRITE) await camera.write("probe", probe);
    const unlike = await camera.differ(kept("probe"), probe);
    const alike = typeof unlike === "number" && unlike <= MAY_DIFFER;
    await room.context().close();
    if (!alike) console.log(`pictures are taken and not compared: Chromium ${browser.version()}, with the fonts that it has here, draws plain text and controls unlike screens/probe.png (${unlike} of a million pixels)`);
    return new Camera(camera.room, alike);
  }

  /** The page as it is, whole; nothing of it is wider than the screen. */
  async take(page: Page, name: string): Promise<void> {
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: wider than the screen`);
    await page.mouse.move(0, 0);
    await page.evaluate(still);
    const png = await page.screenshot({ fullPage: true, animations: "disabled", caret: "hide" });
    if (WRITE) return this.write(name, png);
    if (!this.alike) return;
    const parts = existsSync(join(SCREENS, `${name}.png`)) ? await this.differ(kept(name), png) : "no such picture is kept";
    if (typeof parts === "number" && parts <= MAY_DIFFER) return;
    mkdirSync(TAKEN, { recursive: true });
    writeFileSync(join(TAKEN, `${name}.png`), png);
    this.different.push(`${name}: ${typeof parts === "number" ? `${parts} of a million pixels differ` : parts} (build/screens/${name}.png)`);
  }

  /** Fails where a picture was not what is kept. */
  check(): void {
    assert.deepEqual(this.different, [], "look at them; if they are as they should be, TALLYROOT_WRITE_SCREENS=1 keeps the new ones");
  }

  /** As a PNG of at most 256 colours: a fifth of the size, and no letter looks other. */
  private async write(name: string, png: Buffer): Promise<void> {
    const { width, height, colours, places } = await this.room.evaluate(async (text) => {
      const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${text}`)).blob());
      const { width, height } = picture;
      const context = new OffscreenCanvas(width, height).getContext("2d");
      context?.drawImage(picture, 0, 0);
      const words = new Uint32Array(context?.getImageData(0, 0, width, height).data.buffer ?? new ArrayBuffer(0));
      const channels = (word: number): number[] => [word & 255, (word >> 8) & 255, (word >> 16) & 255];
      const byUse = (all: Iterable<number>): [number, number][] => {
        const uses = new Map<number, number>();
        for (const word of all) uses.set(word, (uses.get(word) ?? 0) + 1);
        return [...uses].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
      };
      // What is used most stays as it is; of the shades along letters' edges every sixteenth is enough.
      const often = byUse(words);
      const shades = byUse(often.slice(64).map(([word]) => channels(word).reduce((sum, channel, c) => sum + ((Math.round(channel / 17) * 17) << (8 * c)), 0)));
      const colours = [...often.slice(0, 64), ...shades.slice(0, 192)].map(([word]) => channels(word));
      const nearest = new Map(often.map(([word]) => {
        const far = colours.map((colour) => colour.reduce((sum, channel, c) => sum + (channel - ((word >> (8 * c)) & 255)) ** 2, 0));
        return [word, far.indexOf(Math.min(...far))];
      }));
      const places = Uint8Array.from(words, (word) => nearest.get(word) ?? 0);
      const bytes = new Uint8Array(await new Response(new Blob([places]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer());
      return { width, height, colours, places: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) };
    }, png.toString("base64"));
    const rows = inflateSync(Buffer.from(places, "base64"));
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, 3], 8);
    // Each row begins with its filter: none.
    const lines = Buffer.concat(Array.from({ length: height }, (_, y) => [Buffer.of(0), rows.subarray(y * width, (y + 1) * width)]).flat());
    const chunks = [["IHDR", header], ["PLTE", Buffer.from(colours.flat())], ["IDAT", deflateSync(lines, { level: 9 })], ["IEND", Buffer.alloc(0)]] as const;
    mkdirSync(SCREENS, { recursive: true });
    writeFileSync(join(SCREENS, `${name}.png`), Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), ...chunks.map(([type, data]) => chunk(type, data))]));
  }

  /** How many pixels of a million differ from the kept picture by more than a shade, from every neighbour there too: an edge may lie half a pixel beside. */
  private differ(reference: Buffer, png: Buffer): Promise<number | string> {
    return this.room.evaluate(async ([one, other]) => {
      const pixels = async (text: string) => {
        const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${text}`)).blob());
        const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
        context?.drawImage(picture, 0, 0);
        return { width: picture.width, height: picture.height, data: context?.getImageData(0, 0, picture.width, picture.height).data ?? new Uint8ClampedArray() };
      };
      const [a, b] = [await pixels(one ?? ""), await pixels(other ?? "")];
      const { width, height } = a;
      if (width !== b.width || height !== b.height) return `${b.width} × ${b.height} in place of ${width} × ${height}`;
      const near = (x: Uint8ClampedArray, i: number, y: Uint8ClampedArray, j: number): boolean => [0, 1, 2].every((c) => Math.abs((x[i + c] ?? 0) - (y[j + c] ?? 0)) <= 40);
      let count = 0;
      for (let at = 0; at < width * height; at++) {
        if (near(a.data, 4 * at, b.data, 4 * at)) continue;
        const around = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => at + dy * width + dx)).filter((place) => place >= 0 && place < width * height);
        if (!around.some((place) => near(a.data, 4 * place, b.data, 4 * at)) || !around.some((place) => near(a.data, 4 * at, b.data, 4 * place))) count++;
      }
      return Math.ceil((count * 1_000_000) / (width * height));
    }, [reference.toString("base64"), png.toString("base64")]);
  }
}

const kept = (name: string): Buffer => readFileSync(join(SCREENS, `${name}.png`));

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data]);
  let crc = ~0;
  for (const byte of body) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeInt32BE(~crc, 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}
