// A headless browser's worth of HTTP: cookies, manual redirects and HTML forms,
// enough to walk any sign-in that needs no script. It stops at the first
// redirect to the client's own redirect URI and returns that URI's parameters.

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };
const decode = (s) => s.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (all, hex, dec, name) =>
  hex ? String.fromCodePoint(parseInt(hex, 16)) : dec ? String.fromCodePoint(Number(dec)) : entities[name] ?? all);

function attributes(tag) {
  const found = {};
  for (const m of tag.matchAll(/([^\s=<>"'/]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/g)) {
    found[m[1].toLowerCase()] ??= decode(m[2] ?? m[3] ?? m[4] ?? '');
  }
  return found;
}

// forms lists the forms of a page with their successful controls and buttons.
export function forms(html) {
  const found = [];
  for (const m of html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)) {
    const form = { ...attributes(m[1]), fields: [], buttons: [] };
    for (const c of m[2].matchAll(/<(input|button|textarea)\b([^>]*)>/gi)) {
      const control = { ...attributes(c[2]) };
      control.type ??= c[1].toLowerCase() === 'button' ? 'submit' : 'text';
      if ('disabled' in control) continue;
      if (control.type === 'submit') form.buttons.push(control);
      else if (control.name !== undefined) form.fields.push(control);
    }
    found.push(form);
  }
  return found;
}

// Jar keeps cookies by host (not by port: RFC 6265, section 8.5) and path.
// Secure cookies are stored for http too, as Chromium does on loopback.
class Jar {
  cookies = [];
  store(url, response) {
    for (const line of response.headers.getSetCookie()) {
      const [pair, ...rest] = line.split(';').map((s) => s.trim());
      const attrs = Object.fromEntries(rest.map((a) => [a.split('=')[0].toLowerCase(), a.slice(a.indexOf('=') + 1)]));
      const name = pair.slice(0, pair.indexOf('='));
      const path = attrs.path?.startsWith('/') ? attrs.path : url.pathname.replace(/\/[^/]*$/, '') || '/';
      this.cookies = this.cookies.filter((c) => !(c.host === url.hostname && c.name === name && c.path === path));
      const gone = attrs['max-age'] !== undefined ? Number(attrs['max-age']) <= 0 : attrs.expires && Date.parse(attrs.expires) < Date.now();
      if (!gone) this.cookies.push({ host: url.hostname, path, name, value: pair.slice(pair.indexOf('=') + 1) });
    }
  }
  header(url) {
    const under = (p) => url.pathname === p || url.pathname.startsWith(p.endsWith('/') ? p : `${p}/`);
    return this.cookies.filter((c) => c.host === url.hostname && under(c.path)).map((c) => `${c.name}=${c.value}`).join('; ');
  }
}

// walk follows the sign-in that starts at url.
//   redirectURL  where the client waits
//   username, password
//   keep         (scope) => boolean: which scopes stay ticked on the consent page
//   decision     value of the `decision` button to press: allow or deny
// It returns {params, visited}: visited is a trace without secrets.
export async function walk(url, { redirectURL, username, password, keep = () => true, decision = 'allow', limit = 25 }) {
  const jar = new Jar();
  const visited = [];
  const trail = [];
  let request = { url: new URL(url), method: 'GET' };
  for (let hop = 0; hop < limit; hop++) {
    const { url: at, method, body } = request;
    const headers = { accept: 'text/html' };
    const cookie = jar.header(at);
    if (cookie) headers.cookie = cookie;
    if (body) {
      headers['content-type'] = 'application/x-www-form-urlencoded';
      headers.origin = request.origin;
    }
    const response = await fetch(at, { method, headers, body: body?.toString(), redirect: 'manual' });
    jar.store(at, response);
    visited.push(`${method} ${at.host}${at.pathname} ${response.status}`);

    let location = response.headers.get('location');
    const html = location ? (await response.arrayBuffer(), '') : await response.text();
    // A page may send the browser on by itself instead of by status.
    location ??= decode(/<meta[^>]+http-equiv=["']?refresh["']?[^>]+content=["'][^"']*url=([^"']+)/i.exec(html)?.[1] ?? '') || null;
    if (location) {
      if (location.startsWith(redirectURL)) return { params: new URL(location).searchParams, visited, trail };
      const keepMethod = response.status === 307 || response.status === 308;
      request = { url: new URL(location, at), method: keepMethod ? method : 'GET', body: keepMethod ? body : undefined, origin: at.origin };
      continue;
    }
    // A page may leave it to the person to go back to the client.
    const back = [...html.matchAll(/<a\b([^>]*)>/gi)].map((m) => attributes(m[1]).href).find((href) => href?.startsWith(redirectURL));
    if (back) return { params: new URL(back).searchParams, visited, trail };
    const form = forms(html)[0];
    if (response.status >= 400 || !form) {
      throw new Error(`the walk ended at ${visited.at(-1)}: ${html.replace(/<style[\s\S]*?<\/style>|<[^>]+>/gi, ' ').replace(/\s+/g, ' ').slice(0, 400)}\n${visited.join('\n')}`);
    }
    const offered = form.fields.filter((f) => f.name === 'scope' && f.type === 'checkbox').map((f) => f.value);
    trail.push({ page: at.pathname, fields: form.fields.map((f) => f.name), offered });
    request = { url: new URL(form.action || at.href, at), method: (form.method || 'get').toUpperCase(), body: fill(form, { username, password, keep, decision }), origin: at.origin };
    if (request.method === 'GET') {
      request.url.search = request.body.toString();
      request.body = undefined;
    }
  }
  throw new Error(`the walk does not end:\n${visited.join('\n')}`);
}

function fill(form, { username, password, keep, decision }) {
  const body = new URLSearchParams();
  for (const field of form.fields) {
    if (field.type === 'checkbox' || field.type === 'radio') {
      const ticked = 'checked' in field && (field.name !== 'scope' || keep(field.value));
      if (ticked) body.append(field.name, field.value ?? 'on');
    } else if (field.type === 'password') {
      body.append(field.name, password);
    } else if (field.type === 'hidden') {
      body.append(field.name, field.value ?? '');
    } else {
      body.append(field.name, /user|login|email/i.test(field.name) ? username : field.value ?? '');
    }
  }
  const button = form.buttons.find((b) => b.name === 'decision' && b.value === decision) ?? form.buttons[0];
  if (button?.name) body.append(button.name, button.value ?? '');
  return body;
}
