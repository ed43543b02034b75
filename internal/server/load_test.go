package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// hung is a way to an identity provider that does not answer until it is told to.
type hung struct {
	begun  chan struct{}
	answer chan struct{}
}

func (h *hung) RoundTrip(r *http.Request) (*http.Response, error) {
	h.begun <- struct{}{}
	select {
	case <-h.answer:
	case <-r.Context().Done():
	}
	return nil, fmt.Errorf("no answer: %w", http.ErrHandlerTimeout)
}

// overloaded starts a service without consent page, so that /authorize waits for
// the provider, which hangs.
func overloaded(t *testing.T, limits func(*limit.Settings)) (*servertest.Service, *servertest.Client, *hung) {
	t.Helper()
	h := &hung{begun: make(chan struct{}, 1000), answer: make(chan struct{})}
	oidc := oauthtest.NewOIDCProvider(t)
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseOIDC(oidc), func(f *config.File) {
			limits(&f.Limits)
			f.Proxy.DisableConsentScreen = true
			f.Proxy.AllowedRedirectURLs = []string{`https://app\.example\.org/callback`}
		}),
		Files: servertest.ProviderFiles, HTTPClient: &http.Client{Transport: h},
	})
	return s, s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{"https://app.example.org/callback"}}), h
}

func TestOverload(t *testing.T) {
	t.Parallel()
	s, c, h := overloaded(t, func(l *limit.Settings) { l.RequestsInFlight = 8 })
	authorize := func() *http.Request {
		return servertest.Request(t, http.MethodGet, c.Begin().URL(), "")
	}
	var waiting sync.WaitGroup
	for range 6 { // three quarters
		waiting.Go(func() { s.NewBrowser().TrySend(authorize()) })
	}
	waitInFlight(t, s, 6)

	t.Run("one more sign-in gets a page with 503", func(t *testing.T) {
		p := s.NewBrowser().Send(t, authorize())
		if p.Status != 503 || p.Header.Get("Retry-After") == "" || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") || p.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%d %v", p.Status, p.Header)
		}
	})
	t.Run("a registration gets OAuth's JSON with 503", func(t *testing.T) {
		a := s.Register(t, servertest.Host, nil)
		if a.Status != 503 || a.String("error") != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" || a.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
		}
	})
	t.Run("what was begun comes to its end", func(t *testing.T) {
		if a := c.Token(t, c.Begin().TokenForm("x")); a.String("error") != "invalid_grant" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
	t.Run("documents and /authenticate are not queued", func(t *testing.T) {
		began := time.Now()
		for range 20 {
			if a := s.Ask(t, servertest.Resource, ""); a.Status != 401 {
				t.Fatalf("%d", a.Status)
			}
			if a := s.Get(t, servertest.Issuer(servertest.Host)+"/.well-known/oauth-authorization-server"); a.Status != 200 {
				t.Fatalf("%d", a.Status)
			}
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
	t.Run("whoever sends slowly takes nobody's place", func(t *testing.T) {
		for range 10 {
			conn, err := net.Dial("tcp", s.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST /token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant", servertest.Host)
		}
		time.Sleep(100 * time.Millisecond)
		if a := c.Token(t, c.Begin().TokenForm("x")); a.String("error") != "invalid_grant" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
	t.Run("the metrics say so", func(t *testing.T) {
		waitInFlight(t, s, 6) // a request is counted until after its answer is sent
		_, body := s.Management(t, "/metrics")
		for _, want := range []string{`shed_requests_total{route="/authorize"} 1`, `shed_requests_total{route="/register"} 1`, `shed_requests_total{route="/token"} 0`, `shed_requests_total{route="/introspect"} 0`, "requests_in_flight 6"} {
			if !strings.Contains(body, want) {
				t.Errorf("lacks %s", want)
			}
		}
	})
	close(h.answer)
	waiting.Wait()
	waitInFlight(t, s, 0)
	if a := s.Register(t, servertest.Host, nil); a.Status != 201 {
		t.Errorf("afterwards: %d", a.Status)
	}
}

func waitInFlight(t *testing.T, s *servertest.Service, n int) {
	t.Helper()
	for range 3000 {
		_, body := s.Management(t, "/metrics")
		lines := bufio.NewScanner(strings.NewReader(body))
		for lines.Scan() {
			if lines.Text() == fmt.Sprintf("mcp_forward_auth_requests_in_flight %d", n) {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("there never were %d requests in flight", n)
}

// A provider that does not answer is asked by few, and people are told at once.
func TestProviderInTrouble(t *testing.T) {
	t.Parallel()
	const callback = "https://app.example.org/callback"
	h := &hung{begun: make(chan struct{}, 1000), answer: make(chan struct{})}
	close(h.answer) // each request fails at once
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseGitHub(oauthtest.NewGitHub(t)), func(f *config.File) {
			f.Proxy.DisableConsentScreen = true
			f.Proxy.AllowedRedirectURLs = []string{`https://app\.example\.org/callback`}
		}),
		Files: servertest.ProviderFiles, HTTPClient: &http.Client{Transport: h},
	})
	c := s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{callback}})
	for i := range 30 {
		b := s.NewBrowser()
		to, err := url.Parse(b.Open(t, c.Begin().URL()).Location())
		if err != nil {
			t.Fatal(err)
		}
		p := b.Open(t, servertest.Issuer(servertest.Host)+"/callback?code=x&state="+to.Query().Get("state"))
		if p.Status != 303 || !strings.Contains(p.Location(), "error=temporarily_unavailable") {
			t.Fatalf("sign-in %d: %d %s", i, p.Status, p.Location())
		}
	}
	if n := len(h.begun); n != 10 {
		t.Errorf("asked %d times", n)
	}
	if _, body := s.Management(t, "/metrics"); !strings.Contains(body, "mcp_forward_auth_provider_circuits_open 1") {
		t.Error("the metric does not say so")
	}
	if !strings.Contains(s.Log.String(), "an identity provider does not answer") {
		t.Error("the log does not say so")
	}
}
