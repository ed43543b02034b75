// Preloaded into a client with DPoP, makes one mistake of it:
//
// SPOIL=bearer          shows the bound token as Bearer
//       replay          sends one proof again and again to the MCP server
//       no-token-proof  sends none to the token endpoint
//       no-as-nonce     does not see the nonces of the token endpoint
//       no-rs-nonce     does not see those of the MCP server
const { SPOIL } = process.env;
const { fetch } = globalThis;
let first;

globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  const { headers } = request;
  const [scheme, token] = (headers.get('authorization') ?? '').split(' ');
  if (SPOIL === 'bearer' && scheme === 'DPoP') headers.set('authorization', `Bearer ${token}`);
  if (SPOIL === 'replay' && token) headers.set('dpop', (first ??= headers.get('dpop')));
  if (SPOIL === 'no-token-proof' && !token) headers.delete('dpop');
  const answer = await fetch(request);
  if (SPOIL !== (token ? 'no-rs-nonce' : 'no-as-nonce') || !answer.headers.has('dpop-nonce')) return answer;
  const blind = new Headers(answer.headers);
  blind.delete('dpop-nonce');
  return new Response(answer.body, { status: answer.status, headers: blind });
};
