//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Keycloak with its default tokens of five minutes, whose refresh tokens are good once:
// in both forms the token in the header is one that Keycloak itself takes. Form held is
// run with a life of half a minute as well, to see renewals that no client asks for.
func TestKeycloakProviderTokens(t *testing.T) {
	k := startKeycloak(t)
	for _, form := range []string{"client", "held"} {
		t.Run(form, func(t *testing.T) {
			realm := "tokens-" + form
			st := newStack(t, setup{provider: "own", idp: func(t *testing.T, st *stack, _ string) map[string]any {
				k.makeRealm(t, realm, map[string]any{"secret": clientSecret}, st)
				return map[string]any{
					"name": "oidc", "issuerURL": k.base + "/realms/" + realm, "clientID": "mfa-e2e", "clientSecret": clientSecret, "allowedEmailDomains": []string{`example\.com`},
				}
			}, change: func(file map[string]any) {
				file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["providerToken"] = map[string]any{"token": "access", "form": form}
			}})
			person := keycloakPerson{t: t, st: st, userinfo: k.base + "/realms/" + realm + "/protocol/openid-connect/userinfo"}
			g, a := signIn(t, st.statelessURL, alice)
			person.mustBeKnownBy(g.AccessToken)
			if form == "client" && (g.ExpiresIn > 255 || g.ExpiresIn < 200) {
				t.Errorf("an access token of %d s carries one of 300", g.ExpiresIn)
			}
			for range 3 {
				g = a.client.refresh(t, g.RefreshToken)
				if g.status != http.StatusOK {
					t.Fatalf("refresh: %d %s", g.status, g.Error)
				}
				person.mustBeKnownBy(g.AccessToken)
			}
			if form == "held" {
				k.admin(t, http.MethodPut, "/admin/realms/"+realm, map[string]any{"accessTokenLifespan": 30}, http.StatusNoContent)
				g, _ = signIn(t, st.statelessURL, alice)
				first := person.mustBeKnownBy(g.AccessToken)
				seen := map[string]bool{}
				for began := time.Now(); time.Since(began) < 40*time.Second; time.Sleep(time.Second) {
					seen[person.mustBeKnownBy(g.AccessToken)] = true
				}
				if delete(seen, first); len(seen) < 2 {
					t.Errorf("%d new tokens in forty seconds, of thirty each", len(seen))
				}
			}
			k.disable(t, realm)
			if next := a.client.refresh(t, g.RefreshToken); form == "client" && next.Error != "invalid_grant" {
				t.Errorf("refresh of a person who is gone: %d %s", next.status, next.Error)
			}
		})
	}
}

// keycloakPerson asks as a gateway for the token of a person and shows it to Keycloak.
type keycloakPerson struct {
	t        *testing.T
	st       *stack
	userinfo string
}

func (p keycloakPerson) mustBeKnownBy(access string) string {
	p.t.Helper()
	token := p.token(access)
	answer, body := do(p.t, http.MethodGet, p.userinfo, strings.NewReader(""), "Authorization", "Bearer "+token)
	if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), "alice@example.com") {
		p.t.Fatalf("Keycloak says of the token: %d %s", answer.StatusCode, body)
	}
	return token
}

// token is what the MCP server gets.
func (p keycloakPerson) token(access string) string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.st.serviceAddress+"/authenticate", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Host = p.st.name + ":" + p.st.port
	req.Header.Set("X-Original-URL", p.st.statelessURL)
	req.Header.Set("X-Original-Method", http.MethodPost)
	req.Header.Set("Authorization", "Bearer "+access)
	resp, err := quick.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("the service answers %d", resp.StatusCode)
	}
	return resp.Header.Get("X-Forwarded-Access-Token")
}
