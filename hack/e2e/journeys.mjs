// A person in a real Chromium takes the ways through a sign-in that are not the
// straight one, with real key presses where it says so.
//
//   node journeys.mjs MCP_URL
//
// MCP_URL    an MCP server whose consent page has many permissions
// CHROMIUM   the browser (/usr/bin/chromium)
// LOGIN      user:password of who may sign in, OTHER of who may not
// CLOCK      a POST there makes the service half an hour older
//
// Prints one JSON line: what each journey came to. The Go test judges.
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import { launch } from './chromium.mjs';

const [target] = process.argv.slice(2);
const env = process.env;
const issuer = new URL(target).origin;
const [username, password] = env.LOGIN.split(':');
const [otherName, otherPassword] = env.OTHER.split(':');
const report = { journeys: {} };

// The client waits at a loopback address; answers are kept by their state.
const answers = new Map();
const client = http.createServer((req, res) => {
  const query = new URL(req.url, 'http://127.0.0.1').searchParams;
  if (query.has('state')) answers.set(query.get('state'), [...(answers.get(query.get('state')) ?? []), query]);
  res.setHeader('content-type', 'text/html').end('<!doctype html><title>App</title><p>Back in the app.');
});
await new Promise((done) => client.listen(0, '127.0.0.1', done));
const redirectURI = `http://127.0.0.1:${client.address().port}/callback`;

const registered = await fetch(`${issuer}/register`, {
  method: 'POST', headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ client_name: 'Journeys', redirect_uris: [redirectURI], token_endpoint_auth_method: 'none' }),
});
const clientID = (await registered.json()).client_id;

function request() {
  const verifier = randomBytes(32).toString('base64url');
  const state = randomBytes(16).toString('base64url');
  const url = new URL(`${issuer}/authorize`);
  url.search = new URLSearchParams({
    response_type: 'code', client_id: clientID, redirect_uri: redirectURI, state, resource: target,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
  });
  return { url: url.href, verifier, state };
}

// outcome is what the app got for a request: how many answers, and what a code is worth.
async function outcome(req) {
  const got = answers.get(req.state) ?? [];
  const out = { answers: got.length, error: got[0]?.get('error') ?? '', description: got[0]?.get('error_description') ?? '', iss: got[0]?.get('iss') ?? '', token: 0 };
  if (got[0]?.get('code')) {
    const response = await fetch(`${issuer}/token`, {
      method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'authorization_code', code: got[0].get('code'), redirect_uri: redirectURI, client_id: clientID, code_verifier: req.verifier, resource: target }),
    });
    out.token = response.status;
    await response.arrayBuffer();
  }
  return out;
}

const browser = await launch();
report.browser = browser.version();

const heading = (page) => page.locator('h1').innerText();
const text = (page) => page.locator('body').innerText();
// A page that is left before it is there cannot be reloaded or gone back from.
const leave = (page, press) => Promise.all([page.waitForEvent('load'), press]);
const allow = (page) => leave(page, page.locator('button[name=decision][value=allow]').click());
const arrived = (page) => page.waitForURL((url) => url.href.startsWith(redirectURI));
async function logIn(page, name = username, secret = password) {
  await page.fill('#username', name);
  await page.fill('#password', secret);
  await page.locator('button.primary').click();
}

const journeys = {
  // Six sign-ins of one browser, each at another point, end in another order.
  async 'six tabs'({ context, page }) {
    const all = [];
    for (let i = 0; i < 6; i++) {
      const tab = i === 0 ? page : await context.newPage();
      const req = request();
      await tab.goto(req.url);
      all.push({ tab, req });
    }
    for (const { tab } of all) await allow(tab);
    for (const { tab } of all.toReversed()) {
      await logIn(tab);
      await arrived(tab);
    }
    return { outcomes: await Promise.all(all.map(({ req }) => outcome(req))) };
  },
  // The consent page and the sign-in page again and again, and the end of it all too.
  async reload({ page }) {
    const req = request();
    await page.goto(req.url);
    await page.reload();
    await allow(page);
    await page.reload();
    await logIn(page);
    await arrived(page);
    const done = await outcome(req);
    await page.goto(req.url); // the same request again
    return { outcomes: [done], again: await text(page) };
  },
  // From the sign-in page back to the consent page, on from there, and back after the end.
  async back({ page }) {
    const req = request();
    await page.goto(req.url);
    await allow(page);
    await page.waitForSelector('#password');
    await page.goBack();
    const consent = await heading(page);
    await allow(page);
    await logIn(page);
    await arrived(page);
    const done = await outcome(req);
    await page.goBack();
    return { outcomes: [done], consent, afterwards: await text(page) };
  },
  async decline({ page }) {
    const req = request();
    await page.goto(req.url);
    await page.locator('button[name=decision][value=deny]').first().click();
    await arrived(page);
    const done = await outcome(req);
    await page.goBack();
    return { outcomes: [done], afterwards: await text(page) };
  },
  // An account that may not come in, then another one from the page that says so.
  async 'other account'({ page }) {
    const req = request();
    await page.goto(req.url);
    await allow(page);
    await logIn(page, otherName, otherPassword);
    await page.waitForSelector('input[name=another]', { state: 'attached' });
    const refused = await text(page);
    const before = (answers.get(req.state) ?? []).length;
    await page.locator('form:has(input[name=another]) button').click();
    await logIn(page);
    await arrived(page);
    return { outcomes: [await outcome(req)], refused, before };
  },
  // The same, and the person goes back to the app instead.
  async 'refused account'({ page }) {
    const req = request();
    await page.goto(req.url);
    await allow(page);
    await logIn(page, otherName, otherPassword);
    await page.waitForSelector('input[name=another]', { state: 'attached' });
    const refused = await text(page);
    await page.locator(`a[href^="${redirectURI}"]`).click();
    await arrived(page);
    return { outcomes: [await outcome(req)], refused };
  },
  async 'wrong password'({ page }) {
    const req = request();
    await page.goto(req.url);
    await allow(page);
    await logIn(page, username, 'wrong');
    await page.waitForSelector('#problem');
    const problem = await page.locator('#problem').innerText();
    const kept = await page.inputValue('#username');
    const focused = await page.evaluate(() => document.activeElement.id);
    await page.keyboard.type(password); // where the page has put the person
    await page.keyboard.press('Enter');
    await arrived(page);
    return { outcomes: [await outcome(req)], problem, kept, focused };
  },
  // The page was open over lunch; what it says leads on.
  async 'expired consent'({ page }) {
    const req = request();
    await page.goto(req.url);
    await fetch(env.CLOCK, { method: 'POST' });
    await allow(page);
    const said = await text(page);
    await page.goto(req.url);
    await allow(page);
    await logIn(page);
    await arrived(page);
    return { outcomes: [await outcome(req)], said };
  },
  async 'expired sign-in'({ page }) {
    const req = request();
    await page.goto(req.url);
    await allow(page);
    await page.waitForSelector('#password');
    await fetch(env.CLOCK, { method: 'POST' });
    await logIn(page);
    await page.waitForFunction(() => !document.querySelector('#password'));
    return { outcomes: [await outcome(req)], said: await text(page) };
  },
  // By the keyboard alone, from the top of a page with many permissions.
  async 'decline by keys'({ page }) {
    const req = request();
    await page.goto(req.url);
    const boxes = await page.locator('input[type=checkbox]').count();
    let presses = 0;
    const press = (key) => { presses++; return page.keyboard.press(key); };
    const onDecline = () => page.evaluate(() => document.activeElement.matches('button[value=deny]'));
    while (!(await onDecline()) && presses < 20) await press('Tab');
    await press('Enter');
    await arrived(page);
    return { outcomes: [await outcome(req)], boxes, presses };
  },
  // Enter in a checkbox answers nothing, and Space does what it does everywhere.
  async 'keys in a box'({ page }) {
    const req = request();
    await page.goto(req.url);
    const value = await page.locator('input[type=checkbox]').first().getAttribute('value');
    const box = page.locator(`input[value="${value}"]`);
    const before = await box.isChecked();
    await box.focus();
    await page.keyboard.press('Space');
    const toggled = (await box.isChecked()) !== before;
    await box.focus();
    await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
    const kept = (await box.isChecked()) !== before;
    return { outcomes: [await outcome(req)], consent: await heading(page), toggled, kept };
  },
};

try {
  for (const [name, journey] of Object.entries(journeys)) {
    const context = await browser.newContext({ locale: 'en-US' });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    try {
      report.journeys[name] = await journey({ context, page });
    } catch (err) {
      report.journeys[name] = { error: `${err.stack ?? err}`.slice(0, 1000), at: page.url(), page: await text(page).catch(() => '') };
    }
    await context.close();
  }
} catch (err) {
  report.error = String(err.stack ?? err);
  process.exitCode = 1;
} finally {
  console.log(JSON.stringify(report));
  await browser.close();
  client.close();
  client.closeAllConnections();
}
