// A real Chromium, and how a page is looked at in it.
import axe from 'axe-core';
import { chromium } from 'playwright-core';

// CHROMIUM  the browser (/usr/bin/chromium)
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

// launch starts the browser, which asks nothing of the network by itself.
export function launch(...more) {
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...more],
  });
}

// examine takes a picture of a page, runs axe and measures sideways scrolling. It adds to
// the lists screenshots, axe and overflow of report; where is what these say of the page.
export async function examine(page, file, where, report) {
  await page.screenshot({ path: file, fullPage: true });
  report.screenshots.push(file);
  // By the debugging protocol, which the page's Content-Security-Policy does not reach.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  for (const v of violations) {
    report.axe.push({ ...where, id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)) });
  }
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) report.overflow.push({ ...where, pixels: wide });
}
