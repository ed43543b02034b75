package registration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress/egresstest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

const clientURL = "https://app.example/client.json"

// publisher is one site that publishes one document, and counts who reads it.
type publisher struct {
	mu      sync.Mutex
	status  int
	header  http.Header
	body    string
	fetches int
	last    *http.Request
	slow    time.Duration
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	p.last = r
	time.Sleep(p.slow)
	w.Header().Set("Content-Type", "application/json")
	maps.Copy(w.Header(), p.header)
	if etag := p.header.Get("ETag"); etag != "" && r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(p.status)
	fmt.Fprint(w, p.body)
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func (p *publisher) set(status int, body string, header ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.body, p.header = status, body, http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		p.header.Set(header[i], header[i+1])
	}
}

type world struct {
	*Documents
	net  *egresstest.Internet
	site *publisher
	now  atomic.Int64 // seconds
}

func (w *world) pass(d time.Duration) { w.now.Add(int64(d / time.Second)) }

func newWorld(t testing.TB, edit func(*DocumentsOptions)) *world {
	w := &world{net: egresstest.New(t), site: &publisher{}}
	w.now.Store(1_800_000_000)
	now := func() time.Time { return time.Unix(w.now.Load(), 0) }
	w.site.set(200, document(nil))
	w.net.Site("app.example", w.site)
	o := DocumentsOptions{URLs: URLPolicy{Egress: &egress.Client{Network: w.net.Network(), Now: now, Ports: []uint16{8443}}, Own: []string{"mcp.example"}}, Now: now}
	if edit != nil {
		edit(&o)
	}
	o.KeySets = NewKeySets(o.URLs, now)
	o.Grants = []string{"authorization_code", "refresh_token"}
	w.Documents = NewDocuments(o)
	return w
}

func document(edit map[string]any) string {
	m := map[string]any{"client_id": clientURL, "client_name": "App", "redirect_uris": []string{"https://app.example/cb"}}
	maps.Copy(m, edit)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	b, _ := json.Marshal(m)
	return string(b)
}

func (w *world) get() (*Client, error) { return w.Client(context.Background(), clientURL) }

func TestDocumentURL(t *testing.T) {
	w := newWorld(t, nil)
	t.Run("AS-CIMD-02 raw string rules", func(t *testing.T) {
		for _, bad := range []string{
			"https://app.example", "https://app.example/", "https://app.example?x", "https://app.example/#", "https://app.example/c#", "https://app.example/c#f",
			"https://app.example/a/../c", "https://app.example/./c", "https://app.example/..", "https://app.example/a/%2e%2e/c", "https://app.example/%2E/c", "https://app.example/.%2e/c",
			"https://u@app.example/c", "https://@app.example/c", "https://u:p@app.example/c", "https://:@app.example/c",
			"https://app.example/c d", "https://app.example/c\t", "https://app.example\\c", "https://app.example/c\\d", "https://app.example/é", "https://app.example/%zz",
			"https://APP.example/c", "https:///c", "https://app.example:/c", "https://app.example:22/c", "https://app.example/" + strings.Repeat("c", 2048),
			"https://127.0.0.1/c", "https://[::1]/c", "https://2130706433/c", "https://0x7f.1/c", "https://printer.local/c", "https://metadata.google.internal/c",
			"https://app.example/c?q=1", "https://app.example/c?",
		} {
			if _, err := w.Client(context.Background(), bad); !errors.Is(err, ErrDocument) || !errors.Is(err, ErrUnknown) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		if n := w.site.count(); n != 0 || len(w.net.Dialed()) != 0 {
			t.Errorf("%d fetches, dialled %v", n, w.net.Dialed())
		}
	})
	t.Run("AS-CIMD-03 query and port by policy", func(t *testing.T) {
		q := newWorld(t, func(o *DocumentsOptions) { o.AllowQuery = true })
		for _, id := range []string{clientURL + "?a=b", "https://app.example:8443/client.json"} {
			q.site.set(200, document(map[string]any{"client_id": id}))
			if c, err := q.Client(context.Background(), id); err != nil || c.ID != id {
				t.Errorf("%s: %v", id, err)
			}
		}
	})
	t.Run("AS-CIMD-04 trust policy before any packet", func(t *testing.T) {
		for name, urls := range map[string]URLPolicy{
			"denied": {Denied: []string{"app.example"}}, "denied below": {Denied: []string{"*.example"}}, "not listed": {Allowed: []string{"claude.ai", "*.app.example"}},
			"denied wins": {Allowed: []string{"app.example"}, Denied: []string{"app.example"}}, "own": {Own: []string{"app.example"}},
		} {
			p := newWorld(t, func(o *DocumentsOptions) {
				o.URLs.Allowed, o.URLs.Denied, o.URLs.Own = urls.Allowed, urls.Denied, urls.Own
			})
			if _, err := p.get(); !errors.Is(err, ErrDocument) || len(p.net.Dialed()) != 0 {
				t.Errorf("%s: %v, dialled %v", name, err, p.net.Dialed())
			}
		}
		p := newWorld(t, func(o *DocumentsOptions) { o.URLs.Allowed = []string{"*.example"} })
		if c, err := p.get(); err != nil || !c.Trusted {
			t.Errorf("listed: %v %v", c, err)
		}
	})
}

// A name of the operator's list stands for itself, with "*." for what is below it, and
// with a port for that port.
func TestDomains(t *testing.T) {
	for _, tt := range []struct {
		named, url string
		vouched    bool
	}{
		{"app.example", "https://app.example/c", true},
		{"app.example", "https://app.example:8443/c", true},
		{"app.example", "https://evilapp.example/c", false},
		{"app.example", "https://x.app.example/c", false},
		{"app.example", "https://app.example.evil.example/c", false},
		{"*.app.example", "https://x.app.example/c", true},
		{"*.app.example", "https://x.y.app.example/c", true},
		{"*.app.example", "https://app.example/c", false},
		{"*.app.example", "https://evilapp.example/c", false},
		{"app.example:8443", "https://app.example:8443/c", true},
		{"app.example:8443", "https://app.example/c", false},
		{"app.example:8443", "https://evil.example:8443/c", false},
		{"other.example", "https://app.example:8443/c", false},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		e := &egress.Client{Ports: []uint16{8443}}
		p := URLPolicy{Egress: e, Allowed: []string{tt.named}}
		if p.vouched(u) != tt.vouched || (p.check(tt.url) == nil) != tt.vouched {
			t.Errorf("%s is vouched for by %s: %v, %v", tt.url, tt.named, p.vouched(u), p.check(tt.url))
		}
		if denied := (URLPolicy{Egress: e, Denied: []string{tt.named}}).check(tt.url) != nil; !strings.Contains(tt.named, ":") && denied != tt.vouched {
			t.Errorf("%s is denied by %s: %v", tt.url, tt.named, denied)
		}
	}
	dev := URLPolicy{Egress: &egress.Client{Loopback: true}, Own: []string{"localhost"}}
	if err := dev.check("http://localhost:9000/c"); err != nil {
		t.Errorf("another port of this machine, in development: %v", err)
	}
}

// What a client is by its document.
func TestParse(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwks := map[string]any{"keys": []any{json.RawMessage(publicJWK(t, &key.PublicKey, "one"))}}
	open := func(*DocumentsOptions) {}
	type is struct {
		auth            string
		grants, keys    int
		uri             string
		trusted         bool
		bound, pushed   bool
		name, vouchedBy string
	}
	plain := is{auth: AuthNone, grants: 2, name: "App", vouchedBy: "app.example"}
	with := func(edit func(*is)) is { i := plain; edit(&i); return i }
	for name, tt := range map[string]struct {
		members map[string]any
		edit    func(*DocumentsOptions)
		want    is
	}{
		"little":      {nil, open, plain},
		"one grant":   {map[string]any{"grant_types": []string{"authorization_code"}}, open, with(func(i *is) { i.grants = 1 })},
		"bound":       {map[string]any{"dpop_bound_access_tokens": true}, open, with(func(i *is) { i.bound = true })},
		"pushes":      {map[string]any{"require_pushed_authorization_requests": true}, open, with(func(i *is) { i.pushed = true })},
		"a long name": {map[string]any{"client_name": " " + strings.Repeat("ä", maxNameRunes+1)}, open, with(func(i *is) { i.name = strings.Repeat("ä", maxNameRunes) })},
		"listed":      {nil, func(o *DocumentsOptions) { o.URLs.Allowed = []string{"app.example"} }, with(func(i *is) { i.trusted = true })},
		"redirect known": {nil, func(o *DocumentsOptions) {
			o.Redirects.Allowed = []*regexp.Regexp{regexp.MustCompile(`^https://app\.example/cb$`)}
		}, with(func(i *is) { i.trusted = true })},
		"keys":               {map[string]any{"token_endpoint_auth_method": AuthPrivateKey, "jwks": jwks}, open, with(func(i *is) { i.auth, i.grants, i.keys = AuthPrivateKey, 1, 1 })},
		"a URL of keys":      {map[string]any{"token_endpoint_auth_method": AuthPrivateKey, "jwks_uri": "https://app.example/k"}, open, with(func(i *is) { i.auth, i.grants, i.uri = AuthPrivateKey, 1, "https://app.example/k" })},
		"of two, what works": {map[string]any{"token_endpoint_auth_method": AuthPrivateKey, "token_endpoint_auth_methods_supported": []string{AuthPrivateKey, AuthNone}}, open, plain},
		"of two, the wanted": {map[string]any{"token_endpoint_auth_method": AuthPrivateKey, "token_endpoint_auth_methods_supported": []string{AuthNone, AuthPrivateKey}, "jwks": jwks}, open,
			with(func(i *is) { i.auth, i.grants, i.keys = AuthPrivateKey, 1, 1 })},
		"several, none wanted": {map[string]any{"token_endpoint_auth_methods_supported": []string{"tls_client_auth", AuthPrivateKey}, "jwks": jwks}, open, with(func(i *is) { i.auth, i.grants, i.keys = AuthPrivateKey, 1, 1 })},
	} {
		c, err := newWorld(t, tt.edit).parse(clientURL, []byte(document(tt.members)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := (is{c.AuthMethod, len(c.GrantTypes), len(c.keys), c.jwksURI, c.Trusted, c.DPoPBound, c.PushedOnly, c.Name, c.VouchedBy}); got != tt.want || c.ID != clientURL {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
	for id, want := range map[string][2]bool{clientURL: {true, true}, "http://localhost/c": {false, true}, "dcr1.x": {}, "": {}} { // and in development
		for i, loopback := range []bool{false, true} {
			w := newWorld(t, func(o *DocumentsOptions) { o.URLs.Egress.Loopback = loopback })
			if w.IsDocumentURL(id) != want[i] {
				t.Errorf("%q is an id of a document, in development %v: %v", id, loopback, !want[i])
			}
		}
	}
}

func TestDocument(t *testing.T) {
	w := newWorld(t, nil)
	jwk := map[string]any{"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "kid": "k"}
	set := func(extra ...any) map[string]any {
		k := maps.Clone(jwk)
		for i := 0; i < len(extra); i += 2 {
			k[extra[i].(string)] = extra[i+1]
		}
		return map[string]any{"keys": []any{k}}
	}
	for _, tt := range []struct{ name, body string }{
		{"a text for a truth", document(map[string]any{"dpop_bound_access_tokens": "true"})},
		{"a list for a method", document(map[string]any{"token_endpoint_auth_method": []string{"none"}})},
		{"ATK-39 empty", ""}, {"AS-CIMD-13 list", "[]"}, {"AS-CIMD-13 null", "null"}, {"AS-CIMD-13 text", `"x"`}, {"ATK-39 BOM", "\ufeff" + document(nil)},
		{"ATK-39 trailing", document(nil) + "{}"}, {"ATK-39 not UTF-8", strings.Replace(document(nil), "App", "A\xffp", 1)},
		{"AS-CIMD-13 duplicate", strings.Replace(document(nil), "{", `{"redirect_uris":["https://evil.example/"],`, 1)},
		{"ATK-39 duplicate by escape", strings.Replace(document(nil), "{", `{"client\u005fid":"x",`, 1)},
		{"ATK-39 duplicate inside", document(map[string]any{"x": json.RawMessage(`{"a":1,"a":2}`)})},
		{"ATK-39 other case", document(map[string]any{"Redirect_URIs": []string{"https://evil.example/"}})},
		{"ATK-39 other case of DPoP", document(map[string]any{"DPoP_bound_access_tokens": true})},
		{"ATK-39 other case of pushed requests", document(map[string]any{"Require_Pushed_Authorization_Requests": true})},
		{"ATK-39 other case by folding", document(map[string]any{"jwk\u017f": 1})},
		{"ATK-39 only in another case", document(map[string]any{"client_name": nil, "CLIENT_NAME": "x"})},
		{"ATK-39 deep", document(map[string]any{"x": json.RawMessage(strings.Repeat("[", 50) + strings.Repeat("]", 50))})},
		{"ATK-39 NaN", strings.Replace(document(nil), "{", `{"x":NaN,`, 1)},
		{"AS-CIMD-14 no client_id", document(map[string]any{"client_id": nil})},
		{"AS-CIMD-14 case", document(map[string]any{"client_id": "https://app.example/Client.json"})},
		{"AS-CIMD-14 host case", document(map[string]any{"client_id": "https://App.example/client.json"})},
		{"AS-CIMD-14 percent", document(map[string]any{"client_id": "https://app.example/%63lient.json"})},
		{"AS-CIMD-14 port", document(map[string]any{"client_id": "https://app.example:443/client.json"})},
		{"AS-CIMD-14 slash", document(map[string]any{"client_id": clientURL + "/"})},
		{"AS-CIMD-15 no name", document(map[string]any{"client_name": nil})}, {"AS-CIMD-15 blank name", document(map[string]any{"client_name": " "})},
		{"AS-CIMD-15 name type", document(map[string]any{"client_name": 1})},
		{"AS-CIMD-15 no redirect_uris", document(map[string]any{"redirect_uris": nil})}, {"AS-CIMD-15 empty", document(map[string]any{"redirect_uris": []string{}})},
		{"AS-CIMD-15 type", document(map[string]any{"redirect_uris": "https://app.example/cb"})},
		{"AS-CIMD-16 secret", document(map[string]any{"client_secret": "x"})}, {"AS-CIMD-16 secret expiry", document(map[string]any{"client_secret_expires_at": 0})},
		{"AS-CIMD-16 basic", document(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})},
		{"AS-CIMD-16 post", document(map[string]any{"token_endpoint_auth_method": "client_secret_post", "token_endpoint_auth_methods_supported": []string{"none"}})},
		{"AS-CIMD-16 jwt", document(map[string]any{"token_endpoint_auth_method": "client_secret_jwt"})},
		{"AS-CIMD-18 nothing in common", document(map[string]any{"token_endpoint_auth_method": "tls_client_auth", "token_endpoint_auth_methods_supported": []string{"self_signed_tls_client_auth"}})},
		{"AS-CIMD-18 key method without keys", document(map[string]any{"token_endpoint_auth_method": "private_key_jwt"})},
		{"AS-CIMD-19 both", document(map[string]any{"jwks": set(), "jwks_uri": "https://app.example/k"})},
		{"AS-CIMD-19 private", document(map[string]any{"jwks": set("d", "x")})}, {"AS-CIMD-19 private in capitals", document(map[string]any{"jwks": set("D", "x")})},
		{"AS-CIMD-19 symmetric", document(map[string]any{"jwks": map[string]any{"keys": []any{map[string]any{"kty": "oct", "k": "AAAA"}}}})},
		{"AS-CIMD-19 symmetric without value", document(map[string]any{"jwks": map[string]any{"keys": []any{map[string]any{"kty": "oct"}}}})},
		{"AS-CIMD-19 no keys", document(map[string]any{"jwks": map[string]any{"keys": []any{}}})},
		{"AS-CIMD-12 jwks_uri inside", document(map[string]any{"jwks_uri": "https://169.254.169.254/k"})},
		{"AS-CIMD-12 jwks_uri of ours", document(map[string]any{"jwks_uri": "https://mcp.example/k"})},
		{"AS-CIMD-12 jwks_uri http", document(map[string]any{"jwks_uri": "http://app.example/k"})},
		{"AS-CIMD-20 only bad URIs", document(map[string]any{"redirect_uris": []string{"http://app.example/cb", "javascript:x", "cb"}})},
		{"AS-CIMD-20 too many", document(map[string]any{"redirect_uris": slices.Repeat([]string{"https://app.example/cb"}, 21)})},
		{"no code grant", document(map[string]any{"grant_types": []string{"client_credentials"}})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := w.parse(clientURL, []byte(tt.body)); err == nil {
				t.Errorf("accepted: %+v", c)
			}
		})
	}

	for _, tt := range []struct {
		name, method string
		edit         map[string]any
	}{
		{"AS-CIMD-16 absent method", AuthNone, nil},
		{"AS-CIMD-16 null method", AuthNone, map[string]any{"token_endpoint_auth_method": json.RawMessage("null")}},
		{"AS-CIMD-17", AuthPrivateKey, map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks": set()}},
		{"AS-CIMD-18 preferred first", AuthPrivateKey, map[string]any{"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_methods_supported": []string{"none", "private_key_jwt"}, "jwks_uri": "https://app.example/k"}},
		{"AS-CIMD-18 fall back", AuthNone, map[string]any{"token_endpoint_auth_method": "tls_client_auth", "token_endpoint_auth_methods_supported": []string{"tls_client_auth", "none"}}},
		{"AS-CIMD-18 list alone", AuthNone, map[string]any{"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "none"}}},
		{"AS-CIMD-20 unknown members", AuthNone, map[string]any{"logo_uri": "http://169.254.169.254/", "tos_uri": 1, "x": []int{1}, "client_name#de": "Anwendung"}},
		{"AS-CIMD-20 other grants", AuthNone, map[string]any{"grant_types": []string{"authorization_code", "urn:ietf:params:oauth:grant-type:device_code"}, "response_types": []string{"code", "token"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := w.parse(clientURL, []byte(document(tt.edit)))
			if err != nil {
				t.Fatal(err)
			}
			if c.AuthMethod != tt.method || c.VouchedBy != "app.example" || c.Trusted {
				t.Errorf("%+v", c)
			}
		})
	}
	if len(w.net.Dialed()) != 0 {
		t.Error("something was fetched")
	}
}

func TestFixtures(t *testing.T) {
	w := newWorld(t, nil)
	for _, tt := range []struct{ file, method, redirect string }{
		{"claude", AuthNone, "https://claude.ai/api/mcp/auth_callback"},
		{"claude-code", AuthNone, "http://localhost:49152/callback"},
		{"chatgpt", AuthPrivateKey, "https://chatgpt.com/connector/oauth/AbCdEfGhIjKl"},
		{"vscode", AuthNone, "http://127.0.0.1:54321/"},
	} {
		t.Run("AS-CIMD-20 "+tt.file, func(t *testing.T) {
			body, err := os.ReadFile("testdata/" + tt.file + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var doc struct {
				ID   string   `json:"client_id"`
				URIs []string `json:"redirect_uris"`
			}
			if err := json.Unmarshal(body, &doc); err != nil {
				t.Fatal(err)
			}
			if err := w.checkURL(doc.ID); err != nil {
				t.Error(err)
			}
			c, err := w.parse(doc.ID, body)
			if err != nil {
				t.Fatal(err)
			}
			if c.AuthMethod != tt.method || !c.MayUse("refresh_token") || !slices.Equal(c.RedirectURIs, doc.URIs) || c.VouchedBy == "" {
				t.Errorf("%+v", c)
			}
			if _, ok := oauth.MatchRedirectURI(c.RedirectURIs, tt.redirect); !ok {
				t.Errorf("%s does not match", tt.redirect)
			}
		})
	}
}

func TestDocumentFetch(t *testing.T) {
	t.Run("AS-CIMD-05 AS-CIMD-06 AS-CIMD-07 status", func(t *testing.T) {
		for status, want := range map[int]error{
			200: nil, 201: ErrDocument, 203: ErrDocument, 206: ErrDocument, 301: ErrDocument, 302: ErrDocument, 307: ErrDocument, 304: ErrDocument,
			400: ErrDocument, 403: ErrDocument, 404: ErrDocument, 410: ErrDocument, 408: ErrUnavailable, 429: ErrUnavailable, 500: ErrUnavailable, 503: ErrUnavailable,
		} {
			w := newWorld(t, nil)
			w.site.set(status, document(nil), "Location", "https://app.example/other")
			if _, err := w.get(); !errors.Is(err, want) {
				t.Errorf("%d: %v", status, err)
			}
			if w.site.count() != 1 || w.site.last.URL.Path != "/client.json" {
				t.Errorf("%d: %d fetches, %s", status, w.site.count(), w.site.last.URL)
			}
		}
	})
	t.Run("AS-CIMD-08 media type", func(t *testing.T) {
		for media, ok := range map[string]bool{
			"application/json": true, "application/json; charset=utf-8": true, "application/client+json": true, "APPLICATION/JSON": true,
			"text/html": false, "text/json": false, "application/javascript": false, "": false, "image/svg+json": false,
		} {
			w := newWorld(t, nil)
			w.site.set(200, document(nil), "Content-Type", media)
			if _, err := w.get(); (err == nil) != ok {
				t.Errorf("%q: %v", media, err)
			}
		}
	})
	t.Run("AS-CIMD-09 size", func(t *testing.T) {
		for n, ok := range map[int]bool{MaxDocumentBytes: true, MaxDocumentBytes + 1: false} {
			w := newWorld(t, nil)
			body := document(nil)
			w.site.set(200, body+strings.Repeat(" ", n-len(body)))
			if _, err := w.get(); (err == nil) != ok || err != nil && !errors.Is(err, ErrDocument) {
				t.Errorf("%d: %v", n, err)
			}
		}
	})
	t.Run("AS-CIMD-09 100 at once, one fetch", func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.slow = 50 * time.Millisecond
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := w.get(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := w.site.count(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
	t.Run("one who leaves does not spoil it for the others", func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.slow = 50 * time.Millisecond
		ctx, leave := context.WithCancel(context.Background())
		leave()
		if _, err := w.Client(ctx, clientURL); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		if _, err := w.get(); err != nil || w.site.count() != 1 {
			t.Errorf("%v, %d fetches", err, w.site.count())
		}
	})
}

// crowd gets the document n times at once and returns how many were sent away.
func (w *world) crowd(t *testing.T, n int) int {
	var crowded atomic.Int64
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if _, err := w.get(); errors.Is(err, errCrowded) {
				crowded.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return int(crowded.Load())
}

func TestDocumentCache(t *testing.T) {
	fetches := func(t *testing.T, w *world, want int) {
		t.Helper()
		if _, err := w.get(); err != nil {
			t.Fatal(err)
		}
		if n := w.site.count(); n != want {
			t.Fatalf("%d fetches, want %d", n, want)
		}
	}
	for _, tt := range []struct {
		name   string
		fresh  time.Duration // 0: not reused at all
		header []string
	}{
		{"nothing said", 5 * time.Minute, nil},
		{"max-age", time.Hour, []string{"Cache-Control", "public, max-age=3600"}},
		{"quoted", time.Hour, []string{"Cache-Control", `max-age="3600"`}},
		{"s-maxage wins", 10 * time.Minute, []string{"Cache-Control", "max-age=3600, S-MaxAge=600"}},
		{"two max-ages", time.Minute, []string{"Cache-Control", "max-age=3600, max-age=60"}},
		{"oversize", 24 * time.Hour, []string{"Cache-Control", "max-age=31536000, immutable"}},
		{"overflow", 0, []string{"Cache-Control", "max-age=99999999999999999999"}},
		{"Age", 10 * time.Minute, []string{"Cache-Control", "max-age=3600", "Age", "3000"}},
		{"Expires", 30 * time.Minute, []string{"Date", "Thu, 01 Jan 2026 00:00:00 GMT", "Expires", "Thu, 01 Jan 2026 00:30:00 GMT"}},
		{"Expires in years", 24 * time.Hour, []string{"Date", "Thu, 01 Jan 2026 00:00:00 GMT", "Expires", "Thu, 01 Jan 2036 00:30:00 GMT"}},
		{"Expires 0", 0, []string{"Expires", "0"}},
		{"no-store", 0, []string{"Cache-Control", "no-store, max-age=3600"}},
		{"private", 0, []string{"Cache-Control", "private, max-age=3600"}},
		{"no-cache", 0, []string{"Cache-Control", "no-cache, max-age=3600"}},
		{"max-age=0", 0, []string{"Cache-Control", "max-age=0"}},
		{"nonsense", 0, []string{"Cache-Control", "max-age=soon"}},
		{"Vary, any among others", 0, []string{"Cache-Control", "max-age=3600", "Vary", "Accept, *"}},
		{"Age beyond numbers", 0, []string{"Cache-Control", "max-age=3600", "Age", "99999999999999999999"}},
		{"Vary *", 0, []string{"Cache-Control", "max-age=3600", "Vary", "*"}},
	} {
		t.Run("AS-CIMD-22 "+tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.site.set(200, document(nil), tt.header...)
			fetches(t, w, 1)
			if tt.fresh == 0 {
				fetches(t, w, 2)
				return
			}
			w.pass(tt.fresh - time.Second)
			fetches(t, w, 1)
			w.pass(time.Second)
			fetches(t, w, 2)
		})
	}
	t.Run("AS-CIMD-22 ETag", func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.set(200, document(nil), "Cache-Control", "max-age=60", "ETag", `"v1"`)
		fetches(t, w, 1)
		w.pass(time.Minute)
		fetches(t, w, 2)
		if got := w.site.last.Header.Get("If-None-Match"); got != `"v1"` {
			t.Errorf("If-None-Match %s", got)
		}
		w.pass(59 * time.Second)
		fetches(t, w, 2)
		w.pass(time.Second)
		w.site.set(200, document(map[string]any{"client_name": "New"}), "ETag", `"v2"`)
		if c, err := w.get(); err != nil || c.Name != "New" {
			t.Errorf("%v %v", c, err)
		}
	})
	t.Run("AS-CIMD-23 errors are not kept, and governed", func(t *testing.T) {
		w := newWorld(t, nil)
		for _, bad := range []struct {
			status int
			body   string
		}{{500, ""}, {404, ""}, {200, "{}"}} {
			w.site.set(bad.status, bad.body)
			if _, err := w.get(); err == nil {
				t.Fatal("accepted")
			}
			w.site.set(200, document(nil), "Cache-Control", "no-store")
			if _, err := w.get(); err != nil {
				t.Errorf("after %d: %v", bad.status, err)
			}
		}
		w.site.set(404, "")
		before := w.site.count()
		for range 50 {
			w.get()
		}
		if n := w.site.count() - before; n > 10 {
			t.Errorf("%d fetches for 50 requests", n)
		}
		if _, err := w.get(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("beyond the budget: %v", err)
		}
		w.site.set(200, document(nil))
		w.pass(10 * time.Second)
		if _, err := w.get(); err != nil {
			t.Errorf("after a while: %v", err)
		}
	})
	t.Run("AS-CIMD-25 stale if error, within bound", func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.set(200, document(nil), "Cache-Control", "max-age=60")
		fetches(t, w, 1)
		w.pass(2 * time.Minute)
		w.site.set(503, "")
		fetches(t, w, 2)
		fetches(t, w, 2) // not asked again at once
		w.pass(time.Minute)
		fetches(t, w, 3)
		w.pass(24 * time.Hour)
		if _, err := w.get(); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknown) {
			t.Errorf("a day later: %v", err)
		}
		w.site.set(200, document(nil))
		fetches(t, w, w.site.count()+1)
		w.pass(10 * time.Minute)
		w.site.set(404, "")
		if _, err := w.get(); !errors.Is(err, ErrDocument) {
			t.Errorf("withdrawn: %v", err)
		}
	})
	t.Run("a publisher that does not answer is left alone, and then asked once", func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.set(503, "")
		for range 30 {
			if _, err := w.get(); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}
		if n := w.site.count(); n != 3 {
			t.Errorf("%d fetches, want 3", n)
		}
		w.pass(16 * time.Second)
		for range 30 {
			w.get()
		}
		if n := w.site.count(); n != 4 {
			t.Errorf("%d fetches after the pause, want 4", n)
		}
		w.site.set(200, document(nil))
		w.pass(16 * time.Second)
		fetches(t, w, 5)
		w.pass(time.Hour)
		w.site.set(503, "")
		fetches(t, w, 6) // the copy does, and the count has begun again
	})
	t.Run("ATK-47 strangers do not use up what a known client needs", func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.set(200, document(nil), "Cache-Control", "no-store") // nothing is kept of it
		fetches(t, w, 1)
		for i := range 200 {
			w.Client(context.Background(), fmt.Sprintf("https://stranger%d.example/client.json", i))
			w.Client(context.Background(), fmt.Sprintf("https://app.example/%d.json", i)) // on the client's own site too
		}
		if _, err := w.Client(context.Background(), "https://another.example/client.json"); !errors.Is(err, egress.ErrBudget) {
			t.Fatalf("the budget of strangers is not used up: %v", err)
		}
		if _, err := w.get(); err != nil {
			t.Errorf("the known client: %v", err)
		}
	})
	t.Run("few wait for what nobody has seen", func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.slow = 300 * time.Millisecond
		if n := w.crowd(t, maxWaiting+50); n != 50 {
			t.Errorf("%d were sent away, want 50", n)
		}
		w.pass(time.Hour) // now there is a copy: no request is refused
		if n := w.crowd(t, maxWaiting+50); n != 0 {
			t.Errorf("%d were sent away, in spite of a copy, want 0", n)
		}
	})
	t.Run("few wait for what was good once and is slow now", func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.set(200, document(nil), "Cache-Control", "no-store") // so there is no copy
		fetches(t, w, 1)
		w.site.slow = 300 * time.Millisecond
		if n := w.crowd(t, maxWaitingKnown+20); n != 20 {
			t.Errorf("%d were sent away, want 20", n)
		}
	})
	t.Run("must-revalidate is not served stale", func(t *testing.T) {
		w := newWorld(t, nil)
		w.site.set(200, document(nil), "Cache-Control", "max-age=60, must-revalidate")
		fetches(t, w, 1)
		w.pass(2 * time.Minute)
		w.site.set(503, "")
		if _, err := w.get(); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("bounded", func(t *testing.T) {
		w := newWorld(t, nil)
		for i := range 3 * maxFetched {
			w.cache.mu.Lock()
			w.cache.keep(&copied[*Client]{url: fmt.Sprint(i), lifetime: lifetime{store: true}})
			w.cache.mu.Unlock()
		}
		if len(w.cache.entries) != maxFetched || w.cache.recent.Len() != maxFetched || w.cache.entries["0"] != nil {
			t.Errorf("%d entries, want %v", len(w.cache.entries), maxFetched)
		}
	})
}

// Accepted means: the client is the URL's own, every redirect URI is admitted
// by policy, no secret is shared, keys are public, and the size was bounded.
func FuzzMetadataDocument(f *testing.F) {
	files, _ := os.ReadDir("testdata")
	for _, file := range files {
		if body, err := os.ReadFile("testdata/" + file.Name()); err == nil {
			f.Add("https://claude.ai/oauth/mcp-oauth-client-metadata", body)
		}
	}
	f.Add(clientURL, []byte(document(nil)))
	f.Add(clientURL, []byte(document(map[string]any{"jwks": map[string]any{"keys": []any{}}})))
	w := newWorld(f, nil)
	f.Fuzz(func(t *testing.T, id string, body []byte) {
		if w.checkURL(id) != nil || len(body) > MaxDocumentBytes {
			return
		}
		c, err := w.parse(id, body)
		if err != nil {
			return
		}
		var doc map[string]any
		if err := json.Unmarshal(body, &doc); err != nil {
			t.Fatalf("accepted what is not JSON: %v", err)
		}
		if c.ID != id || doc["client_id"] != id || !strings.HasPrefix(id, "https://") || c.Name == "" || len(c.RedirectURIs) == 0 {
			t.Fatalf("%+v", c)
		}
		for _, u := range c.RedirectURIs {
			if (RedirectPolicy{}).Check(u) != nil {
				t.Fatalf("redirect URI %q", u)
			}
		}
		if c.AuthMethod != AuthNone && c.AuthMethod != AuthPrivateKey || c.AuthMethod == AuthPrivateKey && len(c.keys) == 0 && c.jwksURI == "" {
			t.Fatalf("method %q", c.AuthMethod)
		}
		if c.jwksURI != "" && (!strings.HasPrefix(c.jwksURI, "https://") || len(c.keys) > 0) {
			t.Fatalf("jwks_uri %q", c.jwksURI)
		}
		for _, k := range c.keys {
			if !k.IsPublic() {
				t.Fatal("a private key")
			}
		}
	})
}
