// A person in a real Chromium signs out at the identity provider itself.
//
//   node signout.mjs PAGE_URL END_SESSION_URL
//
// PAGE_URL         a page of an MCP host
// END_SESSION_URL  where people sign out at the provider
// CHROMIUM         the browser (/usr/bin/chromium)
// LOGIN            user:password at the provider
//
// Prints one JSON line about what happened; the Go test judges.
import { launch } from './chromium.mjs';

const [target, endSession] = process.argv.slice(2);
const env = process.env;
const origin = new URL(target).origin;
const provider = new URL(endSession).origin;
const [username, password] = (env.LOGIN ?? 'alice:alice-password').split(':');
const report = {};

const browser = await launch();
report.browser = browser.version();
try {
  const context = await browser.newContext({ locale: 'en-US' });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  // signIn returns whether the provider asked for the password.
  const signIn = async (page) => {
    await page.goto(target);
    const asked = (await page.locator('input[name=password]').count()) > 0;
    if (asked) {
      await page.fill('input[name=username]', username);
      await page.fill('input[name=password]', password);
      await page.locator('button[type=submit]').first().click();
      await page.waitForLoadState();
    }
    if (new URL(page.url()).origin === provider) await page.locator('button[type=submit]').first().click();
    await page.waitForURL(target);
    return asked;
  };
  // leave says yes to the provider's question, if it has one, and waits for its last page.
  const leave = async () => {
    await page.waitForLoadState();
    const yes = page.locator('button[name=logout]');
    if (await yes.count()) await yes.click();
    await page.waitForURL((url) => url.href.startsWith(`${endSession}/success`));
  };
  report.askedFirst = await signIn(page);

  // The same person at another device, with a session of its own at the provider.
  const device = await (await browser.newContext({ locale: 'en-US' })).newPage();
  device.setDefaultTimeout(15_000);
  await signIn(device);
  const ask = (from) => from.evaluate((url) => fetch(url).then((r) => r.status), target);

  // At the provider, in another tab: the page hears of it over the back channel.
  const open = await context.newPage();
  await open.goto(target);
  await page.goto(endSession);
  const began = Date.now();
  await leave();
  for (;;) {
    report.status = await ask(open);
    if (report.status !== 200 || Date.now() - began > 20_000) break;
    await new Promise((done) => setTimeout(done, 50));
  }
  report.endedAfter = Date.now() - began;
  report.otherDevice = await ask(device);
  await open.close();

  // Here, and from here at the provider.
  report.askedAgain = await signIn(page);
  await page.goto(`${origin}/account/sign-out`);
  await page.locator('button[name=provider]').click();
  await page.waitForURL((url) => url.origin === provider);
  await leave();
  await page.goto(target);
  report.afterBoth = new URL(page.url()).origin === provider;
  report.askedAfterBoth = await signIn(page);
} catch (e) {
  report.error = String(e.stack ?? e);
  report.at = await browser.contexts()[0]?.pages()[0]?.evaluate(() => location.href + ' ' + document.documentElement.outerHTML).catch(() => '');
} finally {
  await browser.close();
}
console.log(JSON.stringify(report));
