//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// visitor walks a sign-in as a browser without scripts would: cookies,
// redirects and forms.
type visitor struct {
	username, password string
	// keep says which scopes stay ticked on the consent page; nil keeps all.
	keep func(scope string) bool
	// decision is the button to press on the consent page; "" is "allow".
	decision string
	// choice is the provider to choose where there are several; "" is the first.
	choice string

	cookies map[string][]*http.Cookie // by host without port: RFC 6265, section 8.5
	// offered lists the scopes that the consent page showed.
	offered []string
	visited []string
}

var alice = visitor{username: "alice", password: "alice-password"}

// form is the first form of a page.
type form struct {
	action, method string
	values         url.Values
}

// browser does not follow redirects: the visitor does.
var browser = &http.Client{
	Timeout:       40 * time.Second, // Traefik waits 30 s for a service that hangs
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// walk follows the sign-in that starts at start until the browser is sent to
// redirectURL, and returns the parameters it carries there.
func (v *visitor) walk(t *testing.T, start, redirectURL string) (url.Values, error) {
	t.Helper()
	return v.walkOn(t, http.MethodGet, start, "", "", redirectURL)
}

// submit is walk from a page that is already open; here is its origin.
func (v *visitor) submit(t *testing.T, f *form, here, redirectURL string) (url.Values, error) {
	t.Helper()
	return v.walkOn(t, strings.ToUpper(f.method), f.action, f.values.Encode(), here, redirectURL)
}

// consent says yes to the request at start, and returns where the browser is
// sent to sign in.
func (v *visitor) consent(t *testing.T, start string) (next string) {
	t.Helper()
	page, resp, err := v.fetch(t, http.MethodGet, start, "", "")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("consent page: %v %v", err, resp)
	}
	here := resp.Request.URL
	f := v.firstForm(page)
	to, err := here.Parse(f.action)
	if err != nil {
		t.Fatal(err)
	}
	if _, resp, err = v.fetch(t, strings.ToUpper(f.method), to.String(), f.values.Encode(), here.Scheme+"://"+here.Host); err != nil || resp.Header.Get("Location") == "" {
		t.Fatalf("consent: %v %v", err, resp)
	}
	return resp.Header.Get("Location")
}

func (v *visitor) walkOn(t *testing.T, method, at, body, origin, redirectURL string) (url.Values, error) {
	t.Helper()
	for range 25 {
		page, resp, err := v.fetch(t, method, at, body, origin)
		if err != nil {
			return nil, err
		}
		here := resp.Request.URL
		v.visited = append(v.visited, fmt.Sprintf("%s %s%s %d", method, here.Host, here.Path, resp.StatusCode))
		if location := resp.Header.Get("Location"); location != "" {
			if strings.HasPrefix(location, redirectURL) {
				u, err := url.Parse(location)
				if err != nil {
					return nil, err
				}
				return u.Query(), nil
			}
			next, err := here.Parse(location)
			if err != nil {
				return nil, err
			}
			if resp.StatusCode != 307 && resp.StatusCode != 308 {
				method, body = http.MethodGet, ""
			}
			at, origin = next.String(), here.Scheme+"://"+here.Host
			continue
		}
		if back := linkTo(page, redirectURL); back != "" {
			u, err := url.Parse(back)
			if err != nil {
				return nil, err
			}
			v.visited = append(v.visited, "link back to the client")
			return u.Query(), nil
		}
		f := v.firstForm(page)
		if f == nil || resp.StatusCode >= 400 {
			return nil, &pageError{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), text: pageText(page), visited: v.visited}
		}
		next, err := here.Parse(f.action)
		if err != nil {
			return nil, err
		}
		method, body, at, origin = strings.ToUpper(f.method), f.values.Encode(), next.String(), here.Scheme+"://"+here.Host
	}
	return nil, fmt.Errorf("the walk does not end: %s", strings.Join(v.visited, " → "))
}

// pageError is a page that the browser stays on.
type pageError struct {
	status     int
	retryAfter string
	text       string
	visited    []string
}

func (e *pageError) Error() string {
	return fmt.Sprintf("the walk ended with %d: %s (%s)", e.status, e.text, strings.Join(e.visited, " → "))
}

func (v *visitor) fetch(t *testing.T, method, at, body, origin string) (*html.Node, *http.Response, error) {
	req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", origin)
	}
	for _, c := range v.cookies[req.URL.Hostname()] {
		if c.Path == "" || req.URL.Path == c.Path || strings.HasPrefix(req.URL.Path, strings.TrimSuffix(c.Path, "/")+"/") {
			req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	resp, err := browser.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	v.store(req.URL.Hostname(), resp.Cookies())
	page, err := html.Parse(io.LimitReader(resp.Body, 1<<20))
	return page, resp, err
}

// store keeps cookies, Secure ones too: Chromium does so on loopback.
func (v *visitor) store(host string, cookies []*http.Cookie) {
	if v.cookies == nil {
		v.cookies = map[string][]*http.Cookie{}
	}
	for _, c := range cookies {
		var kept []*http.Cookie
		for _, old := range v.cookies[host] {
			if old.Name != c.Name || old.Path != c.Path {
				kept = append(kept, old)
			}
		}
		if c.MaxAge >= 0 && (c.Expires.IsZero() || c.Expires.After(time.Now())) {
			kept = append(kept, c)
		}
		v.cookies[host] = kept
	}
}

// firstForm fills in the first form of a page, nil if there is none.
func (v *visitor) firstForm(page *html.Node) *form {
	var f *form
	pressed := false
	for n := range page.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "form" && f == nil:
			f = &form{action: attr(n, "action"), method: attr(n, "method"), values: url.Values{}}
			for c := range n.Descendants() {
				if c.Type == html.ElementNode && (c.Data == "input" || c.Data == "button") && !disabled(c) {
					pressed = v.fill(f, c, pressed)
				}
			}
		}
	}
	return f
}

// disabled controls are no part of a form (HTML, "Constructing the entry list"), and
// a hidden button is not pressed.
func disabled(n *html.Node) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "disabled" || a.Key == "hidden" })
}

// fill enters one control into f. It reports whether a button has been pressed.
func (v *visitor) fill(f *form, c *html.Node, pressed bool) bool {
	name, value, kind := attr(c, "name"), attr(c, "value"), attr(c, "type")
	if c.Data == "button" && kind == "" {
		kind = "submit"
	}
	switch kind {
	case "submit":
		if name == "select" { // all or none of many boxes: the page comes again
			return pressed
		}
		want := v.decision
		if want == "" {
			want = "allow"
		}
		if name == "choice" && v.choice != "" {
			want = v.choice
		}
		if (name == "decision" || name == "choice" && v.choice != "") && value != want || pressed {
			return pressed
		}
		if name != "" {
			f.values.Add(name, value)
		}
		return true
	case "checkbox":
		if name == "scope" {
			v.offered = append(v.offered, value)
			if has(c, "checked") && (v.keep == nil || v.keep(value)) {
				f.values.Add(name, value)
			}
		} else if has(c, "checked") {
			f.values.Add(name, value)
		}
	case "password":
		f.values.Add(name, v.password)
	case "hidden":
		f.values.Add(name, value)
	default:
		f.values.Add(name, v.username)
	}
	return pressed
}

// linkTo finds the link by which a page lets the person go back to the client.
func linkTo(page *html.Node, prefix string) string {
	for n := range page.Descendants() {
		if href := attr(n, "href"); n.Data == "a" && strings.HasPrefix(href, prefix) {
			return href
		}
	}
	return ""
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}

// pageText is what a person reads.
func pageText(page *html.Node) string {
	var words []string
	for n := range page.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" && n.Parent.Data != "script" {
			words = append(words, strings.Fields(n.Data)...)
		}
	}
	return tail(strings.Join(words, " "), 600)
}
