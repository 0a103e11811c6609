import { fromUtf8, utf8 } from "./bytes.js";
import { fail } from "./error.js";
import { UNASSIGNED } from "./unicode14.js";

/** Sorted ranges of code points, both ends included. */
type Ranges = readonly (readonly [number, number])[];

function ranges(text: string): Ranges {
  const out = text
    .trim()
    .split(/\s+/)
    .map((range): readonly [number, number] => {
      const [first = "", last = first] = range.split("-");
      return [Number.parseInt(first, 16), Number.parseInt(last, 16)];
    });
  return out.sort(([a], [b]) => a - b);
}

function within(set: Ranges, point: number): boolean {
  let low = 0;
  let high = set.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const [first, last] = set[middle] ?? [0, -1];
    if (point < first) high = middle;
    else if (point > last) low = middle + 1;
    else return true;
  }
  return false;
}

const ASSIGNED_NOT = ranges(UNASSIGNED);
const FORBIDDEN = ranges(`0-1F 7F-9F AD 34F 600-605 61C 6DD 70F 890-891 8E2 115F-1160 17B4-17B5 180E 200B 200E-200F 2028-202E 2060-206F 2800
  3164 E000-F8FF FDD0-FDEF FEFF FFA0 FFF0-FFFB 110BD 110CD 13430-1343F 1BCA0-1BCA3 1D173-1D17A E0000-E00FF E01F0-E0FFF F0000-10FFFF`);
const WHITE_SPACE = ranges("20 A0 1680 2000-200A 202F 205F 3000");
const JOINERS = ranges("200C-200D");
const JOINED = ranges("600-10FF 1700-1CFF A800-ABFF FB50-FDFF FE70-FEFE 10A00-10FFF 11000-11FFF 1E900-1E95F");
const SELECTORS = ranges("FE00-FE0F E0100-E01EF");

const forbidden = (point: number): boolean => (point & 0xfffe) === 0xfffe || within(FORBIDDEN, point) || within(ASSIGNED_NOT, point);
const joined = (point: number | undefined): boolean => point !== undefined && within(JOINED, point) && !forbidden(point);
const selected = (point: number | undefined): boolean =>
  point !== undefined && point >= 0x2010 && !within(WHITE_SPACE, point) && !within(JOINERS, point) && !within(SELECTORS, point);

/** Whether `text` holds a character that labels count as white space. */
export function hasWhiteSpace(text: string): boolean {
  return [...text].some((character) => within(WHITE_SPACE, character.codePointAt(0) ?? 0));
}

/** Checks a label: 1 to `most` bytes of UTF-8 that show what they are (protocol, section 2). */
export function checkLabel(text: string, most = 200): void {
  const length = utf8(text).length;
  if (length < 1 || length > most) fail("label", `not 1 to ${most} bytes`);
  if (text.normalize("NFC") !== text) fail("label", "not NFC");
  const points = [...text].map((character) => character.codePointAt(0) ?? 0);
  points.forEach((point, i) => {
    const before = points[i - 1];
    if (forbidden(point)) fail("label", `U+${point.toString(16).toUpperCase()} is not allowed`);
    if (within(WHITE_SPACE, point) && (before === undefined || i === points.length - 1 || within(WHITE_SPACE, before))) {
      fail("label", "white space at an end, or doubled");
    }
    if (within(JOINERS, point) && !(joined(before) && joined(points[i + 1]))) fail("label", "a joiner that joins nothing");
    if (within(SELECTORS, point) && !selected(before)) fail("label", "a variation selector that selects nothing");
  });
}

/** The label that `bytes` encode. */
export function decodeLabel(bytes: Uint8Array, most = 200): string {
  const text = fromUtf8(bytes);
  checkLabel(text, most);
  return text;
}
