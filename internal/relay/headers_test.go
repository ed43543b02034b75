package relay

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

var identity = []string{"X-Auth-Request-User", "X-Corp-Person"}

func TestStripped(t *testing.T) {
	s := stripping(&resource.Serving{RequestHeaders: []string{"X-Api-Key", "X-Corp-Person"}}, []string{"X-Auth-Request-User", "x-corp-person"}, "")
	for name, want := range map[string]bool{
		"Accept": true, "Content-Type": true, "Mcp-Method": true, "Mcp-Session-Id": true, "Last-Event-Id": true, "Traceparent": true, "X-Tenant": true, "X-Api-Key": true,
		"Authorization": false, "Cookie": false, "Dpop": false, "Forwarded": false, "X-Forwarded-User": false, "X-Forwarded-Access-Token": false, "X-Corp-Person": false,
		"X_Corp_Person": false, "x_corp-person": false, "X-Corp_Person": false, "X.Corp.Person": false, "Remote-User": false, "X-Auth-Request-Groups": false,
		"Proxy": false, "Origin": false, "X-Envoy-Original-Path": false, "Content_length": false, "X-Http-Method-Override": false, "": false, "Na\u00efve": false,
	} {
		if s.toServer(name) != want {
			t.Errorf("%q reaches the server: %v", name, !want)
		}
	}
	for name, want := range map[string]bool{
		"Content-Type": true, "Mcp-Session-Id": true, "Cache-Control": true, "X-Tenant": true,
		"Set-Cookie": false, "Www-Authenticate": false, "Dpop-Nonce": false, "Location": false, "Clear-Site-Data": false, "X-Corp-Person": false, "X-Auth-Request-User": false,
		"Access-Control-Allow-Origin": false, "X-Accel-Redirect": false,
	} {
		h := http.Header{name: {"x"}}
		if s.answer(h); (len(h) == 1) != want {
			t.Errorf("%q reaches the client: %v", name, !want)
		}
	}
	cookies := stripping(&resource.Serving{Cookies: true}, nil, "")
	h := http.Header{"Set-Cookie": {"a=1"}, "Set-Cookie2": {"b=2"}}
	if cookies.answer(h); len(h) != 1 || h["Set-Cookie"] == nil {
		t.Errorf("%v reaches the client of a server with cookies", h)
	}
}

// A client cannot declare that what is for the server is for this hop alone.
func TestRelied(t *testing.T) {
	s := stripping(&resource.Serving{}, identity, "")
	for line, want := range map[string]string{
		"keep-alive, x-tenant": "", "AUTHORIZATION": "Authorization", "close,\tmcp-session-id ,x": "Mcp-Session-Id", "x-forwarded-for": "X-Forwarded-For", "X-Corp-Person": "X-Corp-Person",
		"dpop": "Dpop", "": "",
	} {
		got := slices.DeleteFunc(connectionNames([]string{"x-other", line}), func(name string) bool { return !s.relied(name) })
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q", line, got)
		}
	}
}

// The header that API keys come in reaches no server, whatever else is passed on.
func TestKeyHeaderIsStripped(t *testing.T) {
	s := stripping(&resource.Serving{RequestHeaders: []string{"X-Corp-Key"}}, identity, "X-Corp-Key")
	if s.toServer("X-Corp-Key") || !s.relied("X-Corp-Key") || s.relied("X-Tenant") {
		t.Error("the key reaches the server, or can be declared to be for this hop alone")
	}
}

// No header of the list reaches a server in any spelling that a server could take for it.
func FuzzStripped(f *testing.F) {
	for _, name := range append(append([]string{"X-Tenant"}, keptFromServer...), identity...) {
		f.Add(name, "X-Other")
	}
	s := stripping(&resource.Serving{}, identity, "")
	known := map[string]bool{}
	for name := range s.fromServer {
		known[flat(name)] = true
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		h := http.Header{}
		for _, name := range []string{a, b, strings.ReplaceAll(a, "-", "_"), strings.ToUpper(b)} {
			h[http.CanonicalHeaderKey(name)] = []string{"x"}
		}
		s.request(h)
		for name := range h {
			if known[flat(name)] {
				t.Errorf("%q reaches the server", name)
			}
			for _, prefix := range keptFromServerBelow {
				if strings.HasPrefix(flat(name), flat(prefix)) {
					t.Errorf("%q reaches the server", name)
				}
			}
		}
	})
}

// flat is what is left of a name where a server makes a variable of it.
func flat(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, strings.ToLower(name))
}

// A server that is configured to get cookies gets none of this service.
func TestOwnCookiesStay(t *testing.T) {
	h := http.Header{"Cookie": {"a=1; __Host-mcp-session=sealed; mcp-login-x=2", "b=3; __Host-mcp-granted=x"}}
	withoutOwnCookies(h)
	if got := h["Cookie"]; len(got) != 1 || got[0] != "a=1; b=3" {
		t.Errorf("%q", got)
	}
	h = http.Header{"Cookie": {"__Host-mcp-session=sealed"}}
	if withoutOwnCookies(h); h["Cookie"] != nil {
		t.Errorf("%q", h["Cookie"])
	}
}
