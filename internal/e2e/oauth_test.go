//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

// redirectURI is where the headless clients wait; nothing listens there.
const redirectURI = "http://127.0.0.1:33418/callback"

// oauthClient is the smallest MCP client: it knows RFC 6749, 7591 and 8707 and
// trusts nothing it has not checked. It serves the tests that need to hold a
// token in the hand; whole flows go through the official clients.
type oauthClient struct {
	mcpURL string
	id     string
	scope  string
	// resource is what to ask a token for, mcpURL if empty.
	resource string
	// redirect and state are where the client waits and what it wants back;
	// redirectURI and a random text if empty.
	redirect, state string
}

func (c *oauthClient) redirectURI() string { return cmp.Or(c.redirect, redirectURI) }

func (c *oauthClient) target() string { return cmp.Or(c.resource, c.mcpURL) }

// grant is what a sign-in brought.
type grant struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope"`
	Error        string `json:"error"`

	status int
	header http.Header
}

// register makes a public client by RFC 7591, with redirectURI and more.
func register(t *testing.T, mcpURL string, more ...string) *oauthClient {
	t.Helper()
	body, _ := json.Marshal(map[string]any{
		"client_name":   "End-to-end client",
		"redirect_uris": append([]string{redirectURI}, more...),
		"grant_types":   []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"token_endpoint_auth_method": "none",
	})
	resp, text := do(t, http.MethodPost, origin(mcpURL)+"/register", bytes.NewReader(body), "Content-Type", "application/json")
	var answer struct {
		ClientID string `json:"client_id"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || resp.StatusCode != http.StatusCreated || answer.ClientID == "" {
		t.Fatalf("registration answered %s: %s", resp.Status, text)
	}
	return &oauthClient{mcpURL: mcpURL, id: answer.ClientID}
}

// attempt is one authorization request and its outcome.
type attempt struct {
	client          *oauthClient
	state, verifier string
	answer          url.Values
	visitor         *visitor
}

// begin makes an authorization request of a person and returns its URL.
func (c *oauthClient) begin(person *visitor) (a *attempt, start string) {
	a = &attempt{client: c, state: cmp.Or(c.state, rand.Text()), verifier: oauth2.GenerateVerifier(), visitor: person}
	query := url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {c.redirectURI()}, "state": {a.state},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(a.verifier)}, "code_challenge_method": {"S256"},
		"resource": {c.target()},
	}
	if c.scope != "" {
		query.Set("scope", c.scope)
	}
	return a, origin(c.mcpURL) + "/authorize?" + query.Encode()
}

// authorize sends a person through the sign-in. err is the page they got stuck on.
func (c *oauthClient) authorize(t *testing.T, person visitor) (*attempt, error) {
	t.Helper()
	a, start := c.begin(&person)
	var err error
	a.answer, err = a.visitor.walk(t, start, c.redirectURI())
	if err == nil {
		mustEqual(t, "state", a.answer.Get("state"), a.state)
		mustEqual(t, "iss (RFC 9207)", a.answer.Get("iss"), origin(c.mcpURL))
	}
	return a, err
}

// redeem exchanges the code.
func (a *attempt) redeem(t *testing.T) grant {
	t.Helper()
	return a.client.token(t, url.Values{
		"grant_type": {"authorization_code"}, "code": {a.answer.Get("code")}, "redirect_uri": {a.client.redirectURI()},
		"code_verifier": {a.verifier}, "client_id": {a.client.id}, "resource": {a.client.target()},
	})
}

func (c *oauthClient) refresh(t *testing.T, refreshToken string) grant {
	t.Helper()
	return c.token(t, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}, "client_id": {c.id}, "resource": {c.target()},
	})
}

func (c *oauthClient) token(t *testing.T, form url.Values) grant {
	t.Helper()
	resp, text := do(t, http.MethodPost, origin(c.mcpURL)+"/token", strings.NewReader(form.Encode()),
		"Content-Type", "application/x-www-form-urlencoded")
	g := grant{status: resp.StatusCode, header: resp.Header}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatalf("/token answered %s, not JSON: %s", resp.Status, text)
	}
	return g
}

// signIn is the whole way to a token, without detours.
func signIn(t *testing.T, mcpURL string, person visitor) (grant, *attempt) {
	t.Helper()
	return register(t, mcpURL).signIn(t, person)
}

func (c *oauthClient) signIn(t *testing.T, person visitor) (grant, *attempt) {
	t.Helper()
	a, err := c.authorize(t, person)
	if err != nil {
		t.Fatal(err)
	}
	if a.answer.Get("code") == "" {
		t.Fatalf("no code: %v", a.answer)
	}
	g := a.redeem(t)
	if g.status != http.StatusOK || g.AccessToken == "" {
		t.Fatalf("/token answered %d %s", g.status, g.Error)
	}
	return g, a
}

// do sends one request, following nothing. header is name, value, name, value …
func do(t *testing.T, method, target string, body io.Reader, header ...string) (*http.Response, []byte) {
	t.Helper()
	resp, text, err := doUnlessCut(t, method, target, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return resp, text
}

// doUnlessCut is do. The error is that of an answer that ends early.
func doUnlessCut(t *testing.T, method, target string, body io.Reader, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return resp, text, err
}

func bearer(g grant) []string { return []string{"Authorization", "Bearer " + g.AccessToken} }
