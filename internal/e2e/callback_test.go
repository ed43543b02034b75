//go:build e2e

package e2e

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// One callback host for two MCP hosts. The identity provider is told of its
// callback alone, so that every sign-in here proves that no other was used.
func TestCallbackHost(t *testing.T) {
	const host = "127.0.0.2"
	st := newStack(t, setup{provider: "oidc", callback: host})
	callback := "http://" + host + ":" + st.port + "/callback"
	t.Run("a real client on each host", func(t *testing.T) {
		st.both(t, func(t *testing.T, mcpURL string) { wantAlice(t, whoami(t, connectGoSDK(t, mcpURL, modern, alice))) })
	})

	// answered walks a sign-in until the provider has sent the browser back.
	answered := func(t *testing.T, mcpURL string) (a *attempt, at string) {
		t.Helper()
		person := alice
		a, start := register(t, mcpURL).begin(&person)
		query, err := person.walk(t, start, callback)
		if err != nil {
			t.Fatal(err)
		}
		return a, callback + "?" + query.Encode()
	}
	stuck := func(t *testing.T, v *visitor, at string) {
		t.Helper()
		answer, err := v.walk(t, at, redirectURI)
		if page, ok := errors.AsType[*pageError](err); !ok || page.status != http.StatusForbidden {
			t.Errorf("the walk ended with %v, %v", answer, err)
		}
	}
	st.both(t, func(t *testing.T, mcpURL string) {
		other := st.statefulURL
		if mcpURL == other {
			other = st.statelessURL
		}
		a, at := answered(t, mcpURL)
		stuck(t, &visitor{}, at) // another browser
		stuck(t, &visitor{}, strings.Replace(at, callback, origin(mcpURL)+"/callback", 1))
		stuck(t, a.visitor, strings.Replace(at, callback, origin(other)+"/callback", 1)) // the other host
		waitFor(t, "audit entry", func() bool {
			return slices.ContainsFunc(st.audited("login.refused"), func(e map[string]string) bool {
				return e["reason"] == "callback_of_another_host" && "http://"+e["host"] == origin(other)
			})
		})
		var err error
		if a.answer, err = a.visitor.walk(t, at, redirectURI); err != nil {
			t.Fatal(err)
		}
		if g := a.redeem(t); g.status != http.StatusOK {
			t.Errorf("/token answered %d %s", g.status, g.Error)
		}
		stuck(t, a.visitor, at) // once more
	})
	t.Run("it is no open redirector", func(t *testing.T) {
		track(t)
		for _, query := range []string{"", "?state=https://evil.example", "?code=x&state=evil.example&iss=https://evil.example", "?state=" + strings.Repeat("A", 200)} {
			resp, _ := do(t, http.MethodGet, callback+query, nil)
			if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Location") != "" {
				t.Errorf("%q: %s to %q", query, resp.Status, resp.Header.Get("Location"))
			}
		}
	})
}

// Two identity providers, one of them the certified one: the person chooses.
func TestChooseProvider(t *testing.T) {
	for name, callback := range map[string]string{"a callback on each host": "", "one callback host": "127.0.0.2"} {
		t.Run(name, func(t *testing.T) {
			st := newStack(t, setup{provider: "several", callback: callback})
			st.both(t, func(t *testing.T, mcpURL string) {
				users := map[string]string{}
				for _, id := range []string{"corp", "guests"} {
					person := alice
					person.choice = id
					who := whoami(t, connectGoSDK(t, mcpURL, modern, person))
					wantAlice(t, who)
					users[id] = who.User
				}
				want := "corp:" + strings.TrimPrefix(st.issuer, "http://") + ":u-1001"
				mustEqual(t, "user of corp", users["corp"], want)
				mustEqual(t, "user of guests", users["guests"], "guests:static:alice")
			})
		})
	}
}
