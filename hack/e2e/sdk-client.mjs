// One of the official TypeScript SDKs as a user has it: signs in, lists, calls
// echo, calls get-sum, which the first token does not open, and lists again.
//
//   PERSON=URL node sdk-client.mjs v1|v2 MCP_URL
//
//   PERSON=URL STEPS=1 node sdk-client.mjs v1|v2|ai MCP_URL
//
// A person stands at PERSON: it takes the address that a browser would open, and
// answers with the parameters of the redirect. Prints one JSON line. With STEPS it
// calls the tool that each line of the input names, and prints a line for each; ai is
// the Vercel AI SDK.
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';

const [version, target] = process.argv.slice(2);
const redirectURL = 'http://127.0.0.1:33418/callback';

// newClient is all that they differ in, and how they take the person's answer.
async function sdk() {
  if (version === 'ai') {
    const { auth, createMCPClient, UnauthorizedError } = await import('@ai-sdk/mcp');
    return {
      UnauthorizedError,
      StreamableHTTPClientTransport: function Transport(url, { authProvider }) {
        Object.assign(this, { type: 'http', url: String(url), authProvider });
      },
      newClient: () => {
        let inner;
        return {
          connect: async (transport) => { inner = await createMCPClient({ transport }); },
          callTool: async ({ name, arguments: args }) => {
            const tools = await inner.tools();
            if (!tools[name]) throw new Error(`the list has no tool ${name}`);
            return tools[name].execute(args, {});
          },
          close: () => inner?.close(),
        };
      },
      finish: (_, params) => auth(provider, {
        serverUrl: target, authorizationCode: params.get('code'), callbackState: params.get('state'), callbackIssuer: params.get('iss'),
      }),
    };
  }
  if (version === 'v2') {
    const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await import('@modelcontextprotocol/client');
    return {
      UnauthorizedError, StreamableHTTPClientTransport,
      newClient: () => new Client({ name: 'e2e-ts-v2', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } }),
      finish: (transport, params) => transport.finishAuth(params),
      spoken: (client) => client.getNegotiatedProtocolVersion(),
    };
  }
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
  const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { UnauthorizedError } = await import('@modelcontextprotocol/sdk/client/auth.js');
  return {
    UnauthorizedError, StreamableHTTPClientTransport,
    newClient: () => new Client({ name: 'e2e-ts-v1', version: '1.0.0' }),
    finish: (transport, params) => transport.finishAuth(params.get('code')),
    spoken: (client) => client.transport.protocolVersion,
  };
}
const { UnauthorizedError, StreamableHTTPClientTransport, newClient, finish, spoken } = await sdk();

const state = randomBytes(16).toString('base64url');
const provider = {
  redirectUrl: redirectURL,
  clientMetadata: {
    client_name: `End-to-end TypeScript client, SDK ${version}`,
    redirect_uris: [redirectURL],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  },
  state: () => state,
  storedState: () => state,
  isClientInformationDynamicallyRegistered: () => true,
  clientInformation: () => provider.client,
  saveClientInformation: (client) => { provider.client = client; },
  tokens: () => provider.stored,
  saveTokens: (tokens) => { provider.stored = tokens; },
  codeVerifier: () => provider.verifier,
  saveCodeVerifier: (verifier) => { provider.verifier = verifier; },
  discoveryState: () => provider.discovered,
  saveDiscoveryState: (discovered) => { provider.discovered = discovered; },
  // As the SDKs ask for it; what becomes of it is theirs to say.
  invalidateCredentials: (scope) => {
    if (scope === 'all' || scope === 'client') provider.client = undefined;
    if (scope === 'all' || scope === 'tokens') provider.stored = undefined;
    if (scope === 'all' || scope === 'verifier') provider.verifier = undefined;
    if (scope === 'all' || scope === 'discovery') provider.discovered = undefined;
  },
  redirectToAuthorization: async (url) => {
    const answer = await fetch(process.env.PERSON, { method: 'POST', body: String(url) });
    const said = await answer.text();
    if (!answer.ok) throw new Error(said);
    provider.callback = new URLSearchParams(said);
    if (provider.callback.get('state') !== state) throw new Error('the state came back changed');
  },
};

// connected connects, signing in once if the client asks for it.
async function connected() {
  for (;;) {
    const transport = new StreamableHTTPClientTransport(new URL(target), { authProvider: provider });
    const client = newClient();
    try {
      await client.connect(transport);
      return client;
    } catch (err) {
      if (!(err instanceof UnauthorizedError) || !provider.callback) throw err;
    }
    const { callback } = provider;
    provider.callback = undefined;
    await finish(transport, callback);
  }
}

const names = async (client) => (await client.listTools()).tools.map((t) => t.name).sort();
const text = (result) => `${result.isError ? 'error: ' : ''}${result.content.map((c) => c.text ?? '').join('')}`;
const call = async (client, name, args) => text(await client.callTool({ name, arguments: args }));

// steps calls a tool for each line, as an application does that opens a new connection
// after an error.
async function steps() {
  let client;
  const once = async (name) => {
    client ??= await connected();
    return call(client, name, {});
  };
  for await (const name of createInterface({ input: process.stdin })) {
    const answer = {};
    try {
      answer.text = await once(name).catch(async (err) => {
        if (!provider.callback) throw err;
        const { callback } = provider;
        provider.callback = undefined;
        await finish(client?.transport ?? new StreamableHTTPClientTransport(new URL(target), { authProvider: provider }), callback);
        client = undefined;
        return once(name);
      });
    } catch (err) {
      answer.error = `${err.name}: ${err.message}`;
      await client?.close().catch(() => {});
      client = undefined;
    }
    console.log(JSON.stringify(answer));
  }
  process.exit(0);
}
if (process.env.STEPS) await steps();

const report = {};
try {
  let client = await connected();
  report.revision = spoken(client);
  report.before = await names(client);
  report.echo = await call(client, 'echo', { message: 'hello' });
  try {
    report.sum = await call(client, 'get-sum', { a: 2, b: 3 });
  } catch (err) {
    report.refused = err.name === 'Error' ? err.constructor.name : err.name;
    if (!provider.callback) throw err;
    const { callback } = provider;
    provider.callback = undefined;
    await finish(client.transport, callback);
    client = await connected();
    report.sum = await call(client, 'get-sum', { a: 2, b: 3 });
  }
  report.after = await names(client);
  await client.close();
} catch (err) {
  report.error = `${err.name}: ${err.message}`;
}
console.log(JSON.stringify(report));
process.exit(report.error ? 1 : 0);
