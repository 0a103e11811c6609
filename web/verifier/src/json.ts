import { fromUtf8, isWellFormed } from "./bytes.js";
import { fail } from "./error.js";

/** A document's value. Numbers are integers from 0 to 2^53 - 1. */
export type Json = null | boolean | number | string | readonly Json[] | ReadonlyMap<string, Json>;

/** No document of the protocol nests deeper than a few levels; what does is none of them. */
const MAX_DEPTH = 64;

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ["\\", "\\"],
  ["b", "\b"],
  ["t", "\t"],
  ["n", "\n"],
  ["f", "\f"],
  ["r", "\r"],
]);
const SHORT: ReadonlyMap<string, string> = new Map([...ESCAPES].map(([letter, character]) => [character, letter]));

/** Reads RFC 8785's canonical form only: there is one text for one value, so whatever else stands there is refused where it stands. */
class Parser {
  private at = 0;
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  document(): Json {
    const value = this.value(0);
    if (this.at !== this.text.length) this.refuse("something behind the document");
    return value;
  }

  private refuse(message: string): never {
    return fail("json", `${message}, at character ${this.at}`);
  }

  private skip(expected: string): boolean {
    if (!this.text.startsWith(expected, this.at)) return false;
    this.at += expected.length;
    return true;
  }

  private value(depth: number): Json {
    if (depth > MAX_DEPTH) this.refuse("nested too deeply");
    if (this.skip("null")) return null;
    if (this.skip("true")) return true;
    if (this.skip("false")) return false;
    if (this.skip("{")) return this.members(depth);
    if (this.skip("[")) return this.elements(depth);
    return this.text.charAt(this.at) === '"' ? this.string() : this.integer();
  }

  private members(depth: number): Json {
    const out = new Map<string, Json>();
    if (this.skip("}")) return out;
    let last: string | undefined;
    do {
      const name = this.string();
      // JavaScript compares strings by UTF-16 code units, as RFC 8785 sorts them.
      if (last !== undefined && !(last < name)) this.refuse("members not in order, or one twice");
      last = name;
      if (!this.skip(":")) this.refuse("no colon");
      out.set(name, this.value(depth + 1));
    } while (this.skip(","));
    if (!this.skip("}")) this.refuse("an object that does not end");
    return out;
  }

  private elements(depth: number): Json {
    const out: Json[] = [];
    if (this.skip("]")) return out;
    do {
      out.push(this.value(depth + 1));
    } while (this.skip(","));
    if (!this.skip("]")) this.refuse("an array that does not end");
    return out;
  }

  private integer(): number {
    const pattern = /(?:0|[1-9][0-9]*)(?![0-9.eE])/y;
    pattern.lastIndex = this.at;
    const digits = pattern.exec(this.text)?.[0];
    if (digits === undefined || digits.length > 16) this.refuse("no value");
    const value = Number(digits);
    if (!Number.isSafeInteger(value)) this.refuse("a number above 2^53 - 1");
    this.at += digits.length;
    return value;
  }

  private string(): string {
    if (!this.skip('"')) this.refuse("no string");
    let out = "";
    for (;;) {
      const plain = /[^"\\\u0000-\u001f]*/y;
      plain.lastIndex = this.at;
      const run = plain.exec(this.text)?.[0] ?? "";
      out += run;
      this.at += run.length;
      if (this.skip('"')) return out;
      if (!this.skip("\\")) this.refuse("a string that does not end, or a control character");
      out += this.escape();
    }
  }

  private escape(): string {
    const letter = this.text.charAt(this.at);
    const short = ESCAPES.get(letter);
    if (short !== undefined) {
      this.at += 1;
      return short;
    }
    const code = /^u00([01][0-9a-f])$/.exec(this.text.slice(this.at, this.at + 5))?.[1];
    if (code === undefined) this.refuse("an escape that is not canonical");
    const character = String.fromCharCode(Number.parseInt(code, 16));
    if (SHORT.has(character)) this.refuse("a long escape for a short one");
    this.at += 5;
    return character;
  }
}

/** The value of a canonical document. */
export function parseCanonical(bytes: Uint8Array): Json {
  return new Parser(fromUtf8(bytes)).document();
}

/** What `canonicalText` writes: plain objects stand for maps. */
export type Writable = null | boolean | number | string | readonly Writable[] | { readonly [name: string]: Writable };

/** The canonical text of a value. */
export function canonicalText(value: Writable): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? String(value) : fail("json", "no integer of the protocol");
  if (typeof value === "string") return quoted(value);
  if (isList(value)) return `[${value.map(canonicalText).join(",")}]`;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${members.map(([name, member]) => `${quoted(name)}:${canonicalText(member)}`).join(",")}}`;
}

function isList(value: readonly Writable[] | { readonly [name: string]: Writable }): value is readonly Writable[] {
  return Array.isArray(value);
}

function quoted(text: string): string {
  if (!isWellFormed(text)) fail("json", "a lone surrogate");
  const escaped = text.replace(/["\\\u0000-\u001f]/g, (character) => {
    const short = SHORT.get(character);
    return short === undefined ? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}` : `\\${short}`;
  });
  return `"${escaped}"`;
}

/** Reads a document's members by their types, and refuses what is missing, unknown or of another type. */
export class Members {
  private readonly members: ReadonlyMap<string, Json>;
  private readonly place: string;

  /** `names` are exactly the members that must be there. */
  constructor(value: Json, place: string, names: readonly string[]) {
    if (!(value instanceof Map)) fail("json", `${place} is no object`);
    this.members = value;
    this.place = place;
    for (const name of names) if (!value.has(name)) fail("json", `${place} lacks ${name}`);
    if (value.size !== names.length) fail("json", `${place} has an unknown member`);
  }

  get(name: string): Json {
    const value = this.members.get(name);
    return value === undefined ? fail("json", `${this.place} lacks ${name}`) : value;
  }

  string(name: string): string {
    const value = this.get(name);
    return typeof value === "string" ? value : fail("json", `${this.place}.${name} is no string`);
  }

  integer(name: string): number {
    const value = this.get(name);
    return typeof value === "number" ? value : fail("json", `${this.place}.${name} is no integer`);
  }

  boolean(name: string): boolean {
    const value = this.get(name);
    return typeof value === "boolean" ? value : fail("json", `${this.place}.${name} is no boolean`);
  }

  array(name: string): readonly Json[] {
    return asArray(this.get(name), `${this.place}.${name}`);
  }

  /** A string, or undefined for null. */
  optionalString(name: string): string | undefined {
    return this.get(name) === null ? undefined : this.string(name);
  }

  /** An integer, or undefined for null. */
  optionalInteger(name: string): number | undefined {
    return this.get(name) === null ? undefined : this.integer(name);
  }
}

export function asArray(value: Json, place: string): readonly Json[] {
  return isArray(value) ? value : fail("json", `${place} is no array`);
}

export function asString(value: Json, place: string): string {
  return typeof value === "string" ? value : fail("json", `${place} is no string`);
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
