import { type Bytes, fromBase64, fromHex, toHex } from "./bytes.js";
import { isEd25519Key } from "./ed25519.js";
import { fail, renamed, renamedAsync } from "./error.js";
import { type Json, Members, asArray, asString, parseCanonical } from "./json.js";
import { checkLabel, hasWhiteSpace } from "./labels.js";
import { type VerifierKey, parseVerifierKey } from "./note.js";
import { type RsaKey, parseRsaKey } from "./rsa.js";
import { sha256 } from "./sha256.js";

export interface KeyPair { readonly main: Bytes; readonly spare: Bytes }

export type Method = "plurality" | "approval" | "ranked";
export type TieRule = "listed-order" | "prior-rounds";

export interface Contest {
  readonly method: Method;
  readonly name: string;
  readonly options: readonly string[];
  readonly tieRule: TieRule;
}

export interface Registrar { readonly name: string; readonly rsa: RsaKey; readonly shards: readonly KeyPair[] }

/** An election's manifest (section 2), every rule of it checked. */
export interface Manifest {
  /** The election id. */
  readonly election: Bytes;
  readonly title: string;
  readonly base: string;
  readonly demo: boolean;
  readonly contests: readonly Contest[];
  readonly times: { readonly registration: number; readonly opening: number; readonly closing: number; readonly grace: number };
  readonly retention: number;
  readonly cells: readonly KeyPair[];
  readonly registrars: readonly Registrar[];
  readonly heads: KeyPair;
  readonly authority: KeyPair;
  readonly roll: { readonly size: number; readonly root: Bytes };
  readonly batchMin: number;
  readonly batchWaitMs: number;
  readonly castDelayS: number;
  readonly headIntervalMs: number;
  readonly anchors: readonly string[];
  readonly witnesses: { readonly keys: readonly VerifierKey[]; readonly quorum: number };
}

const MAX_MANIFEST = 1 << 20;
export const MAX_BATCH_FILE = 1 << 24;
export const MAX_BATCH_ENTRIES = 32_768;
/** The bytes of a batch file in front of its entries (section 9). */
export const BATCH_HEADER = 19 + 32 + 9 + 8 + 8 + 32 + 8 + 32;

const refuse = (message: string): never => fail("manifest", message);

function between(value: number, low: number, high: number, what: string): number {
  return value >= low && value <= high ? value : refuse(`${what} is not from ${low} to ${high}`);
}

function several(values: readonly Json[], low: number, high: number, what: string): readonly Json[] {
  between(values.length, low, high, `the number of ${what}`);
  return values;
}

function distinct(values: readonly string[], what: string): void {
  if (new Set(values).size !== values.length) refuse(`${what} are not distinct`);
}

function label(text: string): string {
  checkLabel(text);
  return text;
}

function key(text: string): Bytes {
  const bytes = fromHex(text, 32);
  return isEd25519Key(bytes) ? bytes : refuse("a key that the key rule forbids");
}

function keyPair(value: Json): KeyPair {
  const members = new Members(value, "key pair", ["main", "spare"]);
  return { main: key(members.string("main")), spare: key(members.string("spare")) };
}

function checkBase(base: string): string {
  label(base);
  if (base.length > 128) refuse("a base of more than 128 bytes");
  const [host = "", ...parts] = base.split("/");
  if (!host.split(".").every((part) => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(part))) refuse("a base whose host is no host name");
  if (!parts.every((part) => /^[a-z0-9._-]+$/.test(part) && part !== "." && part !== "..")) refuse("a base with a wrong path");
  return base;
}

function contest(value: Json): Contest {
  const members = new Members(value, "contest", ["method", "name", "options", "tie_rule"]);
  const method = members.string("method");
  if (method !== "plurality" && method !== "approval" && method !== "ranked") return refuse("an unknown method");
  const tieRule = members.string("tie_rule");
  if (tieRule !== "listed-order" && !(tieRule === "prior-rounds" && method === "ranked")) return refuse("an unknown tie rule");
  const options = several(members.array("options"), 1, 4096, "options").map((option) => label(asString(option, "option")));
  distinct(options, "options");
  return { method, name: label(members.string("name")), options, tieRule };
}

function registrar(value: Json): Registrar {
  const members = new Members(value, "registrar", ["name", "rsa", "shards"]);
  const shards = several(members.array("shards"), 1, 64, "shards").map(keyPair);
  return { name: label(members.string("name")), rsa: parseRsaKey(fromBase64(members.string("rsa"))), shards };
}

function anchor(value: Json): string {
  const members = new Members(value, "anchor", ["kind", "name"]);
  if (members.string("kind") !== "directory") refuse("an unknown kind of anchor");
  const name = label(members.string("name"));
  return /^[a-z0-9-]{1,64}$/.test(name) ? name : refuse("an anchor's name");
}

async function witnesses(value: Json): Promise<Manifest["witnesses"]> {
  const members = new Members(value, "witnesses", ["keys", "quorum"]);
  const texts = several(members.array("keys"), 0, 64, "witnesses").map((text) => asString(text, "witness"));
  const keys = await Promise.all(texts.map(parseVerifierKey));
  for (const { name, type, publicKey } of keys) {
    label(name);
    if (hasWhiteSpace(name)) refuse("a witness's name with white space");
    if (type !== 4) refuse("a witness's key is no cosignature key");
    if (!isEd25519Key(publicKey)) refuse("a witness's key that the key rule forbids");
  }
  distinct(keys.map(({ name }) => name), "names of witnesses");
  return { keys, quorum: between(members.integer("quorum"), 0, keys.length, "the quorum") };
}

/** The length of the longest vote entry. */
export function longestVote(contests: readonly Contest[], registrars: readonly Registrar[]): number {
  const signatures = registrars.reduce((sum, { rsa }) => sum + rsa.length, 0);
  const ballot = contests.reduce((sum, { method, options }) => sum + 2 + 2 * (method === "plurality" ? 1 : options.length), 0);
  return 1 + 32 + signatures + ballot + 64;
}

/** The length of a tally entry. */
export function tallyLength(contests: readonly Contest[]): number {
  return 1 + 4 * 8 + contests.reduce((sum, { options }) => sum + 8 * (1 + options.length), 0);
}

const NAMES = [
  "anchors", "authority", "base", "batch_min", "batch_wait_ms", "cast_delay_s", "cells", "contests", "demo", "format", "head_interval_ms",
  "heads", "registrars", "retention", "roll", "times", "title", "witnesses",
];

function times(value: Json): Manifest["times"] {
  const members = new Members(value, "times", ["closing", "grace", "opening", "registration"]);
  const out = {
    registration: members.integer("registration"),
    opening: members.integer("opening"),
    closing: members.integer("closing"),
    grace: between(members.integer("grace"), 1000, 604_800_000, "grace"),
  };
  if (out.registration > out.opening || out.opening >= out.closing) refuse("the times are not in order");
  return out;
}

function roll(value: Json): Manifest["roll"] {
  const members = new Members(value, "roll", ["root", "size"]);
  return { size: between(members.integer("size"), 1, 2 ** 40, "the roll's size"), root: fromHex(members.string("root"), 32) };
}

async function parse(bytes: Bytes): Promise<Manifest> {
  if (bytes.length > MAX_MANIFEST) refuse("more than 1 MiB");
  const members = new Members(parseCanonical(bytes), "manifest", NAMES);
  if (members.string("format") !== "tallyroot/v1/manifest") refuse("another format");
  const manifest: Manifest = {
    election: await sha256(bytes),
    title: label(members.string("title")),
    base: checkBase(members.string("base")),
    demo: members.boolean("demo"),
    contests: several(members.array("contests"), 1, 200, "contests").map(contest),
    times: times(members.get("times")),
    retention: members.integer("retention"),
    cells: several(members.array("cells"), 1, 1024, "cells").map(keyPair),
    registrars: several(members.array("registrars"), 1, 16, "registrars").map(registrar),
    heads: keyPair(members.get("heads")),
    authority: keyPair(members.get("authority")),
    roll: roll(members.get("roll")),
    batchMin: between(members.integer("batch_min"), 1, MAX_BATCH_ENTRIES - 1, "batch_min"),
    batchWaitMs: between(members.integer("batch_wait_ms"), 100, 30_000, "batch_wait_ms"),
    castDelayS: between(members.integer("cast_delay_s"), 0, 86_400, "cast_delay_s"),
    headIntervalMs: between(members.integer("head_interval_ms"), 100, 3_600_000, "head_interval_ms"),
    anchors: several(asArray(members.get("anchors"), "anchors"), 1, 16, "anchors").map(anchor),
    witnesses: await witnesses(members.get("witnesses")),
  };
  checkWhole(manifest);
  return manifest;
}

/** The rules that span several members. */
function checkWhole(manifest: Manifest): void {
  const { contests, cells, registrars, heads, authority, witnesses: { keys } } = manifest;
  if (contests.reduce((sum, { options }) => sum + options.length, 0) > 4096) refuse("more than 4,096 options");
  distinct(contests.map(({ name }) => name), "names of contests");
  distinct(manifest.anchors, "names of anchors");
  distinct(registrars.map(({ rsa }) => rsa.modulus.toString(16)), "RSA moduli");
  if (cells.length + registrars.reduce((sum, { shards }) => sum + shards.length, 0) > 1024) refuse("more than 1,024 cells and shards");
  const pairs = [...cells, ...registrars.flatMap(({ shards }) => shards), heads, authority];
  distinct([...pairs.flatMap(({ main, spare }) => [main, spare]), ...keys.map(({ publicKey }) => publicKey)].map(toHex), "keys");
  if (manifest.retention < manifest.times.closing) refuse("retention ends before closing");
  const batch = BATCH_HEADER + manifest.batchMin * (2 + longestVote(contests, registrars)) + 2 + tallyLength(contests);
  if (batch > MAX_BATCH_FILE) refuse("batch_min votes do not fit in a batch file");
}

/** Reads a manifest; its id is in it. Refusals have the code `manifest`. */
export async function parseManifest(bytes: Bytes): Promise<Manifest> {
  return renamedAsync("manifest", () => parse(bytes));
}

/** Reads the manifest of the election that has this id (hex): the id is all that a verifier is told. */
export async function openManifest(bytes: Bytes, election: string): Promise<Manifest> {
  const id = renamed("manifest", () => fromHex(election, 32));
  if (toHex(await sha256(bytes)) !== toHex(id)) refuse("the manifest is not the election's");
  return parseManifest(bytes);
}
