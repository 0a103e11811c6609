import { utf8 } from "../src/bytes.js";
import { type Manifest, parseManifest } from "../src/manifest.js";
import { vectors } from "./vectors.js";

/** The manifest of the election of most vectors: `base` of manifest.json. */
export async function base(): Promise<Manifest> {
  const found = vectors<{ cases: { why: string; manifest: string }[] }>("manifest").cases.find(({ why }) => why === "base");
  return parseManifest(utf8(found?.manifest ?? ""));
}
