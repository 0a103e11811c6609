// Starts the worker that follows the election, before the page itself is there: it fetches what it will verify while the page still comes.
// The page imports this module, too, and there is one of it: `build.mjs` leaves it out of the page's own script.

// Workers are the only scripts that are started by an address, and this is the only one.
const policy = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } } }).trustedTypes?.createPolicy("tallyroot", {
  createScriptURL: (url: string) => url,
});
const url = new URL("worker.js", import.meta.url).href;

/** A worker of this name: `follower` reads the election's first files unasked. */
export const start = (name: "follower" | "counter"): Worker => new Worker(policy?.createScriptURL(url) ?? url, { type: "module", name });

export const follower = start("follower");
