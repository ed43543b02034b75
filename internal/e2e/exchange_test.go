//go:build e2e

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

const exchangeSecret = "e2e-secret-of-the-acting-server"

// agent is an MCP server of the Go SDK that acts for its callers: it exchanges what it
// was told of them with the SDK's own oauthex, and calls Keycloak and another server.
type agent struct {
	*httptest.Server
	tokenURL, own, issuer, other, userinfo string
}

func startAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{}
	server := mcp.NewServer(&mcp.Implementation{Name: "agent", Version: "1.0.0"}, nil)
	type nothing struct{}
	mcp.AddTool(server, &mcp.Tool{Name: "ask_provider", Description: "Asks the identity provider in your name"},
		func(ctx context.Context, req *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
			text, err := a.askProvider(ctx, req.Extra.Header)
			return textResult(text, err), nil, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "ask_other", Description: "Calls another MCP server in your name"},
		func(ctx context.Context, req *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
			text, err := a.askOther(ctx, req.Extra.Header)
			return textResult(text, err), nil, nil
		})
	a.Server = httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true, DisableLocalhostProtection: true}))
	t.Cleanup(a.Server.Close)
	return a
}

func textResult(text string, err error) *mcp.CallToolResult {
	if err != nil {
		text = "failed: " + err.Error()
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}, IsError: err != nil}
}

func (a *agent) exchange(ctx context.Context, told http.Header, resource, audience string, scopes ...string) (*oauth2.Token, error) {
	return oauthex.ExchangeToken(ctx, a.tokenURL, &oauthex.TokenExchangeRequest{
		RequestedTokenType: "urn:ietf:params:oauth:token-type:access_token", Audience: audience, Resource: resource, Scope: scopes,
		SubjectToken: told.Get("X-Auth-Request-Identity"), SubjectTokenType: "urn:ietf:params:oauth:token-type:jwt",
	}, &oauthex.ClientCredentials{ClientID: "agent", ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: exchangeSecret}}, nil)
}

// askProvider shows Keycloak the person's token, by the HTTP client of x/oauth2.
func (a *agent) askProvider(ctx context.Context, told http.Header) (string, error) {
	token, err := a.exchange(ctx, told, a.own, a.issuer)
	if err != nil {
		return "", err
	}
	resp, err := oauth2.NewClient(ctx, oauth2.StaticTokenSource(token)).Get(a.userinfo)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var who struct{ Email string }
	if err := json.NewDecoder(resp.Body).Decode(&who); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, who.Email), nil
}

// askOther calls a tool of the other server, behind the same service.
func (a *agent) askOther(ctx context.Context, told http.Header) (string, error) {
	token, err := a.exchange(ctx, told, a.other, a.other, scopeRead)
	if err != nil {
		return "", err
	}
	// The context of a request to a server of the SDK says which revision it is of, and a
	// client of the SDK goes by that.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1.0.0"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: a.other, HTTPClient: oauth2.NewClient(ctx, oauth2.StaticTokenSource(token)), MaxRetries: -1,
	}, &mcp.ClientSessionOptions{ProtocolVersion: legacy}) // that server has sessions
	if err != nil {
		return "", err
	}
	defer session.Close()
	who, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "whoami"})
	if err != nil {
		return "", err
	}
	if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "write_note"}); err == nil {
		return "", errors.New("it may write there, which it was not given")
	}
	return who.Content[0].(*mcp.TextContent).Text, nil
}

// A server of the Go SDK acts for its caller: Keycloak's token comes out of the exchange
// and is good there, and another server is called in the person's name, with less. A
// client that has only its own access token gets nothing for it.
func TestTokenExchangeByTheGoSDK(t *testing.T) {
	k := startKeycloak(t)
	a := startAgent(t)
	st := newStack(t, setup{provider: "own", gateway: &gateway{name: "served", path: func(*testing.T) string { return "" }, serves: true},
		idp: func(t *testing.T, st *stack, _ string) map[string]any {
			k.makeRealm(t, "exchange", map[string]any{"secret": clientSecret}, st)
			return map[string]any{
				"name": "oidc", "issuerURL": k.base + "/realms/exchange", "clientID": "mfa-e2e", "clientSecret": clientSecret, "allowedEmailDomains": []string{`example\.com`},
			}
		}, change: func(file map[string]any) {
			hosts := file["proxy"].(map[string]any)["hosts"].([]any)
			first, second := hosts[0].(map[string]any), hosts[1].(map[string]any)
			a.other = "http://" + second["host"].(string) + "/mcp"
			first["endpoint"] = a.URL + "/mcp"
			first["providerToken"] = map[string]any{"token": "access", "form": "held"}
			first["tokenExchange"] = map[string]any{"clients": []any{"agent"}, "targets": []any{map[string]any{"resource": a.other, "scopes": []any{scopeRead}}}}
			file["identityHeaders"] = map[string]any{"jwt": map[string]any{"enabled": true}}
			file["clients"] = []any{map[string]any{"id": "agent", "secret": exchangeSecret, "grantTypes": []any{oauthex.GrantTypeTokenExchange}}}
		}})
	a.own, a.issuer, a.tokenURL, a.userinfo = st.statelessURL, origin(st.statelessURL), origin(st.statelessURL)+"/token", k.base+"/realms/exchange/protocol/openid-connect/userinfo"
	session, _, err := tryGoSDK(t, st.statelessURL, modern, alice)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for tool, want := range map[string]string{"ask_provider": "200 alice@example.com", "ask_other": `"email":"alice@example.com"`} {
		res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool})
		if err != nil {
			t.Fatalf("%s: %v", tool, err)
		}
		if text := res.Content[0].(*mcp.TextContent).Text; res.IsError || !strings.Contains(text, want) {
			t.Errorf("%s: %s", tool, text)
		}
	}
	g, _ := signIn(t, st.statelessURL, alice)
	if token, err := a.exchange(t.Context(), http.Header{"X-Auth-Request-Identity": {g.AccessToken}}, a.own, a.issuer); err == nil || !strings.Contains(err.Error(), "invalid_request") {
		t.Errorf("a client's access token brings %v %v", token, err)
	}
}

// Keycloak exchanges the token of the sign-in for one whose audience is the server's own
// API (RFC 8693), in both forms, at the sign-in and at each renewal.
func TestKeycloakExchangesTokens(t *testing.T) {
	k := startKeycloak(t)
	for _, form := range []string{"client", "held"} {
		t.Run(form, func(t *testing.T) {
			realm := "exchanged-" + form
			st := newStack(t, setup{provider: "own", idp: func(t *testing.T, st *stack, _ string) map[string]any {
				k.makeRealm(t, realm, map[string]any{
					"secret":     clientSecret,
					"attributes": map[string]any{"pkce.code.challenge.method": "S256", "standard.token.exchange.enabled": "true"},
					"protocolMappers": []any{map[string]any{
						"name": "api", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
						"config": map[string]any{"included.client.audience": "notes-api", "access.token.claim": "true"},
					}},
				}, st)
				k.admin(t, http.MethodPost, "/admin/realms/"+realm+"/clients", map[string]any{"clientId": "notes-api", "enabled": true, "protocol": "openid-connect", "bearerOnly": true}, http.StatusCreated)
				return map[string]any{
					"name": "oidc", "issuerURL": k.base + "/realms/" + realm, "clientID": "mfa-e2e", "clientSecret": clientSecret, "allowedEmailDomains": []string{`example\.com`},
				}
			}, change: func(file map[string]any) {
				file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["providerToken"] = map[string]any{
					"token": "exchange", "form": form, "exchange": map[string]any{"method": "token-exchange", "audience": "notes-api"},
				}
			}})
			person := keycloakPerson{t: t, st: st}
			g, a := signIn(t, st.statelessURL, alice)
			seen := map[string]bool{}
			for range 3 {
				token := person.token(g.AccessToken)
				if aud, client := audienceOf(t, token); !slices.Equal(aud, []string{"notes-api"}) || client != "mfa-e2e" {
					t.Fatalf("the server gets a token for %v of %q", aud, client)
				}
				seen[token] = true
				if g = a.client.refresh(t, g.RefreshToken); g.status != http.StatusOK {
					t.Fatalf("refresh: %d %s", g.status, g.Error)
				}
			}
			if form == "client" && len(seen) != 3 {
				t.Errorf("%d tokens for three generations", len(seen))
			}
		})
	}
}

// audienceOf reads aud and azp of a JWT.
func audienceOf(t *testing.T, raw string) (aud []string, client string) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", raw)
	}
	plain, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Audience json.RawMessage `json:"aud"`
		Client   string          `json:"azp"`
	}
	if err := json.Unmarshal(plain, &claims); err != nil {
		t.Fatal(err)
	}
	if json.Unmarshal(claims.Audience, &aud) != nil {
		var one string
		if err := json.Unmarshal(claims.Audience, &one); err != nil {
			t.Fatal(err)
		}
		aud = []string{one}
	}
	return aud, claims.Client
}
