// Keeps the receipts' page for when there is no network: its own files, nothing of the election. What is there is asked for first, so that no old page stays.
interface Fetching extends Event { readonly request: Request; respondWith(answer: Promise<Response>): void }
interface Lasting extends Event { waitUntil(work: Promise<unknown>): void }
const worker = self as unknown as { location: Location; skipWaiting(): Promise<void>; clients: { claim(): Promise<void> }; addEventListener(name: string, listener: (event: never) => void): void };

const CACHE = "tallyroot-receipt";
const FILES = ["receipt", "receipt.js", "receipt-worker.js", "page.css", "voting.css", "vote-ar.js", "vote-de.js", "vote-es.js", "vote-fr.js", "vote-pt.js"];
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
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put(url, answer.clone());
    return answer.ok || kept === undefined ? answer : kept;
  } catch (error) {
    if (kept === undefined) throw error;
    return kept;
  }
}
