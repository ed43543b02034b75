// A person in a real Chromium signs in for a page of an MCP host, by way of a
// gateway, and out again.
//
//   node session.mjs PAGE_URL
//
// PAGE_URL   a page, with a query
// CHROMIUM   the browser (/usr/bin/chromium)
// LOGIN      user:password (alice:alice-password)
// CLOSED     a page that the rules keep the person out of
// DENY       a file to write a deny-list to, which ends the second session
//
// Prints one JSON line about what happened; the Go test judges.
import { writeFileSync } from 'node:fs';
import { launch } from './chromium.mjs';

const [target] = process.argv.slice(2);
const env = process.env;
const origin = new URL(target).origin;
const [username, password] = (env.LOGIN ?? 'alice:alice-password').split(':');
const report = {};

const browser = await launch();
report.browser = browser.version();
try {
  const context = await browser.newContext({ locale: 'en-US' });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);

  const signIn = async () => {
    await page.goto(target);
    report.login ??= new URL(page.url()).pathname;
    await page.fill('#username', username);
    await page.fill('#password', password);
    await page.click('button.primary');
    await page.waitForURL(target);
  };
  await signIn();
  report.reached = page.url();
  report.body = await page.evaluate(() => document.body.innerText);
  report.cookieInScript = await page.evaluate(() => document.cookie.includes('mcp-session'));
  report.again = (await page.goto(target)).status();
  report.script = await page.evaluate((url) => fetch(url).then((r) => r.status), target);
  report.form = await page.evaluate((url) => fetch(url, { method: 'POST', body: 'x' }).then((r) => r.status), target);
  report.mcp = await page.evaluate((url) => fetch(url, { redirect: 'manual' }).then((r) => r.status), `${origin}/mcp`);
  report.account = await page.evaluate((url) => fetch(url).then((r) => r.status), `${origin}/account`);

  // A page that the rules keep the person out of.
  report.closedScript = await page.evaluate((url) => fetch(url).then((r) => `${r.status} ${r.headers.get('content-type')}`), env.CLOSED);
  const closed = await page.goto(env.CLOSED);
  report.closed = closed.status();
  report.refusal = await page.evaluate(() => document.body.innerText);
  report.refusalStyled = await page.evaluate(() => getComputedStyle(document.querySelector('main')).borderRadius !== '0px');
  await page.locator('a[href*="prompt=select_account"]').click();
  report.another = new URL(page.url()).pathname;
  await page.goto(target);

  // Another site: the same machine by another name is cross-site to Chromium.
  const evil = await context.newPage();
  await evil.goto(`http://localhost:${new URL(target).port}/authenticate-me-not`).catch(() => {});
  report.crossSite = await evil.evaluate((url) => fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include' }).then((r) => r.type, () => 'refused'), target).catch(() => 'refused');
  await evil.close();

  await page.goto(`${origin}/account/sign-out`);
  await page.click('button.primary');
  report.signedOut = await page.evaluate(() => document.body.innerText);
  const other = await context.newPage();
  await other.goto(target);
  report.afterSignOut = new URL(other.url()).pathname;
  await other.close();

  if (env.DENY) {
    await signIn();
    writeFileSync(env.DENY, 'emails: ["alice@example.com"]\n');
    const began = Date.now();
    for (;;) {
      const status = await page.evaluate((url) => fetch(url).then((r) => r.status), target);
      if (status !== 200) {
        report.denied = status;
        break;
      }
      if (Date.now() - began > 20_000) break;
      await new Promise((done) => setTimeout(done, 100));
    }
    report.deniedAfter = Date.now() - began;
    writeFileSync(env.DENY, 'emails: []\n');
  }
} catch (e) {
  report.error = String(e.stack ?? e);
} finally {
  await browser.close();
}
console.log(JSON.stringify(report));
