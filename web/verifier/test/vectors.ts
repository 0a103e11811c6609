import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { webcrypto } from "node:crypto";
import assert from "node:assert/strict";
import { VerifierError } from "../src/error.js";

// Node 18 has WebCrypto, and does not yet offer it as browsers do.
if (!("crypto" in globalThis)) Object.defineProperty(globalThis, "crypto", { value: webcrypto });

/** The repository's `specs`, from `web/verifier/dist/test`. */
export const specs = fileURLToPath(new URL("../../../../specs/", import.meta.url));

/** A file of vectors, as its own `T` says. */
export function vectors<T>(name: string): T {
  return JSON.parse(readFileSync(`${specs}vectors/${name}.json`, "utf8")) as T;
}

/** What `action` gives, or undefined where it refuses. Any other error than the verifier's own fails the test. */
export async function accepted<T>(action: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    assert.ok(error instanceof VerifierError, `not the verifier's error: ${String(error)}`);
    return undefined;
  }
}

/** Asserts that `action` refuses with the verifier's own error, and gives it. */
export async function refused(action: () => unknown, why: string): Promise<VerifierError> {
  try {
    await action();
  } catch (error) {
    assert.ok(error instanceof VerifierError, `${why}: not the verifier's error: ${String(error)}`);
    return error;
  }
  return assert.fail(`${why}: accepted`);
}
