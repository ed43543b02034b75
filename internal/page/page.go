// Package page owns every byte of HTML a person sees. Its invariant: whatever
// a client, an MCP server or an identity provider wrote arrives on the page as
// bounded, inert, visible text. There is no script, no request to another host,
// and no link but those that the operator or the redirect matcher produced.
//
// Every text is in messages/*.json, one file for each language: callers
// say what happened, never how to put it. Structure is in *.templ, from which
// templ makes Go (go generate), looks are in style.css. The package imports no
// other package of this module.
//
// templ escapes every value for text and for a quoted attribute, which are the
// only places that values stand in. It is generated code because html/template
// calls methods by name: a program with it keeps every method of every type.
package page

//go:generate go tool -modfile=../../hack/tools/go.mod templ generate -log-level warn

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/a-h/templ"
)

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
	style  templ.Component
	policy string // Content-Security-Policy
}

func newRenderer(b Brand, l locale) *Renderer {
	css := style + accentStyle(b.AccentColor)
	return &Renderer{brand: checkBrand(b), locale: l, style: styleElement(css), policy: contentPolicy(css)}
}

// styleElement is the one piece of markup that no template escapes: the style is
// ours to the last byte, and the policy has the hash of those bytes.
func styleElement(css string) templ.Component { return templ.Raw("<style>" + css + "</style>") }

// frame is what stands around a page's own part.
type frame struct {
	style  templ.Component
	brand  brand
	flowID string
}

func (r *Renderer) frame(flowID string) frame {
	return frame{style: r.style, brand: r.brand, flowID: DisplayText(flowID, maxFlowID)}
}

func (l locale) title(f frame, id string) (string, error) {
	s, err := l.tx(id)
	if f.brand.Name != "" {
		s += " · " + f.brand.Name
	}
	return s, err
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
func (r *Renderer) render(w http.ResponseWriter, status int, referrer string, page templ.Component) {
	var buf bytes.Buffer
	if err := page.Render(context.Background(), &buf); err != nil {
		buf.Reset()
		buf.WriteString("<!doctype html><html lang=\"en\"><title>Error</title><h1>Something went wrong</h1><p>Please try again later.</p></html>\n")
		status = http.StatusInternalServerError
	}
	setHeaders(w.Header(), r.policy, referrer)
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the reader may be gone; there is nothing left to do
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
