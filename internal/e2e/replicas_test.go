//go:build e2e

package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/postgres"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/redis"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// Two replicas share a real server. What is used at one is used at the other,
// and while the server is away nothing is lost and nothing is let through.
func TestReplicasShareAGuard(t *testing.T) {
	t.Run("redis", func(t *testing.T) {
		track(t)
		r := startRedis(t, "--requirepass", "secret-password")
		replicas(t, config.GuardFile{Backend: "redis", Redis: redis.Config{Addresses: []string{r.address()}, Password: conf.NewSecret("password")}},
			r.stop, r.run)
	})
	t.Run("postgres", func(t *testing.T) {
		track(t)
		p := startPostgres(t)
		replicas(t, config.GuardFile{Backend: "postgres", Postgres: postgres.Config{
			Address: "127.0.0.1:" + p.port, Database: "postgres", Username: "app", Password: conf.NewSecret("password"),
		}}, p.stop, p.run)
	})
}

func replicas(t *testing.T, section config.GuardFile, stop, start func(t *testing.T)) {
	whole := t // the server that is started again outlives the sub-test
	one := servertest.Start(t, servertest.Options{
		Edit: func(f *config.File) { f.Guard = section }, Files: map[string]string{"password": "secret-password\n"},
	})
	two := one.Replica()
	c := one.NewClient(t, servertest.Host, servertest.Metadata{"grant_types": []string{"authorization_code", "refresh_token"}})
	both := []*servertest.Client{c, c.On(two)}
	refresh := func(c *servertest.Client, token string) *servertest.Answer {
		return c.Token(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {c.ID}})
	}
	at := func(a *servertest.Attempt, c *servertest.Client) *servertest.Attempt {
		moved := *a
		moved.Client = c
		return &moved
	}
	signIn := func(t *testing.T) (access, token string) {
		t.Helper()
		a := c.Begin()
		answer := at(a, both[1]).Exchange(t, a.Code(t, one.NewBrowser())) // begun here, redeemed there
		if answer.Status != http.StatusOK {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		return answer.String("access_token"), answer.String("refresh_token")
	}
	ready := func(t *testing.T, s *servertest.Service, want string) {
		t.Helper()
		waitFor(t, want, func() bool {
			status, body := s.Management(t, "/readyz")
			return status == http.StatusOK && strings.Contains(body, `"`+want+`"`)
		})
	}

	t.Run("AS-TOK-04 a code is redeemed once, twenty at once at both", func(t *testing.T) {
		a := c.Begin()
		code := a.Code(t, one.NewBrowser())
		var mu sync.Mutex
		statuses := map[int]int{}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				answer := at(a, both[i%2]).Exchange(t, code)
				mu.Lock()
				defer mu.Unlock()
				statuses[answer.Status]++
			})
		}
		wg.Wait()
		if statuses[http.StatusOK] != 1 || statuses[http.StatusBadRequest] != 19 {
			t.Errorf("answers by status: %v", statuses)
		}
	})
	t.Run("AS-TOK-04 a code redeemed twice ends at both what came of it", func(t *testing.T) {
		a := c.Begin()
		code := a.Code(t, one.NewBrowser())
		access := a.Exchange(t, code).String("access_token")
		two.MustPass(t, servertest.Resource, access)
		if answer := at(a, both[1]).Exchange(t, code); answer.Status != http.StatusBadRequest {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
		two.MustNotPass(t, servertest.Resource, access, "invalid_token") // at once where it was seen
		waitFor(t, "the other replica to know", func() bool { return one.Ask(t, servertest.Resource, access).Status == http.StatusUnauthorized })
	})
	t.Run("AS-RT-04 the same answer from both", func(t *testing.T) {
		_, token := signIn(t)
		first, second := refresh(both[0], token), refresh(both[1], token)
		if first.Status != http.StatusOK || second.Status != http.StatusOK || first.String("refresh_token") != second.String("refresh_token") {
			t.Errorf("%d %s\n%d %s", first.Status, first.Body, second.Status, second.Body)
		}
		if third := refresh(both[1], second.String("refresh_token")); third.Status != http.StatusOK {
			t.Errorf("%d %s", third.Status, third.Body)
		}
		// Two generations old: it was stolen.
		if stale := refresh(both[0], token); stale.Status != http.StatusBadRequest {
			t.Errorf("%d %s", stale.Status, stale.Body)
		}
	})
	t.Run("AS-RT-03 the first use of an access token at one ends the grace period at the other", func(t *testing.T) {
		_, token := signIn(t)
		next := refresh(both[0], token)
		two.MustPass(t, servertest.Resource, next.String("access_token"))
		tries := 0
		waitFor(t, "the stolen token to be refused", func() bool { tries++; return refresh(both[0], token).Status == http.StatusBadRequest })
		if tries > guard.MaxRepeats/2 {
			t.Errorf("refused after %d tries, by their number", tries)
		}
		if a := refresh(both[1], next.String("refresh_token")); a.Status != http.StatusBadRequest {
			t.Errorf("the sign-in goes on: %d %s", a.Status, a.Body)
		}
	})
	t.Run("a revocation at one reaches the other within seconds", func(t *testing.T) {
		access, token := signIn(t)
		form := url.Values{"token": {token}, "client_id": {c.ID}}
		if a := one.Send(t, servertest.Request(t, http.MethodPost, servertest.Issuer(c.Host)+"/revoke", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		began := time.Now()
		waitFor(t, "the other replica to know", func() bool { return two.Ask(t, servertest.Resource, access).Status == http.StatusUnauthorized })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		three := one.Replica() // one that was not there
		ready(t, three, "ready")
		three.MustNotPass(t, servertest.Resource, access, "invalid_token")
	})
	t.Run("the server goes away and comes back", func(t *testing.T) {
		access, token := signIn(t)
		a := c.Begin()
		code := a.Code(t, one.NewBrowser())
		stop(t)
		for _, s := range []*servertest.Service{one, two} {
			ready(t, s, "degraded")
			s.MustPass(t, servertest.Resource, access)
		}
		for _, c := range both {
			for what, answer := range map[string]*servertest.Answer{"code": at(a, c).Exchange(t, code), "refresh": refresh(c, token)} {
				if answer.Status != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
					t.Errorf("%s: %d %s", what, answer.Status, answer.Body)
				}
			}
		}
		start(whole)
		for _, s := range []*servertest.Service{one, two} {
			ready(t, s, "ready")
			s.MustPass(t, servertest.Resource, access)
		}
		if answer := at(a, both[1]).Exchange(t, code); answer.Status != http.StatusOK {
			t.Errorf("the code was lost: %d %s", answer.Status, answer.Body)
		}
		if answer := at(a, both[0]).Exchange(t, code); answer.Status != http.StatusBadRequest {
			t.Errorf("the code was used twice: %d %s", answer.Status, answer.Body)
		}
		if answer := refresh(both[0], token); answer.Status != http.StatusOK {
			t.Errorf("the refresh token was lost: %d %s", answer.Status, answer.Body)
		}
	})
}
