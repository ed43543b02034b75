package session

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// sessions are those of settings at *now.
func sessions(t *testing.T, s Settings, now *time.Time) *Sessions {
	t.Helper()
	clock := func() time.Time { return *now }
	ring, err := seal.NewKeyring(clock, bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	return New(ring, s, clock)
}

func newHost(t *testing.T, name, scheme string) *resource.Host {
	t.Helper()
	h, err := resource.NewHost(name, scheme)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// When a cookie is renewed, when the provider is asked, and when all ends. Times are in
// seconds from the sign-in.
func TestTimes(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	settings := Settings{Idle: 100 * time.Second, Recheck: 60 * time.Second, Lifetime: 1000 * time.Second}
	for name, tt := range map[string]struct {
		made, checked, tried int64
		renew, expires       int64
	}{
		"just signed in":         {0, 0, 0, 50, 100},
		"a new cookie":           {40, 0, 0, 60, 120},
		"asked lately":           {200, 200, 0, 250, 300},
		"not asked for long":     {110, 0, 0, 60, 120},
		"a try that failed":      {100, 100, 130, 150, 200},
		"a late try that failed": {150, 100, 130, 190, 220},
		"an older try":           {150, 140, 130, 200, 250},
		"near its end":           {990, 990, 0, 1000, 1000},
	} {
		now := start
		s := sessions(t, settings, &now)
		at := func(seconds int64) int64 { return start.Unix() + seconds }
		v := &Session{AuthTime: at(0), Made: at(tt.made), Checked: at(tt.checked)}
		if tt.tried > 0 {
			v.Tried = at(tt.tried)
		}
		if renew, expires := s.Renew(v)-at(0), s.Expires(v)-at(0); renew != tt.renew || expires != tt.expires || s.End(v) != at(1000) {
			t.Errorf("%s: renewed at %d, expires at %d, want %d and %d", name, renew, expires, tt.renew, tt.expires)
		}
		for seconds, due := range map[int64]bool{tt.checked + 59: false, tt.checked + 60: true} {
			if now = start.Add(time.Duration(seconds) * time.Second); s.Due(v) != due {
				t.Errorf("%s: due at %d: %v", name, seconds, !due)
			}
		}
	}
}

// A cookie opens at the host that it was made for, until it expires, and no longer than
// the settings of today say.
func TestOpen(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	now := start
	long := sessions(t, Settings{Idle: 100 * time.Second, Recheck: time.Hour, Lifetime: 24 * time.Hour}, &now)
	short := sessions(t, Settings{Idle: 50 * time.Second, Recheck: time.Hour, Lifetime: 24 * time.Hour}, &now)
	one, two := newHost(t, "one.example", "https"), newHost(t, "two.example", "https")
	value, err := long.Seal(Session{ID: "s", AuthTime: start.Unix(), Checked: start.Unix()}, one, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		s     *Sessions
		host  *resource.Host
		value string
		at    int
		want  error
	}{
		"its last second":         {long, one, value, 99, nil},
		"its end":                 {long, one, value, 100, seal.ErrExpired},
		"another host":            {long, two, value, 0, seal.ErrInvalid},
		"changed":                 {long, one, value[1:], 0, seal.ErrInvalid},
		"the time was shortened":  {short, one, value, 49, nil},
		"beyond the shorter time": {short, one, value, 50, seal.ErrExpired},
	} {
		now = start.Add(time.Duration(tt.at) * time.Second)
		if v, err := tt.s.Open(tt.value, tt.host); !errors.Is(err, tt.want) || (err == nil) != (v.ID == "s") || err == nil && v.Made != start.Unix() {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

// What a cookie has no room for: the provider's tokens are kept elsewhere, then the groups
// are unknown.
func TestSealLarge(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := sessions(t, Settings{Idle: time.Hour, Recheck: time.Hour, Lifetime: time.Hour}, &now)
	host := newHost(t, "one.example", "https")
	noise := func(n int) string { // that cannot be compressed much
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "%x", i*i*2654435761)
		}
		return b.String()[:n]
	}
	away := errors.New("the keeper does not answer")
	for name, tt := range map[string]struct {
		tokens, groups    int // bytes
		keeper            error
		kept, cut, failed bool
	}{
		"small":                              {100, 100, nil, false, false, false},
		"large tokens":                       {8000, 100, nil, true, false, false},
		"large tokens, and nowhere for them": {8000, 100, away, true, false, true},
		"large groups":                       {0, 12000, nil, false, true, false},
		"both":                               {8000, 12000, nil, true, true, false},
	} {
		v := Session{AuthTime: now.Unix(), Checked: now.Unix(), Identity: connector.Identity{Groups: []string{noise(tt.groups)}}, Kept: connector.Session{RefreshToken: noise(tt.tokens)}}
		kept, asked := connector.Session{}, false
		value, err := s.Seal(v, host, func(c connector.Session) error { kept, asked = c, true; return tt.keeper })
		if (err != nil) != tt.failed || asked != tt.kept || asked && kept != v.Kept || len(value) > maxCookie || tt.failed && value != "" {
			t.Errorf("%s: %d bytes, kept %d, %v", name, len(value), kept.Size(), err)
		}
		if tt.failed {
			continue
		}
		got, err := s.Open(value, host)
		if err != nil || got.Kept.IsZero() != (tt.kept || tt.tokens == 0) || got.Identity.Unknown.Groups != tt.cut || got.InGroups != tt.cut || (len(got.Identity.Groups) == 0) != tt.cut {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A session ends with whatever ends its person, its sign-in or its session at the provider.
func TestFacts(t *testing.T) {
	v := Session{ID: "s", AuthTime: 7, AtProvider: "p", Identity: connector.Identity{Namespace: "corp", Subject: "jane", Email: "jane@corp.example"}}
	want := revocation.Facts{Family: "s", Subject: "corp:jane", Email: "jane@corp.example", Client: ClientID, Since: 7, Browser: true, AtProvider: "p"}
	if got := v.Facts(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	v.Identity.Unknown.Email, want.EmailUnknown = true, true
	if got := v.Facts(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// The cookie is for its own host, over https, out of reach of scripts, and there once.
func TestCookies(t *testing.T) {
	secure, plain := newHost(t, "one.example", "https"), newHost(t, "localhost", "http")
	for _, tt := range []struct {
		set  func(http.Header)
		want string
	}{
		{func(h http.Header) { Set(h, secure, "v") }, "__Host-mcp-session=v; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{func(h http.Header) { Clear(h, secure) }, "__Host-mcp-session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		{func(h http.Header) { Set(h, plain, "v") }, "mcp-session=v; Path=/; HttpOnly; SameSite=Lax"},
	} {
		h := http.Header{}
		if tt.set(h); h.Get("Set-Cookie") != tt.want {
			t.Errorf("%q, want %q", h["Set-Cookie"], tt.want)
		}
	}
	for _, tt := range []struct {
		host    *resource.Host
		lines   []string
		value   string
		several bool
	}{
		{secure, nil, "", false},
		{secure, []string{"a=1"}, "", false},
		{secure, []string{"a=1; __Host-mcp-session=v"}, "v", false},
		{secure, []string{"mcp-session=v"}, "", false},
		{secure, []string{"__Host-mcp-session=v; __Host-mcp-session=w"}, "", true},
		{secure, []string{"__Host-mcp-session=v", "__Host-mcp-session=v"}, "", true},
		{plain, []string{"mcp-session=v"}, "v", false},
	} {
		if value, several := Presented(tt.lines, tt.host); value != tt.value || several != tt.several {
			t.Errorf("%q: %q, several: %v", tt.lines, value, several)
		}
	}
}
