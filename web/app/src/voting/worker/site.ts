// The requests that change something, and what became of them.

const ANSWER_MAX = 1 << 20;
/** A cell answers within its longest batch wait (30 s) and what publishing takes. */
const PATIENCE_MS = 60_000;
const PAUSE_MAX_MS = 10_000;
const RETRY_AFTER_MAX_S = 60;

export type Answer =
  | { readonly kind: "done"; readonly body: Record<string, unknown>; readonly text: string }
  | { readonly kind: "refused"; readonly code: string; readonly message: string; readonly body: Record<string, unknown>; readonly text: string }
  /** Nobody knows whether it was done: the same again is always safe. */
  | { readonly kind: "unknown"; readonly why: string; readonly busy: boolean; readonly afterMs: number };

/** One try. Nothing of the page goes with it: no cookie, no referrer, no copy in a cache. */
export async function post(url: string, body: object, mayLack = false): Promise<Answer> {
  try {
    const response = await fetch(url, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const text = await bounded(response);
    return judge(response.status, response.headers.get("retry-after"), text, mayLack);
  } catch (error) {
    return { kind: "unknown", why: String(error), busy: false, afterMs: 0 };
  }
}

/** The text of an answer, as long as an answer may be. */
export async function bounded(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let [text, length] = ["", 0];
  for (;;) {
    const part = await reader?.read();
    if (part?.value === undefined) return text + decoder.decode();
    length += part.value.length;
    if (length > ANSWER_MAX) {
      await reader?.cancel();
      throw new Error("the answer is longer than it may be");
    }
    text += decoder.decode(part.value, { stream: true });
  }
}

function judge(status: number, retryAfter: string | null, text: string, mayLack: boolean): Answer {
  const body = object(text);
  if (status === 200 && body !== undefined) return { kind: "done", body, text };
  const error = body?.["error"] as { code?: unknown; message?: unknown } | undefined;
  const code = typeof error?.code === "string" ? error.code : undefined;
  const message = typeof error?.message === "string" ? error.message : "";
  // 421 is a front that leads elsewhere: the cell follows from the key alone. So is 404, but where a service need not have what is asked.
  if (status >= 400 && status < 500 && ![...(mayLack ? [] : [404]), 408, 421, 429].includes(status) && body !== undefined && code !== undefined) return { kind: "refused", code, message, body, text };
  const seconds = /^[0-9]{1,4}$/.test(retryAfter ?? "") ? Math.min(Number(retryAfter), RETRY_AFTER_MAX_S) : 0;
  return { kind: "unknown", why: `${status} ${message}`, busy: status === 503, afterMs: 1_000 * seconds };
}

function object(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Growing pauses, drawn so that many devices do not come back at once. */
export async function pause(tries: number, afterMs = 0): Promise<void> {
  const longest = Math.min(100 * 2 ** Math.min(tries, 10), PAUSE_MAX_MS);
  const ms = Math.max(afterMs, longest / 2) + (Math.random() * longest) / 2;
  await new Promise((resolve) => setTimeout(resolve, ms));
}
