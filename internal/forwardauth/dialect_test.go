package forwardauth

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// where is one request of a client, as every gateway can tell it.
type where struct {
	name          string
	host, path    string // as sent
	want          string // URI of the resource, "" if denied
	reason        Reason // if denied
	notUnderNGINX bool   // the URL cannot be put together there
	notUnderEnvoy bool   // Envoy's own request cannot carry it
}

// requests is the table that all dialects share.
var requests = []where{
	{name: "the resource", host: "a.example", path: "/mcp", want: "https://a.example/mcp"},
	{name: "below it", host: "a.example", path: "/mcp/x/y", want: "https://a.example/mcp"},
	{name: "trailing slash", host: "a.example", path: "/mcp/", want: "https://a.example/mcp"},
	{name: "query", host: "a.example", path: "/mcp?a=b&path=/two", want: "https://a.example/mcp"},
	{name: "query with dots", host: "a.example", path: "/mcp?x=/../two", want: "https://a.example/mcp"},
	{name: "the longest path wins", host: "a.example", path: "/mcp/admin/x", want: "https://a.example/mcp/admin"},
	{name: "RS-VAL-06 segment border", host: "a.example", path: "/mcp2", reason: UnknownResource},
	{name: "segment border inside", host: "a.example", path: "/mcp/administrator", want: "https://a.example/mcp"},
	{name: "other path", host: "a.example", path: "/three", reason: UnknownResource},
	{name: "root of a host without root", host: "a.example", path: "/", reason: UnknownResource},
	{name: "root resource", host: "b.example", path: "/", want: "https://b.example"},
	{name: "root resource, below", host: "b.example", path: "/any/thing", want: "https://b.example"},
	{name: "comma in a path", host: "b.example", path: "/a,b", want: "https://b.example"},
	{name: "encoded space", host: "b.example", path: "/a%20b", want: "https://b.example"},
	{name: "host in capitals", host: "A.Example", path: "/mcp", want: "https://a.example/mcp"},
	{name: "trailing dot", host: "a.example.", path: "/mcp", want: "https://a.example/mcp"},
	{name: "default port", host: "a.example:443", path: "/mcp", want: "https://a.example/mcp"},
	{name: "other port", host: "a.example:8443", path: "/mcp", reason: UnknownHost},
	{name: "port of its own", host: "c.example:8443", path: "/mcp", want: "https://c.example:8443/mcp"},
	{name: "without that port", host: "c.example", path: "/mcp", reason: UnknownHost},
	{name: "RS-FWD-08 unknown host", host: "evil.example", path: "/mcp", reason: UnknownHost},
	{name: "host that continues", host: "a.example.evil.example", path: "/mcp", reason: UnknownHost},
	{name: "two hosts", host: "a.example,b.example", path: "/mcp", reason: UnknownHost},
	{name: "user name", host: "b.example@a.example", path: "/mcp", reason: UnknownHost},
	{name: "path in capitals", host: "a.example", path: "/MCP", reason: UnknownResource},
	{name: "ATK-31 two slashes", host: "a.example", path: "//mcp", reason: AmbiguousTarget},
	{name: "ATK-31 two slashes inside", host: "a.example", path: "/mcp//x", reason: AmbiguousTarget},
	{name: "ATK-31 dot segment", host: "a.example", path: "/mcp/./x", reason: AmbiguousTarget},
	{name: "ATK-31 dot segments", host: "a.example", path: "/mcp/../two", reason: AmbiguousTarget},
	{name: "ATK-31 dots at the end", host: "a.example", path: "/mcp/..", reason: AmbiguousTarget},
	{name: "ATK-31 encoded dots", host: "a.example", path: "/mcp/%2e%2e/two", reason: AmbiguousTarget},
	{name: "ATK-31 half encoded dots", host: "a.example", path: "/mcp/.%2E/two", reason: AmbiguousTarget},
	{name: "ATK-31 path parameter", host: "a.example", path: "/mcp/..;/two", reason: AmbiguousTarget},
	{name: "ATK-31 path parameter on a name", host: "a.example", path: "/mcp;x=y/two", reason: AmbiguousTarget},
	{name: "ATK-31 backslash", host: "a.example", path: `/mcp\..\two`, reason: AmbiguousTarget},
	{name: "ATK-31 encoded backslash", host: "a.example", path: "/mcp/%5c../two", reason: AmbiguousTarget},
	{name: "ATK-31 encoded slash", host: "a.example", path: "/mcp%2f..%2ftwo", reason: AmbiguousTarget},
	{name: "ATK-31 encoded letter", host: "a.example", path: "/%6dcp", reason: AmbiguousTarget},
	{name: "ATK-31 encoded percent", host: "a.example", path: "/mcp/%252e%252e/two", reason: AmbiguousTarget},
	{name: "ATK-31 encoded zero", host: "a.example", path: "/mcp%00", reason: AmbiguousTarget},
	{name: "ATK-31 fragment", host: "a.example", path: "/mcp#/../two", reason: AmbiguousTarget},
	{name: "ATK-31 absolute form", host: "a.example", path: "http://a.example/mcp", reason: AmbiguousTarget, notUnderNGINX: true, notUnderEnvoy: true},
	{name: "asterisk form", host: "a.example", path: "*", reason: AmbiguousTarget, notUnderNGINX: true, notUnderEnvoy: true},
	{name: "no path", host: "a.example", path: "", reason: AmbiguousTarget},
	{name: "RS-FWD-05 empty host", host: "", path: "/mcp", reason: UnknownHost},
}

// renderings make of a client's request what a gateway of each dialect sends.
var renderings = map[Dialect]func(w where, headers http.Header) (*http.Request, error){
	NGINX: func(w where, h http.Header) (*http.Request, error) {
		h.Set("X-Original-Url", "https://"+w.host+w.path)
		h.Set("X-Original-Method", "POST")
		return parse("GET", Path, w.host, h)
	},
	Forwarded: func(w where, h http.Header) (*http.Request, error) {
		h.Set("X-Forwarded-Method", "POST")
		h.Set("X-Forwarded-Proto", "https")
		h.Set("X-Forwarded-Host", w.host)
		h.Set("X-Forwarded-Uri", w.path)
		return parse("GET", Path+"/forwarded?"+"a=b", "auth.internal:8080", h)
	},
	EnvoyHTTP: func(w where, h http.Header) (*http.Request, error) {
		return parse("POST", Path+"/envoy"+w.path, w.host, h)
	},
	GatewayAPI: func(w where, h http.Header) (*http.Request, error) {
		h.Set("Path", w.path)
		h.Set("Method", "POST")
		return parse("GET", Path+"/gateway-api", w.host, h)
	},
}

// parse sends a request over the wire format, as net/http would read it.
func parse(method, target, host string, h http.Header) (*http.Request, error) {
	var b strings.Builder
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n")
	if err := h.Write(&b); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	return http.ReadRequest(bufio.NewReader(strings.NewReader(b.String())))
}

func TestDialects(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	for dialect, render := range renderings {
		for _, w := range requests {
			if dialect == NGINX && w.notUnderNGINX || dialect == EnvoyHTTP && w.notUnderEnvoy {
				continue
			}
			t.Run(dialect.String()+"/"+w.name, func(t *testing.T) {
				r, err := render(w, http.Header{})
				if err != nil {
					if w.want != "" {
						t.Fatal(err)
					}
					return // net/http refuses it with 400
				}
				if !Owns(r.RequestURI) {
					t.Fatalf("%s is not ours", r.RequestURI)
				}
				q := read(r)
				if q.Dialect != dialect {
					t.Fatalf("dialect %s, want %v", q.Dialect, dialect)
				}
				var d Decision
				reason := f.locate(&q, &d)
				switch {
				case w.want != "" && (reason != Allowed || d.Resource.URI != w.want):
					t.Errorf("%s, %v; want %s", reason, d.Resource, w.want)
				case w.want == "" && reason == Allowed:
					t.Errorf("it is at %s", d.Resource.URI)
				case w.want == "" && reason != w.reason && !(w.host == "" || w.path == ""):
					t.Errorf("%s, want %s", reason, w.reason)
				}
				if w.want != "" && q.Method != "POST" {
					t.Errorf("method %q", q.Method)
				}
			})
		}
	}
}

// nginx routes by the host of the request line and ingress-nginx tells that of
// the Host header: a token for a.example used to open b.example that way.
func TestRoutedHost(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	for target, want := range map[string]Reason{
		"": Allowed, "?": Allowed, "?other=b.example": Allowed, // not set up
		"?host=a.example": Allowed, "?host=A.Example": Allowed,
		"?host=b.example": AmbiguousTarget, "?host=zzz": AmbiguousTarget, "?host=": AmbiguousTarget,
		"?host=a.example&host=b.example": AmbiguousTarget, "?host=a.example/mcp": AmbiguousTarget,
	} {
		t.Run("ATK-31 "+target, func(t *testing.T) {
			for _, address := range []string{"https://a.example/mcp", "https://a.example:443/mcp"} {
				r := nginxRequest("POST", address)
				r.Host, r.RequestURI = "auth.internal", Path+target
				q := read(r)
				var d Decision
				if reason := f.locate(&q, &d); reason != want {
					t.Errorf("%s: %s, want %s", address, reason, want)
				}
			}
			r := nginxRequest("POST", "https://c.example:8443/mcp")
			r.RequestURI = Path + "?host=c.example" // $host has no port
			q := read(r)
			var d Decision
			if reason := f.locate(&q, &d); reason != Allowed {
				t.Errorf("with a port: %s, want %v", reason, Allowed)
			}
		})
	}
}

// What gateways of one dialect overwrite, those of another pass on as the client
// wrote it. It must have no effect there.
func TestForeignHeaders(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	foreign := map[string]string{
		"X-Original-Url": "https://a.example/two", "X-Original-Method": "OPTIONS", "X-Original-Uri": "/two", "X-Original-Host": "b.example",
		"X-Forwarded-Host": "b.example", "X-Forwarded-Uri": "/two", "X-Forwarded-Method": "OPTIONS", "X-Forwarded-Proto": "http",
		"X-Forwarded-Port": "1", "X-Forwarded-Prefix": "/two", "X-Forwarded-Server": "b.example", "Forwarded": "host=b.example;proto=http",
		"Path": "/two", "Method": "OPTIONS", "X-Envoy-Original-Path": "/two", "X-Rewrite-Url": "/two", "X-Http-Method-Override": "GET", "X-Original-Scheme": "http",
	}
	for dialect, render := range renderings {
		t.Run("RS-FWD-01 "+dialect.String(), func(t *testing.T) {
			h := http.Header{}
			for name, value := range foreign {
				h.Set(name, value)
			}
			r, err := render(where{host: "a.example", path: "/mcp"}, h) // sets its own over them
			if err != nil {
				t.Fatal(err)
			}
			q := read(r)
			var d Decision
			if reason := f.locate(&q, &d); reason != Allowed || d.Resource.URI != "https://a.example/mcp" || q.Method != "POST" {
				t.Errorf("%s, %v, method %s", reason, d.Resource, q.Method)
			}
		})
	}
}

func TestDialectPaths(t *testing.T) {
	f := newFixture(t, "a.example/mcp", nil)
	secret := f.token(t, "https://a.example/mcp", "read")
	for _, target := range []string{
		"/", "/x", "/nginx", "/forwarded/", "/forwardedx", "/forwarded/mcp", "/gateway-api/mcp", "/envoyx/mcp", "/Envoy/mcp", "/envoy", "/envoy?x",
		"/../authenticate", "/%65nvoy/mcp", "//mcp", "/mcp",
	} {
		t.Run(target, func(t *testing.T) {
			r := with(nginxRequest("POST", "https://a.example/mcp"), "Authorization", "Bearer "+secret,
				"X-Forwarded-Host", "a.example", "X-Forwarded-Uri", "/mcp", "Path", "/mcp", "Method", "POST")
			r.RequestURI = Path + target
			if resp := f.ask(t, r); resp.StatusCode != http.StatusForbidden {
				t.Errorf("status %d, want %v", resp.StatusCode, http.StatusForbidden)
			}
		})
	}
	for target, want := range map[string]bool{
		"/authenticate": true, "/authenticate?x": true, "/authenticate/x": true, "/authenticate//x": true,
		"/authenticated": false, "/authenticat": false, "/x/authenticate": false, "http://h/authenticate": false, "": false, "*": false,
	} {
		if Owns(target) != want {
			t.Errorf("Owns(%q) is %v", target, !want)
		}
	}
}

func TestIncompleteQuestions(t *testing.T) {
	f := newFixture(t, "a.example/mcp b.example/x b.example/y", nil)
	secret := f.token(t, "https://a.example/mcp", "read")
	for name, tt := range map[string]struct {
		target, host string
		headers      []string
		status       int
	}{
		"forwarded":                         {"/forwarded", "auth", []string{"X-Forwarded-Method", "GET", "X-Forwarded-Host", "a.example", "X-Forwarded-Uri", "/mcp"}, 200},
		"forwarded without method":          {"/forwarded", "auth", []string{"X-Forwarded-Host", "a.example", "X-Forwarded-Uri", "/mcp"}, 200},
		"forwarded without host":            {"/forwarded", "a.example", []string{"X-Forwarded-Uri", "/mcp"}, 403},
		"forwarded without URI":             {"/forwarded", "a.example", []string{"X-Forwarded-Host", "a.example"}, 403},
		"forwarded with two hosts":          {"/forwarded", "auth", []string{"X-Forwarded-Host", "a.example", "X-Forwarded-Host", "a.example", "X-Forwarded-Uri", "/mcp"}, 403},
		"forwarded with two URIs":           {"/forwarded", "auth", []string{"X-Forwarded-Host", "a.example", "X-Forwarded-Uri", "/mcp", "X-Forwarded-Uri", "/mcp"}, 403},
		"forwarded with joined URIs":        {"/forwarded", "auth", []string{"X-Forwarded-Host", "a.example", "X-Forwarded-Uri", "/mcp, /mcp"}, 403},
		"forwarded with two methods":        {"/forwarded", "auth", []string{"X-Forwarded-Method", "GET", "X-Forwarded-Method", "GET", "X-Forwarded-Host", "a.example", "X-Forwarded-Uri", "/mcp"}, 403},
		"gateway-api":                       {"/gateway-api", "a.example", []string{"Path", "/mcp", "Method", "GET"}, 200},
		"gateway-api without path":          {"/gateway-api", "a.example", []string{"Method", "GET"}, 403},
		"gateway-api without method":        {"/gateway-api", "a.example", []string{"Path", "/mcp"}, 403},
		"gateway-api with two paths":        {"/gateway-api", "a.example", []string{"Path", "/mcp", "Path", "/mcp", "Method", "GET"}, 403},
		"nginx without URL":                 {"", "a.example", nil, 200},
		"nginx without URL, several":        {"", "b.example", nil, 403},
		"nginx without URL, unknown host":   {"", "auth", nil, 403},
		"nginx with two URLs":               {"", "a.example", []string{"X-Original-Url", "https://a.example/mcp", "X-Original-Url", "https://a.example/mcp"}, 403},
		"nginx with two methods":            {"", "a.example", []string{"X-Original-Url", "https://a.example/mcp", "X-Original-Method", "GET", "X-Original-Method", "GET"}, 403},
		"nginx under its own name":          {"", "auth.internal", []string{"X-Original-Url", "https://a.example/mcp"}, 200},
		"nginx, Host and URL disagree":      {"", "b.example", []string{"X-Original-Url", "https://a.example/mcp"}, 403},
		"nginx, URL without host":           {"", "a.example", []string{"X-Original-Url", "http:///mcp"}, 403},
		"nginx, URL without scheme":         {"", "a.example", []string{"X-Original-Url", "a.example/mcp"}, 403},
		"nginx, only the spoofable variant": {"", "auth", []string{"X-Original-Uri", "/mcp", "X-Forwarded-Host", "a.example"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, Path+tt.target, nil)
			r.Host = tt.host
			resp := f.ask(t, with(r, append(tt.headers, "Authorization", "Bearer "+secret)...))
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
		})
	}
}

func TestClosedSets(t *testing.T) {
	labels := map[string]bool{}
	for _, d := range Dialects() {
		if d.String() == "" || labels[d.String()] {
			t.Errorf("dialect %d has no label of its own", d)
		}
		labels[d.String()] = true
	}
	slugs := map[string]bool{}
	for _, r := range Reasons() {
		if r.String() == "" || slugs[r.String()] {
			t.Errorf("reason %d has no slug of its own", r)
		}
		slugs[r.String()] = true
		a := answers[r]
		if a.challenge != (a.strict == http.StatusUnauthorized) {
			t.Errorf("%s: a gateway of nginx's kind passes a challenge on with 401 only", r)
		}
		passing := a.code == oauth.TemporarilyUnavailable // it says so at every gateway, where that may become a 500
		if !passing && (!slices.Contains([]int{401, 403}, a.strict) || !slices.Contains([]int{400, 401, 403, 415}, a.status)) ||
			passing && (a.strict != 503 || a.status != 503 || a.challenge) {
			t.Errorf("%s: status %d, %d", r, a.status, a.strict)
		}
	}
	if len(renderings) != int(dialects)-4 { // none, the two without HTTP, and the one without a gateway
		t.Error("a dialect is missing in the shared table")
	}
}
