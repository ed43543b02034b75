// Looks for text that does not fit, on every page, on a narrow phone and a desktop,
// folded and unfolded.
//
//   node fit.mjs URL
//
// URL       serves /<frame>/<page> and, at /, a JSON list of such paths
// CHROMIUM  the browser (/usr/bin/chromium)
// ONLY      a regular expression over the paths (all)
//
// Prints one JSON line. Findings are reported, not judged: the Go test decides.
import { launch } from './chromium.mjs';

const [target] = process.argv.slice(2);
const env = process.env;
const only = new RegExp(env.ONLY ?? '');
const widths = { narrow: 320, desktop: 1280 };
const report = { looks: 0, boxes: 0, found: [] };

const browser = await launch();
report.browser = browser.version();
try {
  const paths = (await (await fetch(target)).json()).filter((p) => only.test(p));
  const page = await (await browser.newContext({ reducedMotion: 'reduce' })).newPage();
  page.setDefaultTimeout(30_000);
  for (const p of paths) {
    await page.goto(new URL(p, target).href);
    for (const unfolded of [false, true]) {
      if (unfolded) {
        const folds = await page.locator('details').evaluateAll((all) => all.map((d) => { d.open = true; }).length);
        if (!folds) continue;
      }
      for (const [name, width] of Object.entries(widths)) {
        await page.setViewportSize({ width, height: 640 });
        const { boxes, found } = await page.evaluate(misfits);
        report.looks++;
        report.boxes += boxes;
        for (const f of found) report.found.push({ page: p, variant: `${name}${unfolded ? ', unfolded' : ''}`, ...f });
      }
    }
  }
  console.log(JSON.stringify(report));
} catch (err) {
  console.log(JSON.stringify({ ...report, error: String(err.stack ?? err) }));
  process.exitCode = 1;
} finally {
  await browser.close();
}

// misfits runs in the page. A box is a line of text, or a control.
function misfits() {
  const found = [];
  const tell = (kind, el, more = '') => {
    if (found.filter((f) => f.kind === kind).length < 5) found.push({ kind, what: `<${el.localName}> ${(el.innerText || el.value || '').trim().slice(0, 60)} ${more}`.trim() });
  };
  // What sticks to the window's end lies over what scrolls below it; it is measured
  // where it belongs.
  for (const el of document.querySelectorAll('body *')) if (getComputedStyle(el).position === 'sticky') el.style.position = 'static';
  const known = new Map();
  const style = (el) => {
    if (!known.has(el)) {
      const { overflowX, overflowY, display, position } = getComputedStyle(el);
      known.set(el, { overflowX, overflowY, display, position, edge: el.getBoundingClientRect() });
    }
    return known.get(el);
  };
  const ancestors = function* (el) { for (; el; el = el.parentElement) yield el; };
  // For screen readers alone: no larger than a point.
  const unseen = (el) => !el.checkVisibility({ visibilityProperty: true }) ||
    [...ancestors(el)].some((a) => style(a).position === 'absolute' && style(a).edge.width <= 1.5 && style(a).edge.height <= 1.5);
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) tell('beyond', document.documentElement, `${document.documentElement.scrollWidth - wide} pixels too wide`);

  const boxes = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = texts.nextNode(); n; n = texts.nextNode()) {
    const el = n.parentElement;
    if (!n.data.trim() || el.closest('style, script, title, option') || unseen(el)) continue;
    const range = document.createRange();
    range.selectNodeContents(n);
    const lines = [...range.getClientRects()].filter((r) => r.width > 0 && r.height > 0);
    if (lines.length === 0) tell('unseen', el);
    for (const r of lines) {
      if (r.left < -1 || r.right > wide + 1) tell('beyond', el);
      for (const a of ancestors(el)) {
        const s = style(a);
        const { edge } = s;
        const across = ['hidden', 'clip'].includes(s.overflowX) && (r.left < edge.left - 1 || r.right > edge.right + 1);
        const down = ['hidden', 'clip'].includes(s.overflowY) && ((r.top + r.bottom) / 2 < edge.top || (r.top + r.bottom) / 2 > edge.bottom);
        // A table cell or a button does not grow with a word that has no place to break.
        const out = ['button', 'a', 'summary', 'label', 'li', 'p', 'td'].includes(a.localName) && s.display !== 'inline' && (r.left < edge.left - 1 || r.right > edge.right + 1);
        if (across || down || out) { tell('cut', el, `in <${a.localName}>`); break; }
      }
      // The middle half: the full height of a line reaches into the lines beside it.
      boxes.push({ node: n, el, left: r.left, right: r.right, top: r.top + r.height / 4, bottom: r.bottom - r.height / 4 });
    }
  }
  const controls = [...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea, summary')].filter((el) => !unseen(el));
  for (const el of controls) {
    const r = el.getBoundingClientRect();
    const name = el.innerText || el.value || el.ariaLabel || [...(el.labels ?? [])].map((l) => l.innerText).join('') || el.closest('label')?.innerText || document.getElementById(el.getAttribute('aria-labelledby'))?.innerText || '';
    if (!name.trim()) tell('nameless', el, el.outerHTML.slice(0, 80));
    if (el.localName === 'button' || el.localName === 'select' || el.localName === 'input') {
      if (el.type !== 'text' && el.type !== 'password' && el.scrollWidth > el.clientWidth + 1) tell('cut', el);
    }
    if (r.width > 0 && r.height > 0) boxes.push({ el, control: true, left: r.left, right: r.right, top: r.top, bottom: r.bottom });
  }
  boxes.sort((a, b) => a.top - b.top);
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length && boxes[j].top < boxes[i].bottom - 1; j++) {
      const [a, b] = [boxes[i], boxes[j]];
      if (a.node && a.node === b.node || a.el.contains(b.el) && a.control || b.el.contains(a.el) && b.control) continue;
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) tell('overlap', a.el, `with <${b.el.localName}> ${(b.el.innerText || '').trim().slice(0, 40)}`);
    }
  }
  return { boxes: boxes.length, found };
}
