package server_test

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// principal is one kind of credential in the table of TestPrincipals: how a service
// comes to take it, and a credential of one person with scopes.
type principal struct {
	name string
	// edit turns the kind on.
	edit func(*config.File)
	// subject is the full subject of the person, in group "staff".
	subject string
	// clientKind is what rules call the kind of its client.
	clientKind string
	// present returns a credential with these scopes.
	present func(t *testing.T, s *servertest.Service, scopes string) string
	// spelling is what the challenge calls the scope notes:write; "" for a kind that
	// no sign-in gives more, which is refused in words about API keys.
	spelling string
	// lives is how long the credential does, 0 for an hour.
	lives time.Duration
	// ownTokens: it is not taken where tokens of this service are not.
	ownTokens bool
}

// expired is the reason once the credential has ended.
func (p principal) expired() string {
	if p.spelling == "" {
		return "api_key_expired"
	}
	return "expired_token"
}

// principals are the kinds of credential. A new kind adds a line here.
func principals(t *testing.T) []principal {
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Member("jane", "staff"))
	as, named := oauthtest.NewIssuer(t), oauthtest.NewIssuer(t)
	foreign := func(as *oauthtest.Issuer, s *servertest.Service, scopes string) string {
		return as.Token(as.Claims(servertest.Resource, s.Clock.Now(), map[string]any{"sub": "jane", "scope": scopes, "groups": []string{"staff"}}), nil)
	}
	return []principal{ // own tokens are the first
		{
			name: "own token", ownTokens: true, edit: servertest.UseOIDC(idp), subject: strings.TrimPrefix(idp.Issuer, "http://") + ":jane", clientKind: rule.KindDynamic,
			present: func(t *testing.T, s *servertest.Service, scopes string) string {
				c := s.NewClient(t, servertest.Host, nil)
				c.Scope = scopes
				return c.AccessToken(t, s.NewBrowser())
			},
			spelling: "notes:write",
		},
		{
			name: "JWT of another issuer", edit: servertest.UseIssuer(as.URL, nil), subject: strings.TrimPrefix(as.URL, "http://") + ":jane",
			clientKind: rule.KindExternal, spelling: "notes:write",
			present: func(_ *testing.T, s *servertest.Service, scopes string) string { return foreign(as, s, scopes) },
		},
		{
			name: "JWT of an issuer with names of its own, and no own tokens",
			edit: servertest.Edits(servertest.WithoutOwnTokens, servertest.UseIssuer(named.URL, func(f *issuer.File) {
				f.ScopeMap = map[string]string{"api://notes/write": "notes:write", "api://notes/read": "notes:read"}
			})),
			subject: strings.TrimPrefix(named.URL, "http://") + ":jane", clientKind: rule.KindExternal,
			present: func(_ *testing.T, s *servertest.Service, scopes string) string {
				return foreign(named, s, strings.ReplaceAll(scopes, "notes:", "api://notes/"))
			},
			spelling: "api://notes/write",
		},
		opaque(t),
		apiKeys(),
		personalKeys(t),
	}
}

// personalKeys is the kind that people make for themselves.
func personalKeys(t *testing.T) principal {
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Member("jane", "staff"))
	return principal{
		name: "personal key", ownTokens: true, edit: servertest.Edits(servertest.UseOIDC(idp), servertest.WithAccount), subject: strings.TrimPrefix(idp.Issuer, "http://") + ":jane",
		clientKind: rule.KindKey, lives: 30 * 24 * time.Hour,
		present: func(t *testing.T, s *servertest.Service, scopes string) string {
			servertest.WaitForTools(t, s)
			return servertest.PersonalKey(t, s.NewBrowser(), strings.Fields(scopes)...)
		},
	}
}

// opaque is the kind whose authorization server is asked about each token.
func opaque(t *testing.T) principal {
	var known sync.Map // token → what the server says of it
	as := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said, ok := known.Load(r.PostFormValue("token"))
		if !ok {
			said = map[string]any{"active": false}
		}
		_ = json.NewEncoder(w).Encode(said)
	}))
	t.Cleanup(as.Close)
	return principal{
		name: "opaque token", subject: strings.TrimPrefix(as.URL, "http://") + ":jane", clientKind: rule.KindExternal, spelling: "notes:write",
		edit: servertest.Edits(servertest.UseIssuer(as.URL, nil), func(f *config.File) {
			how := &f.Proxy.Hosts[0].AuthorizationServers[0].Introspection
			how.Endpoint, how.ClientID, how.ClientSecret = as.URL, "us", conf.NewSecret("the-secret-of-this-service")
		}),
		present: func(_ *testing.T, s *servertest.Service, scopes string) string {
			token := rand.Text()
			known.Store(token, map[string]any{
				"active": true, "sub": "jane", "client_id": "editor", "scope": scopes, "aud": servertest.Resource, "groups": []string{"staff"},
				"exp": s.Clock.Now().Add(time.Hour).Unix(),
			})
			return token
		},
	}
}

// apiKeys is the kind that the configuration knows by hashes.
func apiKeys() principal {
	keys, entries := map[string]string{}, []apikey.KeyFile{}
	for _, scopes := range []string{"notes:read", "notes:read notes:write"} {
		key, hash := apikey.NewKey()
		keys[scopes] = key
		entries = append(entries, apikey.KeyFile{
			Name: fmt.Sprint("key-", len(keys)), Subject: "jane", Hashes: []string{hash}, Scopes: strings.Fields(scopes), Groups: []string{"staff"},
			Expires: time.Now().Add(time.Hour).Format(time.RFC3339),
		})
	}
	return principal{
		name: "API key", subject: "apikey:jane", clientKind: rule.KindKey,
		edit: func(f *config.File) {
			f.Proxy.Hosts[0].APIKeys.Enabled, f.APIKeys.Keys = true, entries
		},
		present: func(_ *testing.T, _ *servertest.Service, scopes string) string { return keys[scopes] },
	}
}

// Behind the principal everything is one: rules, tools, step-up, deny-list, audit.
func TestPrincipals(t *testing.T) {
	for _, p := range principals(t) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			start := func(t *testing.T, rules ...rule.Rule) *servertest.Service {
				s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(p.edit, func(f *config.File) { f.Policy.Rules = rules })})
				p.waitForTools(t, s)
				return s
			}
			t.Run("scopes, identity and audit", func(t *testing.T) { p.passes(t, start(t)) })
			t.Run("step-up", func(t *testing.T) { p.stepsUp(t, start(t)) })
			t.Run("rules", func(t *testing.T) { p.obeysRules(t, start) })
			t.Run("deny-list", func(t *testing.T) { p.isDenied(t) })
		})
	}
}

// waitForTools waits until the service knows the MCP server's tools.
func (p principal) waitForTools(t *testing.T, s *servertest.Service) {
	t.Helper()
	until(t, func() bool {
		return strings.Contains(s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-protected-resource/mcp").Body, cmp.Or(p.spelling, "notes:write"))
	})
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("that never comes")
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (p principal) passes(t *testing.T, s *servertest.Service) {
	raw := p.present(t, s, "notes:read")
	if got := servertest.User(t, s, raw); got != p.subject {
		t.Errorf("user %q, want %q", got, p.subject)
	}
	if e := s.Log.Last(audit.FirstUse); e["subject"] != p.subject || e["client"] == "" || e["resource"] != servertest.Resource {
		t.Errorf("audit: %v", e)
	}
	if a := servertest.CallTool(t, s, raw, "notes_list"); a.Status != http.StatusOK {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	s.Clock.Advance(cmp.Or(p.lives, time.Hour) + time.Hour)
	if a := servertest.CallTool(t, s, raw, "notes_list"); a.Status != http.StatusUnauthorized || s.Log.Last(audit.AccessDenied)["reason"] != p.expired() {
		t.Errorf("expired: %d %v", a.Status, s.Log.Last(audit.AccessDenied))
	}
}

func (p principal) stepsUp(t *testing.T, s *servertest.Service) {
	a := servertest.CallTool(t, s, p.present(t, s, "notes:read"), "notes_create")
	challenge := a.Header.Get("WWW-Authenticate")
	if p.spelling == "" {
		if e := s.Log.Last(audit.AccessDenied); a.Status != http.StatusForbidden || challenge != "" || e["reason"] != "api_key_not_enough" || e["subject"] != p.subject || e["mcp_tool"] != "notes_create" {
			t.Errorf("%d %s, audit %v", a.Status, challenge, e)
		}
	} else if a.Status != http.StatusUnauthorized || !strings.Contains(challenge, `error="insufficient_scope"`) || !strings.Contains(challenge, p.spelling) {
		t.Errorf("%d %s", a.Status, challenge)
	} else if e := s.Log.Last(audit.AccessDenied); e["reason"] != "insufficient_scope" || e["subject"] != p.subject || e["mcp_tool"] != "notes_create" {
		t.Errorf("audit: %v", e)
	}
	if a := servertest.CallTool(t, s, p.present(t, s, "notes:read notes:write"), "notes_create"); a.Status != http.StatusOK {
		t.Errorf("with the scope: %d", a.Status)
	}
}

func (p principal) obeysRules(t *testing.T, start func(*testing.T, ...rule.Rule) *servertest.Service) {
	for name, tt := range map[string]struct {
		rules     []rule.Rule
		add, list bool // whether the tools may be called
	}{
		"a group may read":         {[]rule.Rule{{Effect: "allow", Groups: []string{"staff"}, Scopes: []string{"notes:read"}}}, false, true},
		"one tool of a scope":      {[]rule.Rule{{Effect: "allow", Users: []string{p.subject}, Tools: []string{"notes_create"}}}, true, false},
		"a tool is denied":         {[]rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Groups: []string{"staff"}, Tools: []string{"notes_create"}}}, false, true},
		"the kind of client may":   {[]rule.Rule{{Effect: "allow", ClientKinds: []string{p.clientKind}}}, true, true},
		"the person may not write": {[]rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Users: []string{p.subject}, Scopes: []string{"notes:write"}}}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, tt.rules...)
			raw := p.present(t, s, "notes:read notes:write")
			for tool, may := range map[string]bool{"notes_create": tt.add, "notes_list": tt.list} {
				if a := servertest.CallTool(t, s, raw, tool); (a.Status == http.StatusOK) != may {
					t.Errorf("%s: %d, audit %v", tool, a.Status, s.Log.Last(audit.AccessDenied))
				}
			}
		})
	}
}

func (p principal) isDenied(t *testing.T) {
	path := t.TempDir() + "/deny.yaml"
	write(t, path, "subjects: []\n")
	files := maps.Clone(servertest.ProviderFiles)
	files[path] = "subjects: []\n"
	s := servertest.Start(t, servertest.Options{
		Files: files, Edit: servertest.Edits(p.edit, func(f *config.File) { f.DenyList.File = path }),
	})
	raw := p.present(t, s, "notes:read")
	s.MustPass(t, servertest.Resource, raw)
	write(t, path, "subjects: ["+strconv.Quote(p.subject)+"]\n")
	until(t, func() bool { return s.Ask(t, servertest.Resource, raw).Status == http.StatusUnauthorized })
	if e := s.Log.Last(audit.AccessDenied); e["reason"] != "denied_by_operator" || e["subject"] != p.subject {
		t.Errorf("audit: %v", e)
	}
}

// A credential of each kind is refused wherever only another kind is taken.
func TestCrossUses(t *testing.T) {
	all := principals(t)
	for i, taken := range all {
		t.Run(taken.name, func(t *testing.T) {
			t.Parallel()
			alone := taken.edit
			if !taken.ownTokens {
				alone = servertest.Edits(servertest.WithoutOwnTokens, taken.edit)
			}
			at := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: alone})
			at.MustPass(t, servertest.Resource, taken.present(t, at, "notes:read"))
			for j, other := range all {
				if i == j {
					continue
				}
				from := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: other.edit, Clock: at.Clock})
				at.MustNotPass(t, servertest.Resource, other.present(t, from, "notes:read"), "invalid_token")
			}
		})
	}
}
