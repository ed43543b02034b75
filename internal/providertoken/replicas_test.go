package providertoken_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/guardtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// strict is a provider whose refresh tokens are good once: it takes a second use for
// theft, and then gives nothing more.
type strict struct {
	mu      sync.Mutex
	n       int
	spent   map[string]bool
	stolen  int
	between func() // runs between the use of a refresh token and the answer
	after   func() // runs after the answer, as where the provider is asked for groups
}

var jane = connector.Identity{Namespace: "idp", Subject: "jane"}

func (*strict) AuthorizationURL(context.Context, connector.Login) (string, error) { return "", nil }
func (*strict) Identify(context.Context, connector.Login, url.Values) (connector.Identity, connector.Session, error) {
	return connector.Identity{}, connector.Session{}, nil
}

func (p *strict) Recheck(ctx context.Context, _ connector.Identity, s connector.Session) (connector.Identity, connector.Session, error) {
	p.mu.Lock()
	if p.spent[s.RefreshToken] {
		p.stolen++
		p.mu.Unlock()
		return connector.Identity{}, connector.Session{}, connector.ErrGone
	}
	p.spent[s.RefreshToken] = true
	next, do, after := p.session(s.Want), p.between, p.after
	p.mu.Unlock()
	if do != nil {
		do()
	}
	connector.Exchanged(ctx, s, next)
	if after != nil {
		after()
	}
	return jane, next, nil
}

// then has do run between the use of a refresh token and the answer.
func (p *strict) then(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.between = do
}

// thenAsks has do run after the answer to the use of a refresh token.
func (p *strict) thenAsks(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after = do
}

// session is a new one, good for ten minutes.
func (p *strict) session(want connector.Wanted) connector.Session {
	p.n++
	return connector.Session{RefreshToken: fmt.Sprint("refresh-", p.n), AccessToken: fmt.Sprint("access-", p.n), Life: 600, Want: want}
}

// replicas are two that share a store, and a sign-in at the first.
type replicas struct {
	*strict
	store    *guardtest.Store
	one, two *providertoken.Held
	held     func(most int) *providertoken.Held // makes a further one, with room for so many sessions
	res      *resource.Resource
	ended    []reasons.Reason
}

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	r := &replicas{strict: &strict{spent: map[string]bool{}}, store: new(guardtest.Store)}
	at, _ := url.Parse("http://mcp.internal/mcp")
	table, err := resource.NewTable([]resource.Entry{{Host: "mcp.example.com", Scheme: "https", Path: "/mcp", Endpoint: at, ProviderToken: &resource.ProviderToken{
		Token: "access", Held: true, Header: header, HandleHeader: handleHeader, MaxBytes: 3800,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	r.res = table.All()[0]
	r.held = func(most int) *providertoken.Held {
		keys, err := seal.NewKeyring(time.Now, []byte("a secret that both replicas have"))
		if err != nil {
			t.Fatal(err)
		}
		return providertoken.New(keys, most, &providertoken.Held{
			Guard: &guard.Shared{Store: r.store, Now: time.Now}, Providers: provider.Set{provider.New(connector.Config{}, r.strict, nil)}, Resources: table,
			Policy: policy.New(table.All(), nil, nil), Ended: revocation.New(100, time.Now), Now: time.Now, Logger: slog.New(slog.DiscardHandler),
			End: func(_ string, _ time.Time, _ string, why reasons.Reason, _ error) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.ended = append(r.ended, why)
			},
		})
	}
	r.one, r.two = r.held(100), r.held(100)
	s := r.session(connector.WantAccess)
	sign := providertoken.SignIn{Family: "family", Resource: r.res.URI, Until: time.Now().Add(24 * time.Hour)}
	token := providertoken.Token{Value: "access-1", Expires: time.Now().Add(10 * time.Minute).Unix()}
	if err := r.one.Begin(t.Context(), sign, jane, "", s, token); err != nil {
		t.Fatal(err)
	}
	return r
}

// wait is what a request at a replica gets: the token, or an error.
func (r *replicas) wait(t *testing.T, h *providertoken.Held) (string, error) {
	t.Helper()
	v, err := h.Wait(t.Context(), r.res, "family")
	return string(v.Token), err
}

// must is wait until there is this token.
func (r *replicas) must(t *testing.T, h *providertoken.Held, want string) {
	t.Helper()
	for range 100 {
		if got, err := r.wait(t, h); err == nil {
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			return
		}
		time.Sleep(time.Second)
	}
	t.Errorf("never a token; want %q", want)
}

// Trap: the guard is lost between the provider's answer and the write. What the provider
// gave is written down when the guard is back, and the other replica gets it too.
func TestGuardLostInBetween(t *testing.T) {
	for _, away := range []time.Duration{time.Second, 30 * time.Second, 100 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReplicas(t)
				r.then(func() {
					r.store.SetDown(true)
					time.AfterFunc(away, func() { r.store.SetDown(false) })
				})
				time.Sleep(11 * time.Minute)
				_, _ = r.wait(t, r.one)
				r.then(nil)
				r.must(t, r.one, "access-2")
				time.Sleep(away)
				r.must(t, r.two, "access-2")
				if r.stolen != 0 || len(r.ended) != 0 {
					t.Errorf("%d refresh tokens were used twice, %v", r.stolen, r.ended)
				}
			})
		})
	}
}

// Trap: a replica dies between the provider's answer and the write. The other one waits
// for the lease to run out, and the person signs in again: no dead token goes out, and
// nothing is said of the person.
func TestReplicaDiesInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t)
		dead := make(chan struct{})
		r.then(func() { <-dead })
		time.Sleep(11 * time.Minute)
		if _, err := r.wait(t, r.one); !errors.Is(err, providertoken.ErrCannotTell) {
			t.Errorf("the replica that dies: %v", err)
		}
		r.then(nil)
		if _, err := r.wait(t, r.two); !errors.Is(err, providertoken.ErrCannotTell) {
			t.Errorf("while the other has the lease: %v", err)
		}
		time.Sleep(time.Minute)
		if got, err := r.wait(t, r.two); !errors.Is(err, providertoken.ErrOver) {
			t.Errorf("then: %q %v", got, err)
		}
		if len(r.ended) != 1 || r.ended[0] != reasons.ProviderSessionOver {
			t.Errorf("ended for %v", r.ended)
		}
		close(dead)
		synctest.Wait()
	})
}

// Trap: a replica dies when the provider has answered and is asked for more, such as the
// person's groups. The session is written down by then: the other replica goes on with it,
// and no one signs in again.
func TestReplicaDiesAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t)
		dead := make(chan struct{})
		r.thenAsks(func() { <-dead })
		time.Sleep(11 * time.Minute)
		if _, err := r.wait(t, r.one); !errors.Is(err, providertoken.ErrCannotTell) {
			t.Errorf("the replica that dies: %v", err)
		}
		r.thenAsks(nil)
		r.must(t, r.two, "access-3")
		if r.stolen != 0 || len(r.ended) != 0 {
			t.Errorf("%d refresh tokens were used twice, %v", r.stolen, r.ended)
		}
		close(dead)
		synctest.Wait()
		if got, err := r.wait(t, r.two); got != "access-3" || err != nil {
			t.Errorf("after the first has come back: %q, want %q: %v", got, "access-3", err)
		}
	})
}

// Trap: a replica is told to end (SIGTERM) while it asks the provider. It waits for the
// answer and writes it down, and the other replica has it.
func TestReplicaEndsInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t)
		r.then(func() { time.Sleep(8 * time.Second) })
		time.Sleep(11 * time.Minute)
		if _, err := r.wait(t, r.one); !errors.Is(err, providertoken.ErrCannotTell) {
			t.Errorf("the provider takes long: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r.one.Close(ctx)
		if got, err := r.wait(t, r.two); got != "access-2" || err != nil {
			t.Errorf("when the first has ended: %q, want %q: %v", got, "access-2", err)
		}
		if r.stolen != 0 || len(r.ended) != 0 || r.n != 2 {
			t.Errorf("%d refresh tokens were used twice, %v, %d sessions", r.stolen, r.ended, r.n)
		}
	})
}

// Trap: the sign-in is revoked while the provider is asked. What it gives goes nowhere.
func TestRevokedInBetween(t *testing.T) {
	for at := range 2 {
		t.Run(fmt.Sprintf("at replica %d", at+1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReplicas(t)
				both := []*providertoken.Held{r.one, r.two}
				r.then(func() {
					both[at].Drop("family")
					time.Sleep(time.Second)
				})
				time.Sleep(11 * time.Minute)
				_, _ = r.wait(t, r.one)
				time.Sleep(time.Minute)
				for i, h := range both {
					if got, err := r.wait(t, h); !errors.Is(err, providertoken.ErrOver) {
						t.Errorf("replica %d: %q %v", i+1, got, err)
					}
				}
			})
		})
	}
}

// Trap: two replicas at once, a hundred requests each. One of them asks.
func TestReplicasRenewOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t)
		r.then(func() { time.Sleep(300 * time.Millisecond) })
		for generation := 2; generation < 6; generation++ {
			time.Sleep(11 * time.Minute)
			var all sync.WaitGroup
			for i := range 200 {
				h := []*providertoken.Held{r.one, r.two}[i%2]
				all.Go(func() {
					if got, err := r.wait(t, h); err != nil || got != fmt.Sprint("access-", generation) {
						t.Errorf("%q %v", got, err)
					}
				})
			}
			all.Wait()
		}
		if r.n != 5 || r.stolen != 0 {
			t.Errorf("%d sessions for four renewals, %d used twice", r.n-1, r.stolen)
		}
	})
}

// The memory of a replica is bounded. It used to be read again after the wait for what a
// caller needs: a session that was forgotten in between was a crash at a client's refresh,
// and told an MCP server for good that the session is over.
func TestForgottenInBetween(t *testing.T) {
	for name, ask := range map[string]func(*providertoken.Held, string) error{
		"Person": func(h *providertoken.Held, _ string) error {
			id, err := h.Person(t.Context(), "family")
			if err == nil && id.Subject != jane.Subject {
				t.Errorf("Person: got %v, want %v", id.Subject, jane.Subject)
			}
			return err
		},
		"Supply": func(h *providertoken.Held, uri string) error {
			token, id, err := h.Supply(t.Context(), "family", uri)
			if err == nil && (token.Value != "access-1" || id.Subject != jane.Subject) {
				t.Errorf("Supply: got %q of %v, want access-1 of %v", token.Value, id.Subject, jane.Subject)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplicas(t)
			h := r.held(1)
			forget := false // at the next look at the clock, which comes after the session was found
			h.Now = func() time.Time {
				if forget {
					forget = false
					other := providertoken.SignIn{Family: "other", Resource: r.res.URI, Until: time.Now().Add(24 * time.Hour)}
					if err := h.Begin(t.Context(), other, jane, "", connector.Session{}, providertoken.Token{Value: "other"}); err != nil {
						t.Fatal(err)
					}
				}
				return time.Now()
			}
			if _, err := h.Wait(t.Context(), r.res, "family"); err != nil {
				t.Fatal("the session cannot be read from the guard:", err)
			}
			forget = true
			if err := ask(h, r.res.URI); err != nil {
				t.Errorf("a session that is good and that this replica forgot: %v", err)
			}
			if forget {
				t.Error("the clock was not looked at, so nothing was forgotten")
			}
		})
	}
}
