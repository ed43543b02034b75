package authorize

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// A cookie is for its own host, over https, out of reach of scripts, and is set once.
func TestSetCookie(t *testing.T) {
	_, host := testSteps(t)
	local, err := resource.NewHost("localhost:8080", "http")
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	w.Header().Add("Set-Cookie", "__Host-ab=other; Path=/")
	for _, tt := range []struct {
		host  *resource.Host
		value string
		age   time.Duration
		want  []string // beside the other
	}{
		{host, "one", 0, []string{"__Host-a=one; Path=/; HttpOnly; Secure; SameSite=Lax"}},
		{host, "two", 90 * time.Second, []string{"__Host-a=two; Path=/; Max-Age=90; HttpOnly; Secure; SameSite=Lax"}},
		{host, "", -1, []string{"__Host-a=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"}},
		{local, "three", 0, []string{"__Host-a=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax", "a=three; Path=/; HttpOnly; SameSite=Lax"}},
	} {
		setCookie(w, tt.host, "a", tt.value, tt.age)
		if got := w.Header()["Set-Cookie"]; !slices.Equal(got, append([]string{"__Host-ab=other; Path=/"}, tt.want...)) {
			t.Errorf("%s: %q", tt.value, got)
		}
	}
	alone := httptest.NewRecorder()
	setCookie(alone, host, "a", "one", 0)
	setCookie(alone, host, "a", "two", 0)
	if got := alone.Header()["Set-Cookie"]; len(got) != 1 || !strings.HasPrefix(got[0], "__Host-a=two;") {
		t.Errorf("%q", got)
	}
}

// A browser keeps the name that it has, gets one where it has none that could be ours, and
// two are none: another host of the site may have set one.
func TestBrowser(t *testing.T) {
	steps, host := testSteps(t)
	ours := strings.Repeat("A", 26)
	for name, tt := range map[string]struct {
		cookie string
		keeps  bool
		err    error
	}{
		"none":                   {"", false, nil},
		"its own":                {"__Host-mcp-browser=" + ours, true, nil},
		"too short":              {"__Host-mcp-browser=" + ours[1:], false, nil},
		"too long":               {"__Host-mcp-browser=" + ours + "A", false, nil},
		"that of no secure host": {"mcp-browser=" + ours, false, nil},
		"two":                    {"__Host-mcp-browser=" + ours + "; __Host-mcp-browser=" + ours, false, errCookies},
	} {
		r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
		r.Header.Set("Cookie", tt.cookie)
		got, err := steps.browser(w, r, host)
		if !errors.Is(err, tt.err) || (got == ours) != tt.keeps || err == nil && len(got) != 26 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if set := w.Header().Get("Set-Cookie"); (set != "") != (!tt.keeps && tt.err == nil) || set != "" && !strings.HasPrefix(set, "__Host-mcp-browser="+got+"; Path=/; HttpOnly") {
			t.Errorf("%s: sets %q", name, set)
		}
	}
}

// A consent page is good for its browser, at its host, for half an hour, and each is
// another one.
func TestPending(t *testing.T) {
	_, host := testSteps(t)
	other, err := resource.NewHost("other.example.com", "https")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1_800_000_000, 0)
	now := start
	clock := func() time.Time { return now }
	keys, err := seal.NewKeyring(clock, []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	steps := NewSteps(keys, clock)
	sealed, err := steps.sealPending(host, "browser", pending{Flow: "f"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := steps.sealPending(host, "browser", pending{Flow: "f"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := steps.openPending(host, "browser", again)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		host    *resource.Host
		browser string
		late    time.Duration
		want    error
	}{
		"at once":         {host, "browser", 0, nil},
		"its last second": {host, "browser", consentTTL - time.Second, nil},
		"too late":        {host, "browser", consentTTL, seal.ErrExpired},
		"another browser": {host, "other", 0, seal.ErrInvalid},
		"no browser":      {host, "", 0, seal.ErrInvalid},
		"another host":    {other, "browser", 0, seal.ErrInvalid},
	} {
		now = start.Add(tt.late)
		p, err := steps.openPending(tt.host, tt.browser, sealed)
		if !errors.Is(err, tt.want) || err == nil && (p.Flow != "f" || p.ID == "" || p.ID == second.ID) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// keeping is a guard whose store gives every session what it keeps for one.
type keeping struct {
	guard.Guard
	sealed string
}

func (g keeping) Kept(context.Context, string) (string, error) { return g.sealed, nil }

// What one host gave a browser or a client counts for nothing at another host, and a
// session with the provider is of one browser session, whatever the guard's store does.
func TestWhatIsSealedIsForOneHost(t *testing.T) {
	steps, host := testSteps(t)
	other, err := resource.NewHost("other.example.com", "https")
	if err != nil {
		t.Fatal(err)
	}
	known, remembered := httptest.NewRecorder(), httptest.NewRecorder()
	steps.makeKnown(known, host, "jane")
	steps.remember(remembered, browserOf(), host, granting{loginState: loginState{pending: pending{ClientKey: "app"}}}, 4000)
	ends := time.Now().Add(time.Minute)
	pushed, err := steps.pushed.Seal(pushedRequest{ClientID: "app"}, ends, host.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*resource.Host{host, other} {
		own := h == host
		if id := steps.knownAs(browserOf(known), h, "jane"); (id != "") != own {
			t.Errorf("%s knows the browser: %t", h.Name, id != "")
		}
		if list := steps.grants(browserOf(remembered), h); (len(list) == 1) != own {
			t.Errorf("%s remembers %v", h.Name, list)
		}
		e := &Endpoint{Steps: steps, Pushed: true}
		params := oauth.NewParams(url.Values{"client_id": {"app"}, "request_uri": {pushedPrefix + pushed}}, "resource")
		if err := e.openPushed(nil, &request{host: h, params: params}); (err == nil) != own {
			t.Errorf("the request that was pushed at %s, at %s: %v", host.Name, h.Name, err)
		}
	}
	e := &Endpoint{Steps: steps}
	sealed, err := e.sealKept("one", connector.Session{RefreshToken: "secret"}, ends.Unix())
	if err != nil {
		t.Fatal(err)
	}
	e.Guard = keeping{sealed: sealed}
	for id, want := range map[string]error{"one": nil, "two": connector.ErrSessionOver} {
		v := session.Session{ID: id}
		if err := e.fetchKept(t.Context(), &v); !errors.Is(err, want) || (v.Kept.RefreshToken == "secret") != (want == nil) {
			t.Errorf("session %s: %v, %v", id, v.Kept, err)
		}
	}
}
