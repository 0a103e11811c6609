// An OpenID provider for tests: `oidc-provider` with its own pages for login and consent, on a free port of 127.0.0.1.
//
//   node provider.mjs '{"port": 0, "keys": [JWK, …], "clients": ["a", …], "redirects": [URL, …]}'
//
// A key of {"alg", "kid", "use"} alone is made. It writes one line, {"issuer": …, "keys": […]}, once it answers. Then each line on standard input is {"sign": {"header": …, "claims": …, "kid": …}}, signed with the
// named key whatever is in it, and answered by a line {"token": …}: how a provider's own key can sign what the provider never would.
// It ends with standard input.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The library greets on standard output, which is for answers here.
console.info = console.warn = () => {};
const { default: Provider } = await import('oidc-provider');
const require = createRequire(import.meta.url);
const jose = await import(pathToFileURL(require.resolve('jose')).href);

const { port, keys: wanted, clients, redirects = ['http://127.0.0.1/callback'] } = JSON.parse(process.argv[2]);
const keys = await Promise.all(wanted.map(async (key) => {
  if (key.kty) return key;
  const { privateKey } = await jose.generateKeyPair(key.alg, { extractable: true });
  return { ...await jose.exportJWK(privateKey), ...key };
}));
const server = createServer();
await new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(port, '127.0.0.1', resolve);
});
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  // Public clients of devices: no secret, PKCE, a loopback address of any port (RFC 8252).
  clients: clients.map((client_id) => ({
    client_id,
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: redirects,
    grant_types: ['authorization_code'],
    response_types: ['code'],
  })),
  pkce: { required: () => true, methods: ['S256'] },
  jwks: { keys },
  // So that a key for encryption is published too.
  features: { encryption: { enabled: true }, requestObjects: { request: true } },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  conformIdTokenClaims: false,
  // A page may ask for its token.
  clientBasedCORS: () => true,
  cookies: { keys: ['tests only'] },
  // Whoever is named at the login page has that account.
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: id, email: `${id}@example.org`, email_verified: !id.startsWith('unverified') }),
  }),
});
server.on('request', provider.callback());
console.log(JSON.stringify({ issuer, keys }));

for await (const line of createInterface({ input: process.stdin })) {
  const { header, claims, kid } = JSON.parse(line).sign;
  const key = await jose.importJWK(keys.find((one) => one.kid === kid), header.alg);
  const token = await new jose.CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader(header)
    .sign(key);
  console.log(JSON.stringify({ token }));
}
process.exit(0);
