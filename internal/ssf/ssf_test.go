package ssf_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
)

const (
	audience  = "https://mcp.example.com"
	pushToken = "0123456789abcdef0123456789abcdef"
	revoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	disabled  = "https://schemas.openid.net/secevent/risc/event-type/account-disabled"
	changed   = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
)

// fixture is a service with one stream of the transmitter as.
type fixture struct {
	*servertest.Service
	as *oauthtest.Issuer
}

func start(t *testing.T, edit func(*ssf.StreamFile)) fixture {
	t.Helper()
	as := oauthtest.NewIssuer(t)
	s := servertest.Start(t, servertest.Options{
		Files: map[string]string{"push-token": pushToken + "\n", "poll-token": "the-token-for-polling"},
		Edit: func(f *config.File) {
			stream := ssf.StreamFile{ID: "corp", Issuer: as.URL, Audience: audience, Subjects: []string{"iss_sub", "email", "opaque"}, Push: ssf.PushFile{Token: conf.NewSecret("push-token")}}
			conf.SetDefaults(&stream)
			if edit != nil {
				edit(&stream)
			}
			f.SecurityEvents.Streams = []ssf.StreamFile{stream}
		},
	})
	return fixture{s, as}
}

var typ = map[string]any{"typ": "secevent+jwt"}

// claims are those of a good event about jane.
func (f fixture) claims(jti string, change map[string]any) map[string]any {
	c := map[string]any{
		"iss": f.as.URL, "aud": audience, "jti": jti, "iat": f.Clock.Now().Unix(),
		"sub_id": map[string]any{"format": "iss_sub", "iss": f.as.URL, "sub": "jane"},
		"events": map[string]any{revoked: map[string]any{"event_timestamp": f.Clock.Now().Unix(), "reason_admin": map[string]any{"en": "left"}}},
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (f fixture) push(t *testing.T, set string, header ...string) *servertest.Answer {
	t.Helper()
	if header == nil {
		header = []string{"Authorization", "Bearer " + pushToken, "Content-Type", "application/secevent+jwt"}
	}
	return f.Send(t, servertest.Request(t, http.MethodPost, servertest.Issuer(servertest.Host)+ssf.Path+"/corp", set, header...))
}

func TestEventEndsWhatAPersonHas(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := f.NewClient(t, servertest.Host, servertest.Metadata{"grant_types": []string{"authorization_code", "refresh_token"}})
	for i, change := range []map[string]any{
		nil,
		{"events": map[string]any{disabled: map[string]any{}}},
		{"events": map[string]any{changed: map[string]any{"credential_type": "password", "change_type": "revoke"}}},
		{"sub_id": map[string]any{"format": "email", "email": "JANE@example.com"}},
		{"sub_id": map[string]any{"format": "opaque", "id": "jane"}},
		{"sub_id": map[string]any{"format": "complex", "user": map[string]any{"format": "iss_sub", "iss": f.as.URL, "sub": "jane"}, "session": map[string]any{"format": "opaque", "id": "x"}}},
		{"sub_id": nil, "events": map[string]any{revoked: map[string]any{"subject": map[string]any{"subject_type": "iss-sub", "iss": f.as.URL, "sub": "jane"}}}},
	} {
		k := servertest.SignIn(t, c)
		f.MustPass(t, servertest.Resource, k.Access)
		f.Clock.Advance(2 * time.Second)
		if a := f.push(t, f.as.Token(f.claims("event "+string(rune('a'+i)), change), typ)); a.Status != http.StatusAccepted || a.Body != "" {
			t.Fatalf("event %d: %d %s", i, a.Status, a.Body)
		}
		f.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
		k.Refused(t, 400, "invalid_grant", "person_ended")
		if e := f.Log.Last(audit.SecurityEvent); e["reason"] != "ended_by_provider" || e["client_name"] != "corp" {
			t.Errorf("event %d: audit %v", i, e)
		}
		f.Clock.Advance(10 * time.Second)
	}
	// A sign-in after the event is not affected, nor is one by the same event again.
	late := f.as.Token(f.claims("again", nil), typ)
	f.push(t, late)
	f.Clock.Advance(10 * time.Second)
	k := servertest.SignIn(t, c)
	if a := f.push(t, late); a.Status != http.StatusAccepted {
		t.Errorf("the same event again: %d", a.Status)
	}
	f.MustPass(t, servertest.Resource, k.Again(t).Access)
	if e := f.Log.Last(audit.SecurityEvent); e["reason"] != "used_twice" {
		t.Errorf("audit: %v", e)
	}
}

// Events that are not for this service, or about no one that it knows, end nothing.
func TestWrongEvents(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	other := oauthtest.NewIssuer(t)
	token := f.NewClient(t, servertest.Host, nil).AccessToken(t, f.NewBrowser())
	f.Clock.Advance(10 * time.Second)
	good := func(change map[string]any) string { return f.as.Token(f.claims("wrong", change), typ) }
	for name, tt := range map[string]struct {
		set  string
		code string // "" for one that is taken, and has no effect
	}{
		"another issuer":         {good(map[string]any{"iss": other.URL}), "invalid_issuer"},
		"another audience":       {good(map[string]any{"aud": "https://other.example.com"}), "invalid_audience"},
		"no audience":            {good(map[string]any{"aud": nil}), "invalid_audience"},
		"another key":            {other.Token(f.claims("wrong", nil), typ), "invalid_key"},
		"an access token":        {f.as.Token(f.claims("wrong", nil), map[string]any{"typ": "at+jwt"}), "invalid_request"},
		"an ID token":            {f.as.Token(f.claims("wrong", nil), map[string]any{"typ": "JWT"}), "invalid_request"},
		"a logout token":         {f.as.Token(f.claims("wrong", nil), map[string]any{"typ": "logout+jwt"}), "invalid_request"},
		"no type":                {f.as.Token(f.claims("wrong", nil), nil), "invalid_request"},
		"from the future":        {good(map[string]any{"iat": f.Clock.Now().Add(time.Hour).Unix()}), "invalid_request"},
		"no time":                {good(map[string]any{"iat": nil}), "invalid_request"},
		"no id":                  {good(map[string]any{"jti": nil}), "invalid_request"},
		"no events":              {good(map[string]any{"events": nil}), "invalid_request"},
		"no JWT":                 {"x.y.z", "invalid_request"},
		"empty":                  {"", "invalid_request"},
		"another person":         {good(map[string]any{"sub_id": map[string]any{"format": "iss_sub", "iss": f.as.URL, "sub": "joe"}}), ""},
		"another subject issuer": {good(map[string]any{"sub_id": map[string]any{"format": "iss_sub", "iss": other.URL, "sub": "jane"}}), ""},
		"a format of none":       {good(map[string]any{"sub_id": map[string]any{"format": "phone_number", "phone_number": "+1"}}), ""},
		"an empty subject":       {good(map[string]any{"sub_id": map[string]any{"format": "opaque", "id": ""}}), ""},
		"an event of no effect":  {good(map[string]any{"events": map[string]any{"https://schemas.openid.net/secevent/ssf/event-type/verification": map[string]any{"state": "x"}}}), ""},
	} {
		a := f.push(t, tt.set)
		if tt.code == "" && a.Status != http.StatusAccepted || tt.code != "" && (a.Status != http.StatusBadRequest || a.String("err") != tt.code) {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	for name, header := range map[string][]string{
		"no token": {"Content-Type", "application/secevent+jwt"}, "another": {"Authorization", "Bearer " + strings.Repeat("x", 32), "Content-Type", "application/secevent+jwt"},
	} {
		if a := f.push(t, good(nil), header...); a.Status != http.StatusUnauthorized || a.String("err") != "authentication_failed" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	if a := f.push(t, good(nil), "Authorization", "Bearer "+pushToken, "Content-Type", "application/jwt"); a.Status != http.StatusBadRequest {
		t.Errorf("another media type: %d", a.Status)
	}
	f.MustPass(t, servertest.Resource, token)
}

// A stream takes only the ways to name a person that its configuration lists.
func TestSubjectFormats(t *testing.T) {
	t.Parallel()
	f := start(t, func(s *ssf.StreamFile) { s.Subjects = nil })
	token := f.NewClient(t, servertest.Host, nil).AccessToken(t, f.NewBrowser())
	f.Clock.Advance(10 * time.Second)
	for _, subject := range []map[string]any{{"format": "email", "email": servertest.Email}, {"format": "opaque", "id": "jane"}} {
		if a := f.push(t, f.as.Token(f.claims("x", map[string]any{"sub_id": subject}), typ)); a.Status != http.StatusAccepted {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	f.MustPass(t, servertest.Resource, token)
	if e := f.Log.Last(audit.SecurityEvent); e["reason"] != "event_without_effect" {
		t.Errorf("audit: %v", e)
	}
}

// A transmitter that is polled: events end what a person has within two seconds, and
// are acknowledged, and those that are wrong are reported.
func TestPoll(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	pending := map[string]string{}
	var acks, errs []string
	poll := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer the-token-for-polling" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var q struct {
			Ack     []string                  `json:"ack"`
			SetErrs map[string]map[string]any `json:"setErrs"`
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &q)
		acks = append(acks, q.Ack...)
		for _, id := range q.Ack {
			delete(pending, id)
		}
		for id, e := range q.SetErrs {
			errs = append(errs, e["err"].(string))
			delete(pending, id)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"sets": pending})
	}))
	t.Cleanup(poll.Close)
	f := start(t, func(s *ssf.StreamFile) {
		s.Poll.Endpoint, s.Poll.Token, s.Poll.Interval, s.Push.Token = poll.URL, conf.NewSecret("poll-token"), time.Second, conf.Secret{}
	})
	token := f.NewClient(t, servertest.Host, nil).AccessToken(t, f.NewBrowser())
	f.MustPass(t, servertest.Resource, token)
	f.Clock.Advance(10 * time.Second)
	began := time.Now()
	mu.Lock()
	pending["good"] = f.as.Token(f.claims("good", nil), typ)
	pending["bad"] = f.as.Token(f.claims("bad", map[string]any{"aud": "x"}), typ)
	mu.Unlock()
	for f.Ask(t, servertest.Resource, token).Status == http.StatusOK {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the event has no effect")
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("from event to denied call: %v", time.Since(began).Round(time.Millisecond))
	for {
		mu.Lock()
		done := len(pending) == 0
		mu.Unlock()
		if done {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal("the events are not acknowledged")
		}
		time.Sleep(20 * time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(acks) != 1 || acks[0] != "good" || len(errs) != 1 || errs[0] != "invalid_audience" {
		t.Errorf("acknowledged %v, reported %v", acks, errs)
	}
	if a := f.push(t, "x"); a.Status != http.StatusNotFound {
		t.Errorf("a push to a stream that is polled: %d", a.Status)
	}
}
