// Keeps the receipts' page for when there is no network: its own files, nothing of the election. What is there is asked for first, so that no old page stays.
interface Fetching extends Event { readonly request: Request; respondWith(answer: Promise<Response>): void }
interface Lasting extends Event { waitUntil(work: Promise<unknown>): void }
const worker = self as unknown as { location: Location; skipWaiting(): Promise<void>; clients: { claim(): Promise<void> }; addEventListener(name: string, listener: (event: never) => void): void };

const CACHE = "tallyroot-receipt";
const FILES = ["receipt", "receipt.js", "receipt-worker.js", "page.css", "voting.css", "vote-ar.js", "vote-de.js", "vote-es.js", "vote-fr.js", "vote-pt.js"];
/** A network that takes a request and says nothing, such as one that wants a sign-in first, is none. */
const [PATIENCE_MS, SILENT_MS] = [4_000, 30_000];
let silentUntil = 0;
const base = new URL(".", worker.location.href).href;
const urls = new Set(FILES.map((name) => base + name));

worker.addEventListener("install", (event: Lasting) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([...urls])).then(() => worker.skipWaiting()));
});
worker.addEventListener("activate", (event: Lasting) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("fetch", (event: Fetching) => {
  const url = event.request.url.replace(/[?#].*$/, "");
  if (event.request.method === "GET" && urls.has(url)) event.respondWith(newest(event.request, url));
});

async function newest(request: Request, url: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(url);
  if (kept !== undefined && Date.now() < silentUntil) return kept;
  try {
    const answer = await fetch(request, kept === undefined ? {} : { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.ok) await cache.put(url, answer.clone());
    return answer.ok || kept === undefined ? answer : kept;
  } catch (error) {
    if (kept === undefined) throw error;
    // The page's other files are not waited for one by one.
    if (error instanceof DOMException && error.name === "TimeoutError") silentUntil = Date.now() + SILENT_MS;
    return kept;
  }
}
