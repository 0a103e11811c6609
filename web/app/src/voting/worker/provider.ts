// Signing in at an OpenID provider (OpenID Connect Core 1.0, authorization code with PKCE, as a public client), as far as it is a device's: what the ID token says is the registrar's to check.
import { type Bytes, sha256, utf8 } from "../../../../verifier/src/index.js";
import { bounded } from "./site.js";

const PATIENCE_MS = 30_000;
/** A voter takes this long to sign in, at most, whatever the registrar says. */
const LONGEST_S = 3_600;

/** What is kept while the voter is at the provider. It is deleted before it is used, so that no answer is taken twice. */
export interface Pending {
  readonly registrar: number;
  readonly issuer: string;
  readonly clientId: string;
  readonly ticket: string;
  /** Tells this sign-in from others, which a page elsewhere might begin (RFC 9700, section 4.7). */
  readonly state: string;
  /** PKCE's: without it the code is of no use (RFC 7636). */
  readonly verifier: string;
  readonly redirect: string;
  readonly tokenEndpoint: string;
  /** The provider says that it names itself in its answers (RFC 9207). */
  readonly named: boolean;
  readonly until: number;
}

/** `provider`: it cannot be reached, or is not what it should be. `notThisSignIn`: an answer to another question. `notSignedIn`: it did not sign the voter in. */
export class SignInError extends Error {
  readonly id: "provider" | "notThisSignIn" | "notSignedIn";

  constructor(id: SignInError["id"], message: string) {
    super(message);
    this.id = id;
  }
}

const base64url = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const random = (): string => base64url(crypto.getRandomValues(new Uint8Array(32)));
const isLoopback = ({ hostname }: URL): boolean => ["127.0.0.1", "[::1]", "localhost"].includes(hostname);
const wrong = (message: string): never => { throw new SignInError("provider", message); };
const text = (value: unknown): string => (typeof value === "string" && value !== "" ? value : wrong("it is not what the standard says"));

/** The nonce of protocol section 14, over this device's own message, whatever the ticket was made for. */
export async function nonceOf(election: Bytes, registrar: number, digest: Bytes, ticket: string): Promise<string> {
  return base64url(await sha256(utf8("tallyroot/v1/oidc-nonce\0"), election, Uint8Array.of(registrar >> 8, registrar & 255), digest, utf8(ticket)));
}

/** Where the voter goes, and what must be kept until she is back. */
export async function prepare(answer: Readonly<Record<string, unknown>>, registrar: number, nonce: string, redirect: string): Promise<{ readonly page: string; readonly pending: Pending }> {
  const [issuer, clientId, scope, ticket] = ["issuer", "client_id", "scope", "ticket"].map((name) => text(answer[name])) as [string, string, string, string];
  const loopback = isLoopback(parse(issuer));
  const known = await read(address(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, loopback), {});
  // Discovery, section 4.3: "The issuer value returned MUST be identical to the Issuer URL that was used".
  if (known["issuer"] !== issuer) wrong(`the provider at ${issuer} calls itself ${String(known["issuer"])}`);
  const page = address(text(known["authorization_endpoint"]), loopback);
  const tokenEndpoint = address(text(known["token_endpoint"]), loopback).href;
  const [state, verifier] = [random(), random()];
  // What stands behind a # reaches no server; a provider that names no modes has this one (Discovery, section 3).
  const modes = known["response_modes_supported"];
  const fragment = !Array.isArray(modes) || modes.includes("fragment");
  const asked = {
    response_type: "code", client_id: clientId, redirect_uri: redirect, scope, state, nonce, code_challenge: base64url(await sha256(utf8(verifier))), code_challenge_method: "S256",
    ...(fragment ? { response_mode: "fragment" } : {}),
  };
  for (const [name, value] of Object.entries(asked)) page.searchParams.set(name, value);
  const seconds = Math.min(Number(answer["expires_in"]) || 0, LONGEST_S);
  const named = known["authorization_response_iss_parameter_supported"] === true;
  return { page: page.href, pending: { registrar, issuer, clientId, ticket, state, verifier, redirect, tokenEndpoint, named, until: Date.now() + 1_000 * seconds } };
}

/** The code that the voter came back with. */
export function codeOf(back: string, pending: Pending | undefined): string {
  const said = new URLSearchParams(back);
  if (pending === undefined || said.get("state") !== pending.state) throw new SignInError("notThisSignIn", "an answer to a sign-in that this page does not wait for");
  // RFC 9207, section 2.4: "If the value does not match the expected issuer identifier, clients MUST reject the authorization response".
  const iss = said.get("iss");
  if (iss === null ? pending.named : iss !== pending.issuer) throw new SignInError("notThisSignIn", `the answer is from ${iss ?? "nobody"}, where ${pending.issuer} was asked`);
  if (Date.now() > pending.until) throw new SignInError("notSignedIn", "it took too long");
  return said.get("code") ?? (() => { throw new SignInError("notSignedIn", said.get("error") ?? "no code"); })();
}

/** The ID token, and whose it says that it is: nothing here has proven that, it tells accounts apart on this device. */
export async function redeem(code: string, { clientId, redirect, verifier, issuer, tokenEndpoint }: Pending): Promise<{ readonly token: string; readonly account: string }> {
  const body = new URLSearchParams({ grant_type: "authorization_code", client_id: clientId, redirect_uri: redirect, code_verifier: verifier, code });
  const token = text((await read(new URL(tokenEndpoint), { method: "POST", body }))["id_token"]);
  try {
    const claims = JSON.parse(atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/"))) as { sub?: unknown };
    return { token, account: `${issuer}#${text(claims.sub)}` };
  } catch {
    return wrong("its ID token cannot be read");
  }
}

function parse(url: string): URL {
  try {
    return new URL(url);
  } catch {
    return wrong(`${url} is no address`);
  }
}

/** http is for tries on one machine: anywhere else, whoever is between could take code and token. */
function address(url: string, loopback: boolean): URL {
  const found = parse(url);
  return found.protocol === "https:" || (loopback && found.protocol === "http:" && isLoopback(found)) ? found : wrong(`${url} is not https`);
}

async function read(url: URL, options: RequestInit): Promise<Record<string, unknown>> {
  try {
    const response = await fetch(url, { ...options, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!response.ok) wrong(`${url.origin} answers ${response.status}`);
    const value: unknown = JSON.parse(await bounded(response));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : wrong("it is not what the standard says");
  } catch (error) {
    // The parser's words quote, and an answer may hold tokens.
    throw error instanceof SignInError ? error : new SignInError("provider", `${url.origin} cannot be asked: ${error instanceof SyntaxError ? "no JSON" : String(error)}`);
  }
}
