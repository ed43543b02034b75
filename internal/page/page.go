// Package page owns every byte of HTML a person sees. Its invariant: whatever
// a client, an MCP server or an identity provider wrote arrives on the page as
// bounded, inert, visible text. There is no script, no request to anybody else,
// and no link but those that the operator or the redirect matcher produced.
//
// Every text of ours is in messages/*.json, one file for each language: callers
// say what happened, never how to put it. Structure is in templates/*.html, looks
// in style.css. The package knows no other package of ours.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed style.css
var style string

// Pages is every page in every language. It is safe for concurrent use.
type Pages struct {
	languages map[string]*Renderer
}

// New returns the pages of an operator's brand.
func New(b Brand) *Pages {
	p := &Pages{languages: map[string]*Renderer{}}
	for lang, l := range locales {
		p.languages[lang] = newRenderer(b, l)
	}
	return p
}

// For returns the pages in the language that the browser of r prefers.
func (p *Pages) For(r *http.Request) *Renderer {
	return p.languages[preferred(r.Header.Values("Accept-Language"))]
}

// Renderer renders pages in one language. It is safe for concurrent use.
type Renderer struct {
	brand  brand
	locale locale
	style  template.CSS
	policy string // Content-Security-Policy
	pages  map[string]*template.Template
}

func newRenderer(b Brand, l locale) *Renderer {
	css := style + accentStyle(b.AccentColor)
	r := &Renderer{brand: checkBrand(b), locale: l, style: template.CSS(css), policy: contentPolicy(css), pages: map[string]*template.Template{}}
	for _, name := range []string{"consent", "choose", "login", "error", "done"} {
		t := template.New("base.html").Funcs(l.funcs())
		r.pages[name] = template.Must(t.ParseFS(templateFiles, "templates/base.html", "templates/"+name+".html"))
	}
	return r
}

// frame is what base.html sees; View is the page's own part.
type frame struct {
	Lang, Dir string
	Style     template.CSS
	Brand     brand
	FlowID    string
	View      any
}

// A page with a form says same-origin, because under no-referrer browsers send
// "Origin: null" with the form's POST (Fetch, "append a request Origin header"),
// and the handlers of those forms check Origin. Nothing reaches another origin
// under either value.
const (
	referrerNone = "no-referrer"
	referrerForm = "same-origin"
)

// render writes nothing until the whole page exists, so that a failing
// template is a clean 500 and not half a page.
func (r *Renderer) render(w http.ResponseWriter, status int, name, referrer, flowID string, view any) {
	f := frame{
		Lang: r.locale.Lang, Dir: r.locale.Dir, Style: r.style,
		Brand: r.brand, FlowID: DisplayText(flowID, maxFlowID), View: view,
	}
	var buf bytes.Buffer
	if err := r.pages[name].Execute(&buf, f); err != nil {
		buf.Reset()
		buf.WriteString("<!doctype html><html lang=\"en\"><title>Error</title><h1>Something went wrong</h1><p>Please try again later.</p></html>\n")
		status = http.StatusInternalServerError
	}
	setHeaders(w.Header(), r.policy, referrer)
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the reader may be gone; there is nobody left to tell
}

// contentPolicy has no form-action directive on purpose. Chromium enforces
// form-action along the whole redirect chain of a form's POST, so any list
// would have to name the identity provider, everything it redirects through,
// and the client's loopback or private-use redirect URI, which cannot be
// written as a source. The form's target is our own constant, base-uri
// is closed and no markup of others gets in, so the directive would guard nothing.
func contentPolicy(css string) string {
	return "default-src 'none'; style-src '" + styleHash(css) + "'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
}

func styleHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func setHeaders(h http.Header, policy, referrer string) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Language")
	h.Set("Referrer-Policy", referrer)
	h.Set("X-Content-Type-Options", "nosniff")
	// No Cross-Origin-Opener-Policy: a web client that opens us in a popup would
	// see it as closed at once, and its callback page could not answer it.
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("X-Robots-Tag", "noindex")
}
