// A real Chromium goes through a sign-in, and looks at the pages on the way.
//
//   node browser.mjs MCP_URL
//
// CHROMIUM   the browser (/usr/bin/chromium)
// OUT        folder for screenshots (e2e-out)
// LABEL      prefix of their names (oidc, static)
// LOGIN      user:password (alice:alice-password)
// DROP       the scope to untick on the consent page
//
// Prints one JSON line about what happened. Findings are reported, not judged:
// the Go test decides. Exit status 1 with {"error": …} if it could not finish.
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { examine, launch } from './chromium.mjs';

const [target] = process.argv.slice(2);
const env = process.env;
const issuer = new URL(target).origin;
const out = env.OUT ?? 'e2e-out';
const label = env.LABEL ?? 'page';
const [username, password] = (env.LOGIN ?? 'alice:alice-password').split(':');
mkdirSync(out, { recursive: true });

const variants = ['light', 'dark'].flatMap((colorScheme) => [
  { name: `desktop-${colorScheme}`, colorScheme, viewport: { width: 1280, height: 900 } },
  { name: `phone-${colorScheme}`, colorScheme, viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
]);

const report = { axe: [], overflow: [], screenshots: [], console: [], flows: {} };

// catcher is the client's loopback server, and an evil page beside it.
const caught = [];
let evilTarget = '';
const catcher = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://127.0.0.1');
  res.setHeader('content-type', 'text/html');
  if (url.pathname === '/frame') return res.end(`<!doctype html><iframe src="${evilTarget.replaceAll('&', '&amp;')}"></iframe>`);
  if (url.pathname === '/callback') caught.push(url.searchParams);
  res.end('<!doctype html><title>Signed in</title><p>You may close this window.');
});
await new Promise((done) => catcher.listen(0, '127.0.0.1', done));
const loopback = `http://127.0.0.1:${catcher.address().port}`;

async function register(redirectURI) {
  const response = await fetch(`${issuer}/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_name: 'Browser test client', redirect_uris: [redirectURI], token_endpoint_auth_method: 'none' }),
  });
  if (!response.ok) throw new Error(`registration of ${redirectURI}: ${response.status} ${await response.text()}`);
  return (await response.json()).client_id;
}

async function request(redirectURI) {
  const clientID = await register(redirectURI);
  const verifier = randomBytes(32).toString('base64url');
  const state = randomBytes(16).toString('base64url');
  const url = new URL(`${issuer}/authorize`);
  url.search = new URLSearchParams({
    response_type: 'code', client_id: clientID, redirect_uri: redirectURI, state, resource: target,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
  });
  return { url: url.href, clientID, redirectURI, verifier, state };
}

async function redeem(req, params) {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'authorization_code', code: params.get('code') ?? '', redirect_uri: req.redirectURI,
      client_id: req.clientID, code_verifier: req.verifier, resource: target,
    }),
  });
  const answer = await response.json();
  return { status: response.status, scope: answer.scope ?? '', error: answer.error ?? '', hasToken: Boolean(answer.access_token) };
}

const browser = await launch('--host-resolver-rules=MAP client.example ~NOTFOUND');
report.browser = browser.version();

async function newPage(options = {}) {
  const context = await browser.newContext({ locale: 'en-US', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on('console', (m) => {
    if (m.type() === 'error') report.console.push(`${new URL(page.url() || 'about:blank').pathname}: ${m.text()}`);
  });
  return page;
}

// look takes a screenshot, runs axe and measures sideways scrolling.
async function look(page, name, variant) {
  const file = path.join(out, `${label}-${name}-${variant}.png`);
  await examine(page, file, { page: name, variant }, report);
}

const allow = (page) => page.locator('button[name=decision][value=allow]');
const onOurs = (page) => new URL(page.url()).origin === issuer;

async function untick(page, scope) {
  const box = page.locator(`input[name=scope][value="${scope}"]`);
  // As a person does: by its label.
  await page.locator(`label[for="${await box.getAttribute('id')}"]`).click();
  if (await box.isChecked()) throw new Error(`${scope} cannot be unticked by its label`);
}

// signIn fills in whatever login and consent forms come until done() is true.
async function signIn(page, done) {
  for (let step = 0; step < 6 && !done(); step++) {
    await page.waitForLoadState();
    if (done()) return;
    const before = page.url();
    const secret = page.locator('input[type=password]');
    if (await secret.count()) {
      await page.locator('input[name=username]').fill(username);
      await secret.fill(password);
      await secret.press('Enter');
    } else if (await page.locator('form button').count()) {
      await page.locator('form button').first().click();
    }
    const end = Date.now() + 8_000;
    while (!done() && page.url() === before && Date.now() < end) await page.waitForTimeout(50);
    if (page.url() === before) return; // stuck, or there
  }
}

// wholeFlow signs in for a redirect URI. Where nothing can answer there (a
// private-use scheme, a host that does not exist) it is enough that the
// browser has set out for it: a Content-Security-Policy would have stopped it.
async function wholeFlow(name, redirectURI, { drop, options } = {}) {
  const req = await request(redirectURI);
  const page = await newPage(options);
  let reached;
  const arrive = (url) => { if (url.startsWith(redirectURI)) reached ??= new URL(url).searchParams; };
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Network.enable');
  cdp.on('Network.requestWillBeSent', (e) => arrive(e.request.url));
  page.on('request', (r) => arrive(r.url()));
  await page.goto(req.url);
  const offered = await page.locator('input[name=scope]').evaluateAll((boxes) => boxes.map((b) => b.value));
  if (drop) await untick(page, drop);
  await allow(page).click();
  await signIn(page, () => reached !== undefined);
  const flow = { offered, reached: reached !== undefined, pages: new URL(page.url()).pathname };
  if (reached) {
    Object.assign(flow, { state: reached.get('state') === req.state, iss: reached.get('iss'), error: reached.get('error') ?? '', token: await redeem(req, reached) });
  } else {
    flow.page = (await page.locator('body').innerText().catch(() => '')).slice(0, 400);
  }
  report.flows[name] = flow;
  await page.context().close();
  return flow;
}

try {
  const redirectURI = `${loopback}/callback`;
  for (const variant of variants) {
    const { name, ...options } = variant;
    const page = await newPage(options);
    await page.goto((await request(redirectURI)).url);
    await look(page, 'consent', name);
    await page.locator('details').evaluateAll((all) => all.forEach((d) => { d.open = true; }));
    await look(page, 'consent-open', name);
    await allow(page).click();
    await page.waitForLoadState();
    if (onOurs(page)) await look(page, 'login', name);
    await page.context().close();
  }
  {
    const page = await newPage(variants[0]);
    const bad = new URL((await request(redirectURI)).url);
    bad.searchParams.set('redirect_uri', 'https://evil.example/');
    report.refusedStatus = (await page.goto(bad.href)).status();
    await look(page, 'error', 'desktop-light');
    await page.context().close();
  }
  {
    // Another site puts the consent page in a frame, to steal the click.
    const page = await newPage();
    evilTarget = (await request(redirectURI)).url;
    const before = report.console.length;
    await page.goto(`${loopback}/frame`);
    await page.waitForTimeout(500);
    report.framed = (await Promise.all(page.frames().map((f) => f.locator('button[name=decision]').count().catch(() => 0)))).some((n) => n > 0);
    report.console.splice(before); // the refusal is meant to be there
    await page.context().close();
  }
  await wholeFlow('loopback', redirectURI, { drop: env.DROP });
  if (!caught.some((p) => p.get('code'))) report.flows.loopback.neverArrived = true;
  await wholeFlow('withoutScripts', redirectURI, { options: { javaScriptEnabled: false } });
  await wholeFlow('privateScheme', 'cursor://anysphere.cursor-mcp/oauth/callback');
  const before = report.console.length;
  await wholeFlow('https', 'https://client.example/callback');
  report.console = report.console.filter((line, i) => i < before || !/ERR_NAME_NOT_RESOLVED/.test(line));
  console.log(JSON.stringify(report));
} catch (err) {
  console.log(JSON.stringify({ ...report, error: String(err.stack ?? err) }));
  process.exitCode = 1;
} finally {
  await browser.close();
  catcher.close();
  catcher.closeAllConnections();
}
