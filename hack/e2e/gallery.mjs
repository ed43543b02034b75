// Looks at every page in every variant: a picture, axe, sideways scrolling.
//
//   node gallery.mjs URL
//
// URL       serves /<frame>/<page> and, at /, a JSON list of such paths
// CHROMIUM  the browser (/usr/bin/chromium)
// OUT       folder for pictures (e2e-out)
// ONLY      a regular expression over the paths (all)
//
// Prints one JSON line. Findings are reported, not judged: the Go test decides.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { examine, launch } from './chromium.mjs';

const [target] = process.argv.slice(2);
const env = process.env;
const out = env.OUT ?? 'e2e-out';
mkdirSync(out, { recursive: true });

const variants = ['light', 'dark'].flatMap((colorScheme) => [
  { name: `desktop-${colorScheme}`, colorScheme, viewport: { width: 1280, height: 900 } },
  { name: `phone-${colorScheme}`, colorScheme, viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
]);
const report = { pages: 0, axe: [], overflow: [], screenshots: [], console: [] };
// Pages that are looked at unfolded too; the others unfold to more of the same.
const unfold = /\/consent-(few|stepup|100-tools)$/;
const only = new RegExp(env.ONLY ?? '');

const browser = await launch();
report.browser = browser.version();
try {
  const paths = (await (await fetch(target)).json()).filter((p) => only.test(p));
  for (const { name: variant, ...options } of variants) {
    const context = await browser.newContext({ reducedMotion: 'reduce', ...options }); // nothing is caught halfway
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    let current = '';
    page.on('console', (m) => {
      if (m.type() === 'error' && !/the server responded with a status of [45]/.test(m.text())) report.console.push(`${current} (${variant}): ${m.text()}`);
    });
    for (const p of paths) {
      current = p;
      await page.setViewportSize(options.viewport);
      await page.goto(new URL(p, target).href);
      await look(page, p, variant);
      await page.setViewportSize(options.viewport);
      if (unfold.test(p)) {
        await page.locator('details').evaluateAll((all) => all.forEach((d) => { d.open = true; }));
        await look(page, `${p}-open`, variant);
      }
    }
    await context.close();
  }
  report.pages = paths.length;
  console.log(JSON.stringify(report));
} catch (err) {
  console.log(JSON.stringify({ ...report, error: String(err.stack ?? err) }));
  process.exitCode = 1;
} finally {
  await browser.close();
}

async function look(page, name, variant) {
  const file = path.join(out, `pages-${name.replaceAll('/', '-')}-${variant}.png`);
  // As tall as the page, so that what sticks to the window's end is where it belongs.
  const { width, height } = page.viewportSize();
  await page.setViewportSize({ width, height: Math.min(8000, Math.max(height, await page.evaluate(() => document.documentElement.scrollHeight))) });
  await examine(page, file, { page: name, variant }, report);
}
