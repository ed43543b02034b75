package flows

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

func TestFlow(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := New(func() time.Time { return now })
	add := func(e audit.Entry) {
		e.Flow = "abc"
		l.Add(e)
		now = now.Add(time.Second)
	}
	add(audit.Entry{Event: audit.AuthorizeRequested, Step: audit.StepAuthorize, Host: "mcp.example.com"})
	add(audit.Entry{Event: audit.ConsentShown, Step: audit.StepConsentShown, Client: "c1", Name: "Claude", Resource: "https://mcp.example.com/mcp", Redirect: "claude.ai"})
	add(audit.Entry{Event: audit.LoginRefused, Reason: "wrong_password"})
	f, ok := l.Find("abc")
	if !ok || f.Step != audit.StepConsentShown || f.Reason != "wrong_password" || f.Client != "c1" || f.Redirect != "claude.ai" || len(f.Trail) != 3 {
		t.Fatalf("%v %+v", ok, f)
	}
	if f.Last.Sub(f.First) != 2*time.Second {
		t.Errorf("from %v to %v", f.First, f.Last)
	}
	add(audit.Entry{Event: audit.TokenIssued, Step: audit.StepRedeemed, Subject: "static:jane", Email: "jane@example.com", TokenID: "t1", Cause: fmt.Errorf("a cause")})
	add(audit.Entry{Event: audit.ConsentShown, Step: audit.StepConsentShown}) // the user went back
	f, _ = l.Find("abc")
	if f.Step != audit.StepRedeemed || f.Reason != "" {
		t.Errorf("a step forward is not kept, or a refusal is: %+v", f)
	}
	text, _ := json.Marshal(f)
	for _, private := range []string{"jane", "t1", "a cause"} {
		if strings.Contains(string(text), private) {
			t.Errorf("%q is in %s", private, text)
		}
	}
}

func TestBounds(t *testing.T) {
	l := New(time.Now)
	for i := range Capacity + 5 {
		l.Add(audit.Entry{Event: audit.AuthorizeRequested, Flow: fmt.Sprint("f", i)})
	}
	if _, ok := l.Find("f4"); ok || l.Len() != Capacity {
		t.Errorf("%d are held, f4: %v", l.Len(), ok)
	}
	if _, ok := l.Find("f5"); !ok {
		t.Error("f5 is forgotten too early")
	}
	if got := l.Latest(2, func(*Flow) bool { return true }); len(got) != 2 || got[0].ID != fmt.Sprint("f", Capacity+4) {
		t.Errorf("latest %+v", got)
	}
	l.Add(audit.Entry{Event: audit.TokenRefreshed, Flow: "old"})
	l.Add(audit.Entry{Event: audit.AccessDenied, Reason: "no_token"})
	if _, ok := l.Find("old"); ok || l.Len() != Capacity {
		t.Error("a refresh of an old sign-in pushes another out")
	}
	for i := range 100 {
		l.Add(audit.Entry{Event: audit.LoginRefused, Reason: "wrong_password", Flow: "long", Client: strings.Repeat("ü", 1000), TokenID: fmt.Sprint(i)})
	}
	if f, _ := l.Find("long"); len(f.Trail) != maxTrail || f.Omitted != 100-maxTrail || len(f.Client) > maxField+3 {
		t.Errorf("%d entries, %d omitted, client of %d bytes", len(f.Trail), f.Omitted, len(f.Client))
	}
}

func TestPages(t *testing.T) {
	l := New(time.Now)
	l.Add(audit.Entry{Event: audit.AuthorizeRequested, Step: audit.StepAuthorize, Flow: "aaa"})
	l.Add(audit.Entry{Event: audit.AuthorizeRefused, Reason: "unknown_client", Flow: "bbb", Client: "evil\x1b[2J", Name: "\u202eevil"})
	mux := http.NewServeMux()
	l.Register(mux)
	for _, tt := range []struct {
		name, path, accept string
		status             int
		want, not          []string
	}{
		{"list", "", "", 200, []string{`"this replica only`, `"flow":"aaa"`, `"flow":"bbb"`, `"held":2`}, nil},
		{"list as text", "", "text/plain", 200, []string{"FLOW", "aaa", "unknown_client", "2 shown of 2"}, []string{"\x1b", "\u202e"}},
		{"refused", "?refused=true", "", 200, []string{"bbb"}, []string{"aaa"}},
		{"by step", "?step=authorize", "", 200, []string{"aaa"}, []string{"bbb"}},
		{"by reason", "?reason=wrong_password", "", 200, []string{`"flows":[]`}, nil},
		{"limited", "?limit=1", "", 200, []string{"bbb"}, []string{"aaa"}},
		{"too many", "?limit=1001", "", 400, []string{"between 1 and 1000"}, nil},
		{"no number", "?limit=x", "", 400, nil, nil},
		{"one, as it is read out", "/BBB", "", 200, []string{`"reason":"unknown_client"`, `"meaning":"the client id was not issued`}, nil},
		{"one as text", "/bbb?format=text", "", 200, []string{"furthest step", "refused", "unknown_client: the client id was not"}, []string{"\x1b", "\u202e"}},
		{"another", "/ccc", "", 404, []string{"other replicas"}, nil},
		{"another as text", "/ccc?format=text", "", 404, []string{"other replicas"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", Path+tt.path, nil)
			r.Header.Set("Accept", tt.accept)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			if w.Code != tt.status || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("status %d, headers %v", w.Code, w.Header())
			}
			for _, s := range tt.want {
				if !strings.Contains(w.Body.String(), s) {
					t.Errorf("no %q in\n%s", s, w.Body)
				}
			}
			for _, s := range tt.not {
				if strings.Contains(w.Body.String(), s) {
					t.Errorf("%q in\n%s", s, w.Body)
				}
			}
		})
	}
}

// A page that is opened again says nothing of how the sign-in went.
func TestOpenedAgain(t *testing.T) {
	l := New(time.Now)
	l.Add(audit.Entry{Flow: "refused", Event: audit.LoginRefused, Reason: reasons.UserGone})
	l.Add(audit.Entry{Flow: "whole", Event: audit.TokenIssued, Step: audit.StepRedeemed})
	for id, want := range map[string]reasons.Reason{"refused": reasons.UserGone, "whole": "", "elsewhere": reasons.UsedTwice} {
		l.Add(audit.Entry{Flow: id, Event: audit.LoginRefused, Reason: reasons.UsedTwice})
		if f, _ := l.Find(id); f.Reason != want {
			t.Errorf("%s: %q, want %q", id, f.Reason, want)
		}
	}
}
