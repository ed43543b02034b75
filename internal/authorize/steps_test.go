package authorize

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

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
