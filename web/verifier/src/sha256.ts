import { type Bytes, concat } from "./bytes.js";

/** SHA-256 of the parts, one behind the other. */
export async function sha256(...parts: readonly Uint8Array[]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...parts)));
}
