package conformance

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
)

var keyChecks = []Check{
	{IDs: "AS-KEY-01", Run: jwksIsPublic, Twins: twins(
		replaceBody(jwks, `"kty":"RSA"`, `"kty":"RSA","d":"AQAB"`), replaceBody(jwks, `"use":"sig"`, `"use":"enc"`), dropHeader(jwks, "Access-Control-Allow-Origin"))},
	{IDs: "AS-KEY-02", Run: keysOverlap, Twins: twins(Twin{Flaw: true})},
	{IDs: "AS-KEY-03", Run: unknownKeysAreInvalidTokens, Twins: twins(status("/authenticate", 401, 500), errorsBecomePasses("/authenticate", 401))},
	{IDs: "AS-KEY-04 ATK-22 RS-VAL-03", Run: tokensStayAtTheirResource, Twins: twins(errorsBecomePasses("/authenticate", 401))},
	{IDs: "AS-KEY-05", Run: pendingLoginsSurviveRotation, Twins: twins(replies("/callback", func(_ *http.Request, a *reply) { a.Status, a.Body = 403, "" }))},
	{IDs: "AS-KEY-06", Run: rotationIsRaceFree, Twins: twins(Twin{Flaw: true})},
}

func jwksIsPublic(t *T) {
	w := t.World()
	a := w.get(issuerMCP + jwks)
	t.Want(a.Status == 200 && a.Header.Get("Content-Type") == "application/json" && a.Header.Get("Access-Control-Allow-Origin") == "*", "%d %v", a.Status, a.Header)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal([]byte(a.Body), &set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("%v: %s", err, a.Body)
	}
	kids := map[any]bool{}
	for _, k := range set.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			t.Want(k[private] == nil, "the member %s is published", private)
		}
		t.Want(k["kty"] == "RSA" && k["use"] == "sig" && k["alg"] == "RS256" && k["kid"] != nil && !kids[k["kid"]], "key %v", k["kid"])
		kids[k["kid"]] = true
		raw, _ := json.Marshal(k)
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(raw); err != nil {
			t.Errorf("%v", err)
			continue
		}
		public, ok := jwk.Key.(*rsa.PublicKey)
		t.Want(ok && public.N.BitLen() >= 2048, "a weak key")
	}
	t.Want(kids[t.header(w.newToken(hostMCP, resourceMCP))["kid"]], "tokens are signed by an unpublished key")
}

// keysOverlap lives through a day with a verifier that fetches the keys as
// rarely as their cache lifetime lets it.
func keysOverlap(t *T) {
	tb, ok := t.TB.(*testing.T)
	if !ok {
		t.Setupf("needs a *testing.T")
	}
	const lifetime, maxAge = time.Hour, 5 * time.Minute
	synctest.Test(tb, func(*testing.T) {
		period := time.Hour
		opt := keyset.Options{Sources: []keyset.Source{keyset.Seed{Secret: []byte(testSeed), Period: period}}, Period: period, TokenLifetime: lifetime, Now: time.Now}
		if t.twin.Flaw { // keys go when they stop signing
			opt.TokenLifetime = time.Nanosecond
		}
		keys, err := keyset.New(opt)
		if err != nil {
			t.setup = err.Error()
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = keys.Run(ctx) }()
		defer func() { cancel(); <-done }()
		type minted struct {
			kid  string
			dies time.Time
		}
		var tokens []minted
		var cached string
		var fetched time.Time
		for begin := time.Now(); time.Since(begin) < 24*time.Hour; time.Sleep(time.Minute) {
			tokens = append(tokens, minted{keys.Signing().ID, time.Now().Add(lifetime)})
			if time.Since(fetched) > maxAge {
				cached, fetched = string(keys.JWKS()), time.Now()
			}
			tokens = slices.DeleteFunc(tokens, func(m minted) bool { return !time.Now().Before(m.dies) })
			for _, m := range tokens {
				if !strings.Contains(cached, m.kid) {
					t.Errorf("after %v the cached keys lack one that a live token needs", time.Since(begin))
					return
				}
			}
		}
	})
}

func unknownKeysAreInvalidTokens(t *T) {
	before := t.World(own, configured("seedFiles: [seed]", "seedFiles: [other-seed]"))
	token := before.newToken(hostMCP, resourceMCP)
	after := t.suite.restart(t)
	if t.twin.Front != nil {
		after = t.World()
	}
	a := after.ask(resourceMCP, token)
	t.Want(a.Status == 401 && a.challenge().params["error"] == "invalid_token", "a token of an unknown key: %d", a.Status)
	replica := t.World(own)
	same := t.World(own)
	t.Want(replica.ask(resourceMCP, same.newToken(hostMCP, resourceMCP)).Status == 200, "two replicas with one seed do not share keys")
}

func tokensStayAtTheirResource(t *T) {
	w := t.World()
	tokens := map[string]string{
		resourceMCP: w.newToken(hostMCP, resourceMCP), resourceA: w.newToken(hostMany, resourceA), resourceB: w.newToken(hostMany, resourceB), issuerRoot: w.newToken(hostRoot, issuerRoot),
	}
	for resource, token := range tokens {
		for target := range tokens {
			a := w.ask(strings.TrimSuffix(target, "/")+"/", token)
			if target == resource {
				t.Want(a.Status == 200, "%s at its own resource: %d", resource, a.Status)
				continue
			}
			t.Want(a.Status == 401 && a.challenge().params["error"] == "invalid_token", "a token of %s at %s: %d", resource, target, a.Status)
		}
	}
	// A prefix is not a path segment, and a lengthened audience is no other spelling.
	a := w.ask(issuerMCP+"/mcp2", tokens[resourceMCP])
	t.Want(a.Status == 403 || a.Status == 401, "/mcp2: %d", a.Status)
	for _, aud := range []any{[]string{resourceMCP, resourceA}, resourceA, "*", issuerMCP} {
		a := w.ask(resourceA, reclaim(tokens[resourceMCP], "aud", aud).(string))
		t.Want(a.Status == 401, "aud %v: %d", aud, a.Status)
	}
}

func pendingLoginsSurviveRotation(t *T) {
	w := t.World(own, configured("", "tokens: {accessTokenLifetime: 10m}", "rotation: 24h", "rotation: 10m"))
	c := w.register(hostMCP, nil)
	b := w.browser()
	back := b.toCallback(c.request())
	first := t.header(w.newToken(hostMCP, resourceMCP))["kid"]
	// Another process with the same seed, hours later by its signing keys.
	later := t.World(own, configured("", "tokens: {accessTokenLifetime: 11m}", "rotation: 24h", "rotation: 11m"))
	t.Want(t.header(later.newToken(hostMCP, resourceMCP))["kid"] != first, "the signing key is the same")
	b.w = later
	a := b.get(strings.Replace(back, w.idp.URL, later.idp.URL, 1))
	// The other process has another provider, which does not know the code: that it was
	// asked shows that the login was good.
	t.Want(a.Status == 303 || strings.Contains(visible(a.Body), "could not be verified"), "a login under way does not survive: %d", a.Status)
}

func rotationIsRaceFree(t *T) {
	tb, ok := t.TB.(*testing.T)
	if !ok {
		t.Setupf("needs a *testing.T")
	}
	synctest.Test(tb, func(*testing.T) {
		keys, err := keyset.New(keyset.Options{Sources: []keyset.Source{keyset.Seed{Secret: []byte(testSeed), Period: time.Hour}}, Period: time.Hour, TokenLifetime: time.Hour, Now: time.Now})
		if err != nil {
			t.setup = err.Error()
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		if !t.twin.Flaw { // the flaw: no key is rotated
			wait.Go(func() { _ = keys.Run(ctx) })
		}
		var mu sync.Mutex
		used := map[string]bool{}
		for range 8 {
			wait.Go(func() {
				for range 5 * 60 {
					time.Sleep(time.Minute)
					key := keys.Signing()
					mu.Lock()
					used[key.ID] = true
					if keys.Public([]byte(key.ID)) == nil {
						t.Errorf("the signing key is not published")
					}
					mu.Unlock()
				}
			})
		}
		time.Sleep(5*time.Hour + time.Minute)
		cancel()
		wait.Wait()
		if len(used) < 5 {
			t.Errorf("five hours saw %d keys", len(used))
		}
	})
}
