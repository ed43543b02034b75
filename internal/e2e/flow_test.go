//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// The revisions of MCP that the clients are driven with.
const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

// spoken is the revision that the two ends agree on. The Go SDK serves
// 2026-07-28, which knows no sessions, only without them.
func (st *stack) spoken(mcpURL, asked string) string {
	if mcpURL == st.statefulURL {
		return legacy
	}
	return asked
}

// wantAlice is what the MCP server must be told; the user is checked apart,
// because what names her is the service's own choice.
func wantAlice(t *testing.T, got identity) {
	t.Helper()
	mustEqual(t, "X-Auth-Request-Email", got.Email, "alice@example.com")
	mustEqual(t, "X-Auth-Request-Groups", got.Groups, "engineering,admins")
	if got.User == "" || strings.Contains(got.User, "|") {
		t.Errorf("X-Auth-Request-User is %q, want one value", got.User)
	}
}

func TestGoSDKClient(t *testing.T) {
	st := newStack(t, setup{provider: "oidc"})
	for _, version := range []string{modern, legacy} {
		t.Run(version, func(t *testing.T) {
			st.both(t, func(t *testing.T, mcpURL string) {
				session := connectGoSDK(t, mcpURL, version, alice)
				mustEqual(t, "protocol version", session.InitializeResult().ProtocolVersion, st.spoken(mcpURL, version))
				list, err := session.ListTools(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				mustEqual(t, "number of tools", len(list.Tools), 3)
				wantAlice(t, whoami(t, session))
				for _, tool := range []string{"read_notes", "write_note"} {
					if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool}); err != nil {
						t.Errorf("%s: %v", tool, err)
					}
				}
			})
		})
	}
}

// connectGoSDK lets the Go SDK do all a client does: discovery, registration,
// authorization, token, connection.
func connectGoSDK(t *testing.T, mcpURL, version string, person visitor) *mcp.ClientSession {
	t.Helper()
	session, asked, err := tryGoSDK(t, mcpURL, version, person)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { session.Close() })
	mustEqual(t, "number of sign-ins", *asked, 1)
	return session
}

// tryGoSDK is connectGoSDK where a failure may be expected. asked counts the sign-ins.
func tryGoSDK(t *testing.T, mcpURL, version string, person visitor) (session *mcp.ClientSession, asked *int, err error) {
	asked = new(int)
	session, err = dialGoSDK(t, mcpURL, version, func(start string) (url.Values, error) {
		*asked++
		return person.walk(t, start, redirectURI)
	})
	return session, asked, err
}

// dialGoSDK has signIn open what the SDK would open in a browser.
func dialGoSDK(t *testing.T, mcpURL, version string, signIn func(start string) (url.Values, error)) (*mcp.ClientSession, error) {
	handler, err := goSDKHandler(signIn)
	if err != nil {
		return nil, err
	}
	return connectBy(t, mcpURL, version, handler)
}

// goSDKHandler is what the SDK signs in with, and keeps what that brought.
func goSDKHandler(signIn func(start string) (url.Values, error)) (*auth.AuthorizationCodeHandler, error) {
	return auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "End-to-end Go client", RedirectURIs: []string{redirectURI},
			GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
		}},
		RedirectURL: redirectURI,
		AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			answer, err := signIn(args.URL)
			if err != nil {
				return nil, err
			}
			return &auth.AuthorizationResult{Code: answer.Get("code"), State: answer.Get("state"), Iss: answer.Get("iss")}, nil
		},
		RequestRefreshToken: true,
	})
}

func connectBy(t *testing.T, mcpURL, version string, handler auth.OAuthHandler) (*mcp.ClientSession, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return mcp.NewClient(&mcp.Implementation{Name: "e2e-go", Version: "1.0.0"}, nil).Connect(ctx,
		&mcp.StreamableClientTransport{Endpoint: mcpURL, OAuthHandler: handler, MaxRetries: -1},
		&mcp.ClientSessionOptions{ProtocolVersion: version})
}

func whoami(t *testing.T, session *mcp.ClientSession) identity {
	t.Helper()
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"})
	if err != nil {
		t.Fatalf("whoami: %v", err)
	}
	var who identity
	if err := json.Unmarshal([]byte(res.Content[0].(*mcp.TextContent).Text), &who); err != nil {
		t.Fatal(err)
	}
	return who
}

// tsReport is the line that hack/e2e/ts-client.mjs prints.
type tsReport struct {
	ProtocolVersion string `json:"protocolVersion"`
	RequestedScope  string `json:"requestedScope"`
	GrantedScope    string `json:"grantedScope"`
	Resource        string `json:"resource"`
	Iss             string `json:"iss"`
	TokenType       string `json:"tokenType"`
	HasRefreshToken bool   `json:"hasRefreshToken"`
	Registered      bool   `json:"registered"`
	// AuthorizationServer is the origin that it sent the person to.
	AuthorizationServer string   `json:"authorizationServer"`
	Offered             []string `json:"offered"`
	Tools               []string `json:"tools"`
	Whoami              tsCall   `json:"whoami"`
	AfterRefresh        tsCall   `json:"afterRefresh"`
	Refresh             struct {
		NewAccessToken  bool   `json:"newAccessToken"`
		NewRefreshToken bool   `json:"newRefreshToken"`
		Scope           string `json:"scope"`
	} `json:"refresh"`
	StepUp struct {
		Asked   string `json:"asked"`
		Granted string `json:"granted"`
		Refused string `json:"refused"`
		Call    tsCall `json:"call"`
		Whoami  tsCall `json:"whoami"`
	} `json:"stepUp"`
	Calls   map[string]tsCall `json:"calls"`
	Visited []string          `json:"visited"`
	Error   string            `json:"error"`
	Cause   string            `json:"cause"`
}

type tsCall struct {
	Result  json.RawMessage `json:"result"`
	IsError bool            `json:"isError"`
	Error   string          `json:"error"`
}

// identity reads the answer of whoami.
func (c tsCall) identity(t *testing.T) identity {
	t.Helper()
	var who identity
	if err := json.Unmarshal(c.Result, &who); err != nil {
		t.Errorf("whoami answered %s %s", c.Result, c.Error)
	}
	return who
}

func runTSClient(t *testing.T, mcpURL string, env ...string) tsReport {
	t.Helper()
	return drive[tsReport](t, "ts-client.mjs", env, mcpURL)
}

// drive runs one of the JavaScript drivers and reads the JSON line it prints.
func drive[T any](t *testing.T, script string, env []string, args ...string) (report T) {
	t.Helper()
	report, said, err := attempted[T](t, script, env, args...)
	if err != nil {
		t.Logf("%s: %v: %s", script, err, said)
		t.Fail()
	}
	return report
}

// attempted is drive for what may fail. said is all that the driver printed.
func attempted[T any](t *testing.T, script string, env []string, args ...string) (report T, said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node(t), append([]string{filepath.Join(drivers, script)}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var errOut output
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
		t.Fatalf("%s: %v, printed %s%s", script, err, out, &errOut)
	}
	return report, string(out) + errOut.String(), err
}

func TestTypeScriptClient(t *testing.T) {
	st := newStack(t, setup{provider: "oidc"})
	for _, c := range []struct{ mode, version string }{{"auto", modern}, {"legacy", legacy}} {
		t.Run(c.mode, func(t *testing.T) {
			st.both(t, func(t *testing.T, mcpURL string) {
				got := runTSClient(t, mcpURL, "MODE="+c.mode, "TOOLS=read_notes,write_note", "REFRESH=1")
				mustEqual(t, "protocol version", got.ProtocolVersion, st.spoken(mcpURL, c.version))
				mustEqual(t, "resource", got.Resource, mcpURL)
				mustEqual(t, "iss", got.Iss, origin(mcpURL))
				mustEqual(t, "registered", got.Registered, true)
				mustEqual(t, "number of tools", len(got.Tools), 3)
				wantAlice(t, got.Whoami.identity(t))
				for name, call := range got.Calls {
					if call.Error != "" || call.IsError {
						t.Errorf("%s: %+v", name, call)
					}
				}
				for _, scope := range []string{scopeRead, scopeWrite} {
					if !slices.Contains(got.Offered, scope) || !slices.Contains(strings.Fields(got.GrantedScope), scope) {
						t.Errorf("%s was offered in %q and granted in %q", scope, got.Offered, got.GrantedScope)
					}
				}
				mustEqual(t, "a refresh token", got.HasRefreshToken, true)
				mustEqual(t, "a new access token", got.Refresh.NewAccessToken, true)
				wantAlice(t, got.AfterRefresh.identity(t))
			})
		})
	}
}

// A person who unticks a scope gets a token without it.
func TestNarrowedConsent(t *testing.T) {
	st := newStack(t, setup{provider: "oidc"})
	person := alice
	person.keep = func(scope string) bool { return scope != scopeWrite }
	g, a := signIn(t, st.statelessURL, person)
	if !slices.Contains(a.visitor.offered, scopeWrite) {
		t.Fatalf("the consent page offered only %q", a.visitor.offered)
	}
	if scopes := strings.Fields(g.Scope); slices.Contains(scopes, scopeWrite) || !slices.Contains(scopes, scopeRead) {
		t.Errorf("granted %q", g.Scope)
	}
}

// The gateway refuses a tool whose scope was not granted. Only 2026-07-28 says
// the tool in a header.
func TestToolPolicy(t *testing.T) {
	st := newStack(t, setup{provider: "static"})
	person := alice
	person.keep = func(scope string) bool { return scope != scopeWrite }
	g, _ := signIn(t, st.statelessURL, person)
	st.stateless.requests()
	for tool, status := range map[string]int{"read_notes": http.StatusOK, "write_note": http.StatusUnauthorized} {
		resp, text := callTool(t, st.statelessURL, tool, g)
		mustEqual(t, tool+" status", resp.StatusCode, status)
		if status == http.StatusOK {
			continue
		}
		// nginx keeps the challenge of a 401 only: the step-up arrives so.
		challenge := resp.Header.Get("WWW-Authenticate")
		for _, want := range []string{`error="insufficient_scope"`, scopeWrite, scopeRead, "resource_metadata="} {
			if !strings.Contains(challenge, want) {
				t.Errorf("challenge %s lacks %s: %s", challenge, want, text)
			}
		}
	}
	mustEqual(t, "requests that reached the MCP server", len(st.stateless.requests()), 1)
}

// callTool sends the plain HTTP of a 2026-07-28 tools/call.
func callTool(t *testing.T, mcpURL, tool string, g grant) (*http.Response, []byte) {
	t.Helper()
	body, _ := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": 1, "method": "tools/call",
		"params": map[string]any{"name": tool, "arguments": map[string]any{}, "_meta": map[string]any{
			"io.modelcontextprotocol/protocolVersion":    modern,
			"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "e2e", "version": "1"},
			"io.modelcontextprotocol/clientCapabilities": map[string]any{},
		}},
	})
	return do(t, http.MethodPost, mcpURL, strings.NewReader(string(body)), append(bearer(g),
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream",
		"MCP-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", tool)...)
}

func TestDeclinedConsent(t *testing.T) {
	st := newStack(t, setup{provider: "oidc"})
	person := alice
	person.decision = "deny"
	a, err := register(t, st.statelessURL).authorize(t, person)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "error", a.answer.Get("error"), "access_denied")
	mustEqual(t, "code", a.answer.Get("code"), "")
}

// Bob exists at the identity provider, but his e-mail domain is not admitted.
func TestForeignDomain(t *testing.T) {
	st := newStack(t, setup{provider: "oidc"})
	a, err := register(t, st.statelessURL).authorize(t, visitor{username: "bob", password: "bob-password"})
	if err != nil {
		if _, onPage := err.(*pageError); !onPage {
			t.Fatal(err)
		}
		return
	}
	mustEqual(t, "error", a.answer.Get("error"), "access_denied")
	mustEqual(t, "code", a.answer.Get("code"), "")
}

func TestStaticProvider(t *testing.T) {
	st := newStack(t, setup{provider: "static"})
	st.both(t, func(t *testing.T, mcpURL string) {
		got := runTSClient(t, mcpURL)
		wantAlice(t, got.Whoami.identity(t))
	})
	t.Run("wrong password", func(t *testing.T) {
		track(t)
		_, err := register(t, st.statelessURL).authorize(t, visitor{username: "alice", password: "guess"})
		if err == nil {
			t.Fatal("signed in with a wrong password")
		}
	})
}

// Some providers put e-mail and groups into the ID token, some only in userinfo.
func TestClaimsInIDToken(t *testing.T) {
	st := newStack(t, setup{provider: "oidc", claims: "id_token"})
	wantAlice(t, whoami(t, connectGoSDK(t, st.statelessURL, modern, alice)))
}

func TestCodeOnce(t *testing.T) {
	st := newStack(t, setup{provider: "static"})
	g, a := signIn(t, st.statelessURL, alice)
	mustEqual(t, "Cache-Control", g.header.Get("Cache-Control"), "no-store")
	mustEqual(t, "token_type", g.TokenType, "Bearer")
	if again := a.redeem(t); again.status != http.StatusBadRequest || again.Error != "invalid_grant" {
		t.Errorf("a code redeemed twice: %d %s", again.status, again.Error)
	}
}

func TestRefresh(t *testing.T) {
	st := newStack(t, setup{provider: "static"})
	g, a := signIn(t, st.statelessURL, alice)
	next := a.client.refresh(t, g.RefreshToken)
	if next.status != http.StatusOK || next.RefreshToken == g.RefreshToken {
		t.Fatalf("refresh: %d %s, same token %t", next.status, next.Error, next.RefreshToken == g.RefreshToken)
	}
	mustEqual(t, "scope after refresh", next.Scope, g.Scope)
	resp, _ := callTool(t, st.statelessURL, "whoami", next)
	mustEqual(t, "status with the refreshed token", resp.StatusCode, http.StatusOK)
}

// With keys from a seed, a restart ends nothing: not the client, not the token,
// not a sign-in that has come half way.
func TestRestart(t *testing.T) {
	track(t)
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte(strings.Repeat("only for tests! ", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	st := newStack(t, setup{provider: "oidc", change: func(file map[string]any) {
		file["keys"] = map[string]any{"source": "seed", "seedFiles": []string{seed}}
	}})
	g, a := signIn(t, st.statelessURL, alice)
	session := connectGoSDK(t, st.statelessURL, modern, alice)

	// One person has the consent page open, another is at the identity provider,
	// and one client has its code in the hand.
	reading, away := alice, alice
	half, start := a.client.begin(&reading)
	page, resp, err := reading.fetch(t, http.MethodGet, start, "", "")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("consent page: %v %v", err, resp)
	}
	other, start := a.client.begin(&away)
	atProvider := away.consent(t, start)
	begun, err := a.client.authorize(t, alice)
	if err != nil {
		t.Fatal(err)
	}

	before := st.service
	before.stop(t)
	if before.err != nil {
		t.Errorf("SIGTERM ended the service with %v", before.err)
	}
	st.startService(t, serviceBinary(t))

	resp, _ = callTool(t, st.statelessURL, "whoami", g)
	mustEqual(t, "status with the token of before", resp.StatusCode, http.StatusOK)
	wantAlice(t, whoami(t, session))
	if again, err := a.client.authorize(t, alice); err != nil || again.answer.Get("code") == "" {
		t.Errorf("the client of before: %v", err)
	}
	mustEqual(t, "refresh with the token of before", a.client.refresh(t, g.RefreshToken).status, http.StatusOK)
	mustEqual(t, "redeeming the code of before", begun.redeem(t).status, http.StatusOK)

	f := reading.firstForm(page)
	f.action = origin(st.statelessURL) + f.action
	if half.answer, err = reading.submit(t, f, origin(st.statelessURL), redirectURI); err != nil {
		t.Fatalf("the consent page of before: %v", err)
	}
	mustEqual(t, "a sign-in whose consent page was open", half.redeem(t).status, http.StatusOK)
	if other.answer, err = away.walk(t, atProvider, redirectURI); err != nil {
		t.Fatalf("back from the provider: %v", err)
	}
	mustEqual(t, "a sign-in that was at the provider", other.redeem(t).status, http.StatusOK)
}

// Nothing that could be used again appears in the log, at debug level.
func TestLogHoldsNoSecret(t *testing.T) {
	st := newStack(t, setup{provider: "oidc"})
	g, a := signIn(t, st.statelessURL, alice)
	next := a.client.refresh(t, g.RefreshToken)
	for _, g := range []grant{g, next} {
		callTool(t, st.statelessURL, "whoami", g)
	}
	a.redeem(t) // a failure is logged as well
	log := st.logs()
	if log == "" {
		t.Error("the log is empty: this test proves nothing")
	}
	for what, secret := range map[string]string{
		"access token": g.AccessToken, "refresh token": g.RefreshToken, "second access token": next.AccessToken,
		"second refresh token": next.RefreshToken, "code": a.answer.Get("code"), "verifier": a.verifier,
		"client state": a.state, "password": alice.password, "client secret": clientSecret,
	} {
		if secret != "" && strings.Contains(log, secret) {
			t.Errorf("the log holds the %s", what)
		}
	}
}
