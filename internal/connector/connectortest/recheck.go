package connectortest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// visited is a person who has signed in.
type visited struct {
	Fixture
	identity connector.Identity
	session  connector.Session
}

func (h Harness) visited(t *testing.T) visited {
	t.Helper()
	f := h.fixture(t)
	f.Provider.GiveRefreshTokens(true)
	login := NewLogin()
	id, session, err := f.Connector.Identify(t.Context(), login, Visit(t, f, login))
	if err != nil {
		t.Fatal(err)
	}
	return visited{f, id, session}
}

func (v visited) recheck(t *testing.T) (connector.Identity, connector.Session, error) {
	t.Helper()
	bare := connector.Identity{Namespace: v.identity.Namespace, Subject: v.identity.Subject}
	return v.Connector.(connector.Rechecker).Recheck(t.Context(), bare, v.session)
}

func (h Harness) recheck(t *testing.T) {
	t.Run("again and again", func(t *testing.T) {
		t.Parallel()
		v := h.visited(t)
		for range 3 {
			id, session, err := v.recheck(t)
			if err != nil || !reflect.DeepEqual(id, v.identity) {
				t.Fatalf("identity %+v, %v, want %+v", id, err, v.identity)
			}
			v.session = session
		}
	})
	t.Run("a change shows", func(t *testing.T) {
		t.Parallel()
		v := h.visited(t)
		moved := h.Alice
		moved.Email, moved.Name = "alice.married@corp.example", "Alice Married"
		v.Provider.Change(moved)
		if id, _, err := v.recheck(t); err != nil || id.Email != moved.Email || id.Name != moved.Name || id.Subject != v.identity.Subject {
			t.Errorf("identity %+v, %v", id, err)
		}
	})
	t.Run("an address that is verified no more", func(t *testing.T) {
		t.Parallel()
		v := h.visited(t)
		moved := h.Alice
		moved.EmailVerified = false
		v.Provider.Change(moved)
		if id, _, err := v.recheck(t); err != nil || id.Email != "" {
			t.Errorf("identity %+v, %v", id, err)
		}
	})
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		v := h.visited(t)
		v.Provider.Remove(h.Alice.Subject)
		v.refused(t, connector.ErrGone)
	})
	t.Run("nothing to ask with", func(t *testing.T) {
		t.Parallel()
		v := h.visited(t)
		v.session = connector.Session{}
		v.refused(t, connector.ErrSessionOver)
	})
	t.Run("somebody else", func(t *testing.T) {
		t.Parallel()
		v := h.visited(t)
		v.identity.Subject = "424242"
		if id, session, err := v.recheck(t); err == nil || !reflect.ValueOf(id).IsZero() || session != (connector.Session{}) {
			t.Errorf("got %+v, %v", id, err)
		}
	})
	t.Run("the session does not print", func(t *testing.T) {
		v := h.visited(t)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			text := fmt.Sprintf(verb, v.session) + fmt.Sprintf(verb, struct{ S connector.Session }{v.session})
			for _, secret := range []string{v.session.AccessToken, v.session.RefreshToken} {
				if secret != "" && (strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret))) {
					t.Errorf("%s shows a token", verb)
				}
			}
		}
	})
	for _, endpoint := range h.RecheckNeeds {
		t.Run("AS-RT-06 what the provider gives is told before "+string(endpoint)+" is asked", func(t *testing.T) {
			t.Parallel()
			h.exchangeHeard(t, endpoint)
		})
		t.Run("AS-RT-06 the provider goes silent at "+string(endpoint)+" and comes back", func(t *testing.T) {
			t.Parallel()
			h.interrupted(t, endpoint)
		})
		for _, breakage := range oauthtest.Breakages {
			t.Run(string(endpoint)+" "+string(breakage), func(t *testing.T) {
				t.Parallel()
				v := h.visited(t)
				v.Provider.Break(endpoint, breakage)
				within(t, func() (any, error) { v.refused(t, connector.ErrUnavailable); return nil, nil })
				h.elsewhere(t, v.Fixture)
			})
		}
	}
}

// exchangeHeard: the caller is told of an exchanged session before the provider is
// asked anything else, so a process that ends there has stored it; and continues with
// it.
func (h Harness) exchangeHeard(t *testing.T, endpoint oauthtest.Endpoint) {
	v := h.visited(t)
	v.session.Expires = min(v.session.Expires, 1) // so that an access token that may expire has
	before, answered := v.Provider.Count(oauthtest.Token), -1
	var heard connector.Session
	ctx := connector.OnExchange(t.Context(), func(s connector.Session) { heard, answered = s, v.Provider.Count(endpoint) })
	asked := v.Provider.Count(endpoint)
	v.Provider.Break(endpoint, oauthtest.Status503)
	bare := connector.Identity{Namespace: v.identity.Namespace, Subject: v.identity.Subject}
	if _, _, err := v.Connector.(connector.Rechecker).Recheck(ctx, bare, v.session); err == nil {
		t.Fatal("there is no need of the endpoint")
	}
	if endpoint == oauthtest.Token || v.Provider.Count(oauthtest.Token) == before { // nothing was exchanged
		if answered != -1 {
			t.Error("heard of an exchange that was none")
		}
		return
	}
	if answered != asked || heard.RefreshToken == "" || heard.RefreshToken == v.session.RefreshToken {
		t.Fatalf("told when %d requests had reached the endpoint; %d had before (-1: never)", answered, asked)
	}
	v.Provider.Break(endpoint, oauthtest.Works)
	v.session = heard
	if id, _, err := v.recheck(t); err != nil || !reflect.DeepEqual(id, v.identity) {
		t.Errorf("with what was heard: %+v, %v", id, err)
	}
}

// interrupted: what the provider exchanged before it failed must not be lost, because
// the provider treats a second use of a refresh token as theft.
func (h Harness) interrupted(t *testing.T, endpoint oauthtest.Endpoint) {
	v := h.visited(t)
	v.session.Expires = min(v.session.Expires, 1) // so that an access token that may expire has
	for range 2 {
		v.Provider.Break(endpoint, oauthtest.Status503)
		id, session, err := v.recheck(t)
		if !errors.Is(err, connector.ErrUnavailable) || !reflect.ValueOf(id).IsZero() {
			t.Fatalf("identity %+v, %v", id, err)
		}
		if session != (connector.Session{}) {
			v.session = session
		}
	}
	v.Provider.Break(endpoint, oauthtest.Works)
	for range 2 {
		id, session, err := v.recheck(t)
		if err != nil || !reflect.DeepEqual(id, v.identity) {
			t.Fatalf("identity %+v, %v, want %+v", id, err, v.identity)
		}
		v.session = session
	}
}

// refused re-checks and wants this error and no other kind, and nothing beside it.
func (v visited) refused(t *testing.T, want error) {
	t.Helper()
	id, session, err := v.recheck(t)
	for _, kind := range []error{connector.ErrGone, connector.ErrNotAllowed, connector.ErrSessionOver, connector.ErrUnavailable} {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("error %v, want only %v", err, want)
		}
	}
	if !reflect.ValueOf(id).IsZero() || session != (connector.Session{}) && want != connector.ErrUnavailable {
		t.Errorf("identity %+v, or a session, beside %v", id, err)
	}
	if err == nil {
		return
	}
	for _, secret := range []string{oauthtest.ClientSecret, "at-", "rt-", "\r", "\n"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error text shows %q: %v", secret, err)
		}
	}
}
