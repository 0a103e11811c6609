// A slow link, for all that a browser asks of one address: workers too, which the DevTools protocol's own throttling leaves out.
import net, { type AddressInfo, type Socket } from "node:net";

export interface Link { readonly name: string; readonly roundTripMs: number; readonly bytesPerSecond: number; readonly cpu: number }

/** Lighthouse's profile for phones: 1.6 Mbit/s, 150 ms there and back, a processor four times as slow. */
export const SLOW_4G: Link = { name: "Slow 4G", roundTripMs: 150, bytesPerSecond: 1_600_000 / 8, cpu: 4 };

/** A new connection's own round trips before its first request: TCP's and TLS 1.3's. */
const HANDSHAKES = 2;

/** Listens in front of a port: what comes back shares the link, and everything takes half a round trip each way. */
export async function slow(port: number, { roundTripMs, bytesPerSecond }: Link): Promise<{ port: number; close(): void }> {
  let free = 0;
  const open = new Set<Socket>();
  const server = net.createServer((near) => {
    const far = net.connect(port, "127.0.0.1");
    const connected = performance.now() + HANDSHAKES * roundTripMs;
    near.on("data", (bytes) => setTimeout(() => far.destroyed || far.write(bytes), Math.max(connected - performance.now(), 0) + roundTripMs / 2));
    far.on("data", (bytes) => {
      // In pieces, as packets share a link: a short answer does not wait for the whole of a long one.
      for (let at = 0; at < bytes.length; at += 1_400) {
        const piece = bytes.subarray(at, at + 1_400);
        free = Math.max(free, performance.now()) + (1_000 * piece.length) / bytesPerSecond;
        setTimeout(() => near.destroyed || near.write(piece), free - performance.now() + roundTripMs / 2);
      }
    });
    for (const [one, other] of [[near, far], [far, near]] as const) {
      open.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => (open.delete(one), setTimeout(() => other.destroy(), 2 * roundTripMs)));
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return { port: (server.address() as AddressInfo).port, close: () => (server.close(), open.forEach((socket) => socket.destroy())) };
}
