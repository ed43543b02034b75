//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"
)

// People sign in and call tools without a pause while replicas are killed, the
// guard's back end is stopped, the identity provider hangs and keys rotate. What
// docs/replicas.md promises must hold: no request with a valid token fails, no
// sign-in is lost, and with a shared guard no code is good twice.
//
// E2E_CHAOS is how long all three parts take together (39s); `make chaos T=10m`.
func TestChaos(t *testing.T) {
	whole, err := chaosFor()
	if err != nil {
		t.Fatalf("E2E_CHAOS: %v", err)
	}
	var names []string
	var counts []tally
	part := func(t *testing.T, guard map[string]any, stop, start func(t *testing.T)) {
		track(t)
		s := newStorm(t, guard)
		s.rage(whole/3, stop, start)
		names, counts = append(names, t.Name()[len("TestChaos/"):]), append(counts, s.count)
		s.judge()
	}
	t.Run("redis", func(t *testing.T) {
		r := startRedis(t, "--requirepass", "secret-password", "--appendfsync", "always")
		part(t, map[string]any{"backend": "redis", "redis": map[string]any{"addresses": []string{r.address()}, "passwordFile": "password"}}, r.stop, r.run)
	})
	t.Run("postgres", func(t *testing.T) {
		p := startPostgres(t)
		part(t, map[string]any{"backend": "postgres", "postgres": map[string]any{
			"address": "127.0.0.1:" + p.port, "database": "postgres", "username": "app", "passwordFile": "password",
		}}, p.stop, p.run)
	})
	t.Run("no guard", func(t *testing.T) { part(t, nil, nil, nil) })
	ledger.mu.Lock()
	ledger.chaos = chaosTable(names, counts)
	ledger.mu.Unlock()
	t.Logf("\n%s", chaosTable(names, counts))
}

// judge says whether what happened may happen.
func (s *storm) judge() {
	t, c := s.t, s.count
	for i, p := range s.problems {
		if t.Error(p); i == 20 {
			t.Errorf("and %d more", len(s.problems)-i-1)
			break
		}
	}
	if c.failed > 0 || c.lost > 0 || c.missing > 0 {
		t.Errorf("%d calls failed, %d sign-ins were lost, %d keys were missed", c.failed, c.lost, c.missing)
	}
	if s.shared && c.redeemedTwice > 0 {
		t.Errorf("%d codes were redeemed twice", c.redeemedTwice)
	}
	// What did not happen proves nothing.
	if c.logins < 30 || c.calls < 500 || c.sdkCalls < 50 || c.kills < 3 || c.hangs < 1 || c.rotations < 1 || c.codesTwice < 20 || s.shared && c.outages < 1 {
		t.Errorf("too little happened: %+v", c)
	}
}

// rage lets everything happen at once, for so long and a little more: what
// began is brought to its end.
func (s *storm) rage(d time.Duration, stopGuard, startGuard func(t *testing.T)) {
	binary, _ := buildShortKeys()
	callsEnd := make(chan struct{})
	var users, callers sync.WaitGroup
	callers.Go(func() { s.watchKeys(callsEnd) })
	for range 5 {
		users.Go(s.signInAgainAndAgain)
	}
	for range 3 {
		callers.Go(func() { s.callAgainAndAgain(callsEnd) })
	}
	users.Go(s.useGoSDK)
	users.Go(s.useTypeScript)

	end := time.Now().Add(d)
	// Each turn is some five seconds; the guard goes while everything else is
	// well, and while a replica starts. Keys change every 15 s.
	for turn := 0; turn < 3 || time.Now().Before(end) || s.rotations() == 0 && turn < 10; turn++ {
		s.pause(300, 600)
		s.kill(s.replicas[turn%3], binary)
		s.mcp.requests() // so that they do not pile up
		switch turn % 3 {
		case 0:
			s.hang(time.Duration(1000+rand.IntN(1500)) * time.Millisecond)
		case 1:
			s.outage(stopGuard, startGuard, nil)
		case 2:
			s.outage(stopGuard, startGuard, func() { s.kill(s.replicas[(turn+1)%3], binary) })
		}
		// nginx takes a replica back after a second.
		s.pause(1000, 1500)
	}
	close(s.over)
	users.Wait()
	close(callsEnd)
	callers.Wait()
	s.endAll()
}

func (s *storm) rotations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count.rotations
}

func (s *storm) pause(from, to int) {
	time.Sleep(time.Duration(from+rand.IntN(to-from)) * time.Millisecond)
}

// outage stops the guard's back end for a while.
func (s *storm) outage(stop, start func(t *testing.T), meanwhile func()) {
	if stop == nil {
		if meanwhile != nil {
			meanwhile()
		}
		return
	}
	end := s.begin("guard")
	defer end()
	stop(s.t)
	s.add(func(c *tally) { c.outages++ })
	if meanwhile != nil {
		meanwhile()
	}
	s.pause(800, 2000)
	start(s.t)
}

func (s *storm) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return s.t.Context().Err() != nil
	}
}

// signInAgainAndAgain is a person with a client that was registered once.
func (s *storm) signInAgainAndAgain() {
	id := s.register()
	for turn := rand.IntN(2); id != "" && !s.isOver(); turn++ {
		s.signIn(id, turn%2 == 0)
	}
}

// register makes a client. It asks again if a replica dies meanwhile.
func (s *storm) register() string {
	body, _ := json.Marshal(map[string]any{
		"client_name": "Storm", "redirect_uris": []string{redirectURI}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	})
	for range 20 {
		began := time.Now()
		a := s.send(http.MethodPost, s.gateway(), "/register", string(body), "Content-Type", "application/json")
		var client struct {
			ID string `json:"client_id"`
		}
		if a.status == http.StatusCreated && json.Unmarshal(a.body, &client) == nil {
			return client.ID
		}
		if !s.disturbed(began, "kill") {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	s.problem("no registration")
	return ""
}

// patience is how long a user tries: a refresh that a dying replica had begun
// is reserved for that replica for 25 seconds.
const patience = 45 * time.Second

// signIn goes from nothing to a token and on; race redeems the code at two
// replicas at once.
func (s *storm) signIn(client string, race bool) {
	for began := time.Now(); ; time.Sleep(300 * time.Millisecond) {
		code, again := s.code(client)
		if code != nil {
			if race {
				again = s.race(code)
			} else {
				again = s.redeem(client, code)
			}
		}
		if !again {
			return
		}
		if time.Since(began) > patience {
			s.add(func(c *tally) { c.lost++ })
			s.problem("a sign-in did not come to an end within %v", patience)
			return
		}
	}
}

// code walks through the browser's part. again says that the client may try
// once more; anything else that went wrong is lost.
func (s *storm) code(client string) (form url.Values, again bool) {
	began, person := time.Now(), alice
	verifier := oauth2.GenerateVerifier()
	answer, err := person.walk(s.t, s.gateway()+"/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirectURI}, "state": {randText()}, "resource": {s.mcpURL},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}.Encode(), redirectURI)
	stuck, onPage := errors.AsType[*pageError](err)
	switch {
	case err == nil && answer.Get("code") != "":
		return url.Values{
			"grant_type": {"authorization_code"}, "code": {answer.Get("code")}, "redirect_uri": {redirectURI},
			"code_verifier": {verifier}, "client_id": {client}, "resource": {s.mcpURL},
		}, false
	case onPage && stuck.status == http.StatusServiceUnavailable && stuck.retryAfter != "" && s.disturbed(began, "guard"),
		err == nil && answer.Get("error") == "temporarily_unavailable" && s.disturbed(began, "provider"):
		s.add(func(c *tally) { c.told++ })
		return nil, true
	// A visit to the provider is good once, and the replica that held it died.
	case s.disturbed(began, "kill"):
		s.add(func(c *tally) { c.cut++ })
		return nil, true
	}
	s.add(func(c *tally) { c.lost++ })
	s.problem("a sign-in ended with %v %v", answer, err)
	return nil, false
}

// exchange asks until there is a clear answer. again says that a replica died
// with the code, so that the client has to begin again.
func (s *storm) exchange(form url.Values) (g grant, again bool) {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(200 * time.Millisecond) {
		asked := time.Now()
		a, g := s.token(s.gateway(), form)
		switch {
		case a.status == http.StatusOK:
			return g, false
		case a.status == http.StatusServiceUnavailable && a.retryAfter != "" && g.Error == "temporarily_unavailable" && s.disturbed(asked, "guard", "provider", "kill"):
			s.add(func(c *tally) { c.told++ })
		case (a.err != nil || a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout) && s.disturbed(asked, "kill"):
			// No answer: it may or may not have been redeemed. Ask again.
		case a.status == http.StatusBadRequest && s.disturbed(began, "kill"):
			s.add(func(c *tally) { c.cut++ })
			return g, true
		default:
			s.add(func(c *tally) { c.lost++ })
			s.problem("/token answered %d %s %v", a.status, a.body, a.err)
			return g, false
		}
	}
	return g, true
}

// redeem takes the code to the gateway as clients do, refreshes now and then,
// and leaves the token to those who call tools.
func (s *storm) redeem(client string, form url.Values) (again bool) {
	g, again := s.exchange(form)
	if g.status != http.StatusOK {
		return again
	}
	s.verifyLater(g.AccessToken)
	if rand.IntN(2) == 0 {
		next, again := s.exchange(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken}, "client_id": {client}})
		if next.status != http.StatusOK {
			return again
		}
		s.verifyLater(next.AccessToken)
		s.add(func(c *tally) { c.refreshes++ })
		g = next
	}
	h := &held{access: g.AccessToken, born: time.Now(), code: form}
	s.mu.Lock()
	s.count.logins++
	s.pool = append(s.pool, h)
	var old *held
	if len(s.pool) > 12 || time.Since(s.pool[0].born) > chaosLifetime/2 {
		old, s.pool = s.pool[0], s.pool[1:]
	}
	s.mu.Unlock()
	if old != nil {
		s.replay(old)
	}
	return false
}

// race redeems one code at two replicas in the same moment.
func (s *storm) race(form url.Values) (again bool) {
	began := time.Now()
	s.add(func(c *tally) { c.codesTwice++ })
	for time.Since(began) < patience {
		good := s.twice(form)
		if good > 1 {
			s.add(func(c *tally) { c.redeemedTwice++ })
		}
		if good > 0 {
			s.add(func(c *tally) { c.logins++ })
			return false
		}
		if !s.disturbed(began, "kill", "guard") {
			break
		}
		if a, _ := s.token(s.gateway(), form); a.status == http.StatusOK {
			s.add(func(c *tally) { c.logins++ })
			return false
		} else if a.status == http.StatusBadRequest {
			if !s.disturbed(began, "kill") {
				break
			}
			s.add(func(c *tally) { c.cut++ })
			return true
		}
		time.Sleep(200 * time.Millisecond)
	}
	s.add(func(c *tally) { c.lost++ })
	s.problem("a code was good at none of two replicas")
	return false
}

// twice sends the form to two replicas that are up and counts the good answers.
func (s *storm) twice(form url.Values) (good int) {
	var at []*replica
	for _, i := range rand.Perm(len(s.replicas)) {
		if r := s.replicas[i]; r.up.Load() && len(at) < 2 {
			at = append(at, r)
		}
	}
	answers := make([]grant, len(at))
	var wg sync.WaitGroup
	for i, r := range at {
		wg.Go(func() { _, answers[i] = s.token("http://"+r.address, form) })
	}
	wg.Wait()
	for _, g := range answers {
		if g.status == http.StatusOK {
			s.verifyLater(g.AccessToken)
			good++
		}
	}
	return good
}

// replay tries a code again that was redeemed long ago, which ends its token.
func (s *storm) replay(h *held) {
	h.Lock()
	defer h.Unlock()
	h.ended = true
	s.add(func(c *tally) { c.codesTwice++ })
	if s.twice(h.code) > 0 {
		s.add(func(c *tally) { c.redeemedTwice++ })
	}
}

func (s *storm) endAll() {
	for _, h := range s.pool {
		s.replay(h)
	}
}

// callAgainAndAgain calls a tool with one of the tokens. Each must pass.
func (s *storm) callAgainAndAgain(stop <-chan struct{}) {
	body, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{
		"name": "whoami", "arguments": map[string]any{}, "_meta": map[string]any{
			"io.modelcontextprotocol/protocolVersion":    modern,
			"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "storm", "version": "1"},
			"io.modelcontextprotocol/clientCapabilities": map[string]any{},
		},
	}})
	for {
		select {
		case <-stop:
			return
		case <-time.After(15 * time.Millisecond):
		}
		s.mu.Lock()
		var h *held
		if len(s.pool) > 0 {
			h = s.pool[rand.IntN(len(s.pool))]
		}
		s.mu.Unlock()
		if h == nil || time.Since(h.born) > chaosLifetime-5*time.Second || !h.TryRLock() {
			continue
		}
		if !h.ended {
			a := s.send(http.MethodPost, s.gateway(), "/mcp", string(body), "Authorization", "Bearer "+h.access, "Content-Type", "application/json",
				"Accept", "application/json, text/event-stream", "MCP-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "whoami")
			s.add(func(c *tally) { c.calls++ })
			if a.status != http.StatusOK || !bytes.Contains(a.body, []byte("alice@example.com")) {
				s.add(func(c *tally) { c.failed++ })
				s.problem("a call with a valid token: %d %s %.200s %v", a.status, a.header.Get("WWW-Authenticate"), a.body, a.err)
			}
		}
		h.RUnlock()
	}
}

// useGoSDK connects as the Go SDK does and calls a tool until the token is old.
func (s *storm) useGoSDK() {
	for !s.isOver() {
		began := time.Now()
		session, asked, err := tryGoSDK(s.t, s.mcpURL, modern, alice)
		if err != nil {
			if !s.disturbed(began, "kill", "guard", "provider") {
				s.problem("the Go SDK does not connect: %v", err)
			}
			time.Sleep(300 * time.Millisecond)
			continue
		}
		connected := *asked // more than once where a replica died meanwhile
		for old := time.Now().Add(chaosLifetime / 2); time.Now().Before(old) && !s.isOver(); time.Sleep(20 * time.Millisecond) {
			_, err := session.CallTool(s.t.Context(), &mcp.CallToolParams{Name: "whoami"})
			s.add(func(c *tally) { c.sdkCalls++ })
			if err != nil || *asked != connected {
				s.add(func(c *tally) { c.failed++ })
				s.problem("a call of the Go SDK, after %d sign-ins: %v", *asked-connected, err)
				break
			}
		}
		session.Close()
	}
}

// useTypeScript does the same with the TypeScript client, in its own process.
func (s *storm) useTypeScript() {
	script, program := filepath.Join(drivers, "ts-client.mjs"), node(s.t)
	for !s.isOver() {
		began := time.Now()
		ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
		cmd := exec.CommandContext(ctx, program, script, s.mcpURL)
		cmd.Env = append(os.Environ(), "SECONDS=4", "MODE=auto")
		out, err := cmd.Output()
		cancel()
		var report struct {
			Whoami tsCall
			Error  string
			Loop   *struct {
				Calls, Failed int
				Errors        []string
			}
		}
		if jsonErr := json.Unmarshal(out, &report); jsonErr != nil || err != nil || report.Loop == nil {
			if !s.disturbed(began, "kill", "guard", "provider") {
				s.problem("the TypeScript client: %v %s", err, out)
			}
			continue
		}
		s.add(func(c *tally) { c.sdkCalls += report.Loop.Calls; c.failed += report.Loop.Failed })
		if report.Loop.Failed > 0 {
			s.problem("calls of the TypeScript client: %s", strings.Join(report.Loop.Errors, "; "))
		}
	}
}

func randText() string { return fmt.Sprintf("%016x", rand.Uint64()) }
