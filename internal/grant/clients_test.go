package grant_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress/egresstest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const (
	appID       = "https://app.example.org/oauth/client.json"
	appCallback = "https://app.example.org/callback"
)

// publisher is https://app.example.org: the document of a client, and its keys.
type publisher struct {
	mu     sync.Mutex
	doc    map[string]any
	keys   []jose.JSONWebKey
	status int
	asked  map[string]int
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path]++
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	if r.URL.Path == "/jwks" {
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: p.keys})
		return
	}
	json.NewEncoder(w).Encode(p.doc)
}

func (p *publisher) set(status int, keys ...jose.JSONWebKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.keys = status, keys
}

func (p *publisher) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// published starts a service and a client that is known by its document.
func published(t *testing.T, doc map[string]any, edits ...func(*config.File)) (*servertest.Service, *servertest.Client, *publisher) {
	t.Helper()
	p := &publisher{doc: map[string]any{"client_id": appID, "client_name": "App", "redirect_uris": []string{appCallback}}, status: 200, asked: map[string]int{}}
	maps.Copy(p.doc, doc)
	internet := egresstest.New(t)
	internet.Site("app.example.org", p)
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{
		Edit:  servertest.Edits(append([]func(*config.File){servertest.UseOIDC(oidc)}, edits...)...),
		Files: servertest.ProviderFiles, Network: internet.Network(),
	})
	return s, &servertest.Client{Service: s, Host: servertest.Host, ID: appID, RedirectURI: appCallback, Resource: servertest.Resource}, p
}

func TestMetadataDocuments(t *testing.T) {
	t.Parallel()
	s, c, p := published(t, nil)
	b := s.NewBrowser()
	t.Run("AS-CIMD-05 the whole way", func(t *testing.T) {
		a := c.Begin()
		consent := b.Open(t, a.URL())
		if text := consent.Text(); !strings.Contains(text, "App") || !strings.Contains(text, "app.example.org") {
			t.Errorf("the page does not name the client and its host:\n%s", text)
		}
		s.MustPass(t, servertest.Resource, c.AccessToken(t, b))
		if n := p.count("/oauth/client.json"); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
	t.Run("AS-CIMD-24 a page and no redirect", func(t *testing.T) {
		for path, status := range map[string]int{
			"https://app.example.org/oauth/other.json": 400, "https://app.example.org/": 400, "https://localhost/c": 400,
			"https://" + servertest.Host + "/c": 400, "https://nowhere.example.org/c": 500, "https://app.example.org:22/c": 400,
		} {
			other := *c
			other.ID = path
			page := b.Open(t, other.Begin().URL())
			if page.Status != status || page.Location() != "" {
				t.Errorf("%s: %d %s", path, page.Status, page.Location())
			}
			want := map[int]string{400: "client_document_invalid", 500: "client_document_unreachable"}[status]
			if e := s.Log.Last(audit.AuthorizeRefused); e["reason"] != want {
				t.Errorf("%s: audit says %v", path, e)
			}
		}
	})
	t.Run("AS-CIMD-25 stale while its publisher is down, then 503 at the token endpoint", func(t *testing.T) {
		s.Clock.Advance(10 * time.Minute)
		p.set(500)
		s.MustPass(t, servertest.Resource, c.AccessToken(t, b))
		s.Clock.Advance(25 * time.Hour)
		answer := c.Token(t, url.Values{"grant_type": {"authorization_code"}, "client_id": {appID}, "code": {"x"}, "code_verifier": {"x"}})
		if answer.Status != 503 || answer.String("error") != "temporarily_unavailable" || answer.Header.Get("Retry-After") == "" {
			t.Errorf("status %d, want 503: %s", answer.Status, answer.Body)
		}
		p.set(404)
		answer = c.Token(t, url.Values{"grant_type": {"authorization_code"}, "client_id": {appID}, "code": {"x"}, "code_verifier": {"x"}})
		if answer.Status != 401 || answer.String("error") != "invalid_client" {
			t.Errorf("withdrawn: status %d, want 401: %s", answer.Status, answer.Body)
		}
	})
	t.Run("AS-META advertised", func(t *testing.T) {
		doc := s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-authorization-server").JSON
		if doc["client_id_metadata_document_supported"] != true {
			t.Error("not advertised")
		}
		methods := fmt.Sprint(doc["token_endpoint_auth_methods_supported"])
		algs := fmt.Sprint(doc["token_endpoint_auth_signing_alg_values_supported"])
		if methods != "[none client_secret_basic client_secret_post private_key_jwt]" || algs != "[RS256 PS256 ES256 ES384 EdDSA]" {
			t.Errorf("%s %s; want %q, %q", methods, algs, "[none client_secret_basic client_secret_post private_key_jwt]", "[RS256 PS256 ES256 ES384 EdDSA]")
		}
	})
}

func TestMetadataDocumentsOff(t *testing.T) {
	t.Parallel()
	s, c, p := published(t, nil, func(f *config.File) { f.Registration.MetadataDocuments.Enabled = false })
	if page := s.NewBrowser().Open(t, c.Begin().URL()); page.Status != 400 || p.count("/oauth/client.json") != 0 {
		t.Errorf("status %d, %d fetches; want 400, 0", page.Status, p.count("/oauth/client.json"))
	}
	if _, ok := s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-authorization-server").JSON["client_id_metadata_document_supported"]; ok {
		t.Error("advertised")
	}
	a := s.Register(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example.org/jwks"})
	if a.Status != 400 || a.String("error") != "invalid_client_metadata" {
		t.Errorf("status %d, want 400: %s", a.Status, a.Body)
	}
}

// clientAssertion signs claims as a client does.
func clientAssertion(t *testing.T, alg jose.SignatureAlgorithm, key any, kid string, header map[string]any, claims map[string]any) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithHeader("kid", kid)
	for name, v := range header {
		opts.WithHeader(jose.HeaderKey(name), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := json.Marshal(claims)
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := rsa.GenerateKey(rand.Reader, 2048)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	s, c, p := published(t, map[string]any{
		"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_methods_supported": []string{"none", "private_key_jwt"},
		"jwks_uri": "https://app.example.org/jwks",
	}, servertest.WithoutConsent)
	p.set(200,
		jose.JSONWebKey{Key: &key.PublicKey, KeyID: "rsa", Use: "sig"}, jose.JSONWebKey{Key: &ec.PublicKey, KeyID: "ec"}, jose.JSONWebKey{Key: ed.Public(), KeyID: "ed"},
		jose.JSONWebKey{Key: &key.PublicKey, KeyID: "pinned", Algorithm: "PS256"},
	)
	b := s.NewBrowser()
	const issuer = "https://" + servertest.Host
	claims := func(edit ...any) map[string]any {
		now := s.Clock.Now().Unix()
		m := map[string]any{"iss": appID, "sub": appID, "aud": issuer, "exp": now + 60, "iat": now, "jti": rand.Text()}
		for i := 0; i+1 < len(edit); i += 2 {
			if m[edit[i].(string)] = edit[i+1]; edit[i+1] == nil {
				delete(m, edit[i].(string))
			}
		}
		return m
	}
	sign := func(edit ...any) string { return clientAssertion(t, jose.RS256, key, "rsa", nil, claims(edit...)) }
	send := func(jwt string, edit ...string) *servertest.Answer {
		f := url.Values{
			"grant_type": {"authorization_code"}, "code": {"x"}, "code_verifier": {"x"}, "client_assertion": {jwt},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
		for i := 0; i+1 < len(edit); i += 2 {
			f.Set(edit[i], edit[i+1])
		}
		return c.Token(t, f)
	}
	// An authenticated client is told of the bad code.
	passed := func(a *servertest.Answer) bool { return a.Status == 400 && a.String("error") == "invalid_grant" }

	t.Run("AS-CIMD-18 the whole way as ChatGPT", func(t *testing.T) {
		a := c.Begin()
		form := a.TokenForm(a.Code(t, b))
		form.Set("client_assertion", sign())
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		answer := c.Token(t, form)
		if answer.Status != 200 {
			t.Fatalf("status %d, want 200: %s", answer.Status, answer.Body)
		}
		s.MustPass(t, servertest.Resource, answer.String("access_token"))
	})

	for name, jwt := range map[string]string{
		"AS-CA-06 plain": sign(), "AS-CA-06 no iat": sign("iat", nil), "AS-CA-06 no jti": sign("jti", nil),
		"AS-CA-07 aud in a list": sign("aud", []string{issuer}), "AS-CA-07 aud with a slash": sign("aud", issuer+"/"),
		"AS-CA-08 typ": clientAssertion(t, jose.RS256, key, "rsa", map[string]any{"typ": "client-authentication+jwt"}, claims()),
		"AS-CA-08 JWT": clientAssertion(t, jose.RS256, key, "rsa", map[string]any{"typ": "JWT"}, claims()),
		"AS-CA-09 PS":  clientAssertion(t, jose.PS256, key, "rsa", nil, claims()), "AS-CA-09 pinned": clientAssertion(t, jose.PS256, key, "pinned", nil, claims()),
		"AS-CA-09 ES": clientAssertion(t, jose.ES256, ec, "ec", nil, claims()), "AS-CA-09 Ed": clientAssertion(t, jose.EdDSA, ed, "ed", nil, claims()),
		"AS-CA-06 a minute late within skew": sign("exp", s.Clock.Now().Unix()-20),
	} {
		t.Run("accepted "+name, func(t *testing.T) {
			if a := send(jwt); !passed(a) {
				t.Errorf("%d %s %v", a.Status, a.Body, s.Log.Last(audit.TokenRefused))
			}
		})
	}

	now := s.Clock.Now().Unix()
	spent := sign()
	noJTI := sign("jti", nil, "exp", now+77)
	// An assertion is used up by what it is used for: a client can sign any number,
	// and what is remembered of each would fill the guard.
	for range 2 {
		if a := send(spent); !passed(a) {
			t.Errorf("AS-CA-06 with a bad code: %d %s", a.Status, a.Body)
		}
	}
	use := func(jwt string) []string {
		a := c.Begin()
		f := a.TokenForm(a.Code(t, b))
		edit := []string{"code", f.Get("code"), "code_verifier", f.Get("code_verifier")}
		if answer := send(jwt, edit...); answer.Status != 200 {
			t.Errorf("AS-CA-06 for the first time: status %d, want 200: %s", answer.Status, answer.Body)
		}
		return edit
	}
	useSpent, useNoJTI := use(spent), use(noJTI)
	unsigned := func() string {
		parts := strings.Split(sign(), ".")
		return "eyJhbGciOiJub25lIn0." + parts[1] + "."
	}()
	public, _ := json.Marshal(jose.JSONWebKey{Key: &other.PublicKey})
	var embedded any
	json.Unmarshal(public, &embedded)
	for _, tt := range []struct {
		name, jwt string
		edit      []string
		status    int
		reason    string
	}{
		{"AS-CA-06 used twice", spent, useSpent, 401, "client_assertion_used_twice"},
		{"AS-CA-06 without jti used twice", noJTI, useNoJTI, 401, "client_assertion_used_twice"},
		{"AS-CA-06 iss", sign("iss", "https://evil.example/c"), nil, 401, "invalid_client_assertion"},
		{"AS-CA-06 no iss", sign("iss", nil), nil, 401, "invalid_client_assertion"},
		{"AS-CA-06 no sub", sign("sub", nil), nil, 401, "malformed_client_authentication"},
		{"AS-CA-06 no exp", sign("exp", nil), nil, 401, "invalid_client_assertion"},
		{"AS-CA-06 expired", sign("exp", now-31), nil, 401, "invalid_client_assertion"},
		{"AS-CA-06 exp far", sign("exp", now+3600), nil, 401, "invalid_client_assertion"},
		{"AS-CA-06 nbf", sign("nbf", now+120), nil, 401, "invalid_client_assertion"},
		{"AS-CA-06 iat ahead", sign("iat", now+120), nil, 401, "invalid_client_assertion"},
		{"AS-CA-06 iat long ago", sign("iat", now-7200), nil, 401, "invalid_client_assertion"},
		{"AS-CA-07 no aud", sign("aud", nil), nil, 401, "invalid_client_assertion"},
		{"AS-CA-07 token endpoint", sign("aud", issuer+"/token"), nil, 401, "invalid_client_assertion"},
		{"AS-CA-07 two", sign("aud", []string{issuer, "https://other.example"}), nil, 401, "invalid_client_assertion"},
		{"AS-CA-07 none in list", sign("aud", []string{}), nil, 401, "invalid_client_assertion"},
		{"AS-CA-07 another server", sign("aud", "https://other.example"), nil, 401, "invalid_client_assertion"},
		{"AS-CA-08 access token", clientAssertion(t, jose.RS256, key, "rsa", map[string]any{"typ": "at+jwt"}, claims()), nil, 401, "invalid_client_assertion"},
		{"AS-CA-08 logout token", clientAssertion(t, jose.RS256, key, "rsa", map[string]any{"typ": "logout+jwt"}, claims()), nil, 401, "invalid_client_assertion"},
		{"ATK-24 key of another", clientAssertion(t, jose.RS256, other, "rsa", nil, claims()), nil, 401, "invalid_client_assertion"},
		{"ATK-24 key in the header", clientAssertion(t, jose.RS256, other, "rsa", map[string]any{"jwk": embedded}, claims()), nil, 401, "invalid_client_assertion"},
		{"ATK-24 jku", clientAssertion(t, jose.RS256, other, "x", map[string]any{"jku": "https://evil.example/jwks"}, claims()), nil, 401, "invalid_client_assertion"},
		{"ATK-24 key pinned to another alg", clientAssertion(t, jose.RS256, key, "pinned", nil, claims()), nil, 401, "invalid_client_assertion"},
		{"ATK-24 none", unsigned, nil, 401, "malformed_client_authentication"},
		{"ATK-24 HMAC with the public key", clientAssertion(t, jose.HS256, key.N.Bytes(), "rsa", nil, claims()), nil, 401, "malformed_client_authentication"},
		{"garbage", "a.b.c", nil, 401, "malformed_client_authentication"},
		{"too long", sign("x", strings.Repeat("x", 9000)), nil, 401, "malformed_client_authentication"},
		{"another type", sign(), []string{"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}, 401, "malformed_client_authentication"},
		{"AS-CA-03 other client_id", sign(), []string{"client_id", "https://app.example.org/other"}, 400, "two_client_ids"},
		{"AS-CA-02 with a secret", sign(), []string{"client_secret", "x"}, 400, "two_client_authentications"},
		{"AS-CIMD-17 without assertion", "", []string{"client_assertion_type", "", "client_id", appID}, 401, "wrong_client_authentication_method"},
		{"AS-CIMD-17 with a secret", "", []string{"client_assertion_type", "", "client_id", appID, "client_secret", "x"}, 401, "wrong_client_authentication_method"},
	} {
		t.Run("refused "+tt.name, func(t *testing.T) {
			s.Clock.Advance(3 * time.Second) // failures are throttled
			a := send(tt.jwt, tt.edit...)
			if e := s.Log.Last(audit.TokenRefused); a.Status != tt.status || e["reason"] != tt.reason {
				t.Errorf("status %d, want %v: %s %v", a.Status, tt.status, a.Body, e)
			}
		})
	}

	t.Run("a rotated key is fetched", func(t *testing.T) {
		s.Clock.Advance(time.Minute)
		p.set(200, jose.JSONWebKey{Key: &other.PublicKey, KeyID: "new"})
		before := p.count("/jwks")
		if a := send(clientAssertion(t, jose.RS256, other, "new", nil, claims())); !passed(a) {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		for range 10 {
			send(clientAssertion(t, jose.RS256, other, "unknown", nil, claims()))
		}
		if n := p.count("/jwks") - before; n != 1 {
			t.Errorf("%d fetches of keys, want 1", n)
		}
	})
	t.Run("AS-CIMD-25 keys that do not come", func(t *testing.T) {
		p.set(500)
		s.Clock.Advance(10 * time.Minute)
		if a := send(clientAssertion(t, jose.RS256, other, "new", nil, claims())); !passed(a) {
			t.Errorf("stale: %d %s", a.Status, a.Body)
		}
		s.Clock.Advance(25 * time.Hour)
		if a := send(clientAssertion(t, jose.RS256, other, "new", nil, claims())); a.Status != 503 {
			t.Errorf("status %d, want 503: %s", a.Status, a.Body)
		}
	})
}

func TestRegisteredKeys(t *testing.T) {
	t.Parallel()
	s, _, _ := published(t, nil, servertest.WithoutConsent)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c := s.NewClient(t, servertest.Host, servertest.Metadata{
		"token_endpoint_auth_method": "private_key_jwt", "jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &ec.PublicKey, KeyID: "k"}}},
	})
	a := c.Begin()
	form := a.TokenForm(a.Code(t, s.NewBrowser()))
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", clientAssertion(t, jose.ES256, ec, "k", nil, map[string]any{
		"iss": c.ID, "sub": c.ID, "aud": "https://" + servertest.Host, "exp": s.Clock.Now().Unix() + 60, "jti": "one",
	}))
	if answer := c.Token(t, form); answer.Status != 200 {
		t.Errorf("AS-DCR-11 status %d, want 200: %s", answer.Status, answer.Body)
	}
}

func TestPreRegistered(t *testing.T) {
	t.Parallel()
	const oldSecret, newSecret = "old-secret:with%odd+characters/1", "new-secret-of-the-client-22"
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	files := maps.Clone(servertest.ProviderFiles)
	files["new"] = newSecret + "\n"
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseOIDC(oidc), func(f *config.File) {
			f.Proxy.Hosts = append(f.Proxy.Hosts, servertest.NewHost("other.example.com", f.Proxy.Hosts[0].Endpoint))
			f.Registration.Dynamic.Enabled, f.Registration.MetadataDocuments.Enabled = false, false
			f.Clients = []registration.Known{
				{ID: "desktop", Name: "Desktop", RedirectURIs: []string{"http://localhost/callback"}},
				{ID: "web", RedirectURIs: []string{appCallback}, Secret: conf.NewSecret(oldSecret), SecretFiles: []string{"new"}, Resources: []string{servertest.Resource}, Scopes: []string{"notes:read"}},
				{ID: "once", RedirectURIs: []string{"http://localhost/callback"}, GrantTypes: []string{"authorization_code"}},
				{ID: "elsewhere", RedirectURIs: []string{appCallback}, Resources: []string{"https://other.example.com/mcp"}},
			}
		}),
		Files: files,
	})
	client := func(id, redirect, secret string) *servertest.Client {
		return &servertest.Client{Service: s, Host: servertest.Host, ID: id, Secret: secret, RedirectURI: redirect, Resource: servertest.Resource}
	}
	t.Run("AS-PRE-01 public, with both registrations off", func(t *testing.T) {
		s.MustPass(t, servertest.Resource, client("desktop", "http://localhost:51234/callback", "").AccessToken(t, s.NewBrowser()))
	})
	t.Run("AS-PRE-01 grant types are a limit", func(t *testing.T) {
		b := s.NewBrowser()
		for id, want := range map[string]bool{"desktop": true, "once": false} {
			c := client(id, "http://localhost:51234/callback", "")
			c.Scope = "notes:read offline_access"
			a := c.Begin()
			if answer := a.Exchange(t, a.Code(t, b)); answer.Status != 200 || (answer.String("refresh_token") != "") != want {
				t.Errorf("%s: %d %s", id, answer.Status, answer.Body)
			}
		}
	})
	t.Run("AS-PRE-01 exact redirects", func(t *testing.T) {
		if p := s.NewBrowser().Open(t, client("web", appCallback+"/x", "").Begin().URL()); p.Status != 400 || p.Location() != "" {
			t.Errorf("status %d %s; want 400, %q", p.Status, p.Location(), "")
		}
	})
	t.Run("AS-PRE-01 scopes and resources of its own", func(t *testing.T) {
		b := s.NewBrowser()
		c := client("web", appCallback, newSecret)
		a := c.Begin()
		if answer := a.Exchange(t, a.Code(t, b)); answer.Status != 200 || answer.String("scope") != "notes:read" {
			t.Errorf("status %d, want 200: %s", answer.Status, answer.Body)
		}
		limited := client("elsewhere", appCallback, "")
		if p := b.Open(t, limited.Begin().URL()); !strings.Contains(p.Location(), "error=invalid_target") {
			t.Errorf("%d %s", p.Status, p.Location())
		}
	})
	for _, secret := range []string{oldSecret, newSecret} {
		t.Run("AS-PRE-02 AS-CA-01 both secrets, sent in every way", func(t *testing.T) {
			try := func(header string, secretInBody string) int {
				form := url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "code_verifier": {"x"}}
				args := []string{"Content-Type", "application/x-www-form-urlencoded"}
				if header != "" {
					args = append(args, "Authorization", header)
				}
				if secretInBody != "" {
					form.Set("client_secret", secretInBody)
					form.Set("client_id", "web")
				}
				return s.Send(t, servertest.Request(t, "POST", "https://"+servertest.Host+"/token", form.Encode(), args...)).Status
			}
			basic := func(id, secret string) string {
				r := servertest.Request(t, "GET", "https://x/", "")
				r.SetBasicAuth(id, secret)
				return r.Header.Get("Authorization")
			}
			if got := []int{try(basic("web", url.QueryEscape(secret)), ""), try(basic("web", secret), ""), try("", secret), try(basic("web", secret+"x"), "")}; !slices.Equal(got, []int{400, 400, 400, 401}) {
				t.Errorf("%v", got)
			}
		})
	}
	if log := s.Log.String(); strings.Contains(log, oldSecret) || strings.Contains(log, newSecret) {
		t.Error("AS-PRE-02 a secret is in the log")
	}
	t.Run("AS-CA-05 failures are throttled, the right secret is not shut out", func(t *testing.T) {
		seen := map[int]int{}
		var last *servertest.Answer
		for range 40 {
			last = client("web", appCallback, "wrong").Token(t, url.Values{"grant_type": {"authorization_code"}, "client_id": {"web"}, "client_secret": {"wrong"}})
			seen[last.Status]++
		}
		if seen[429] < 15 || seen[401] == 0 || last.Header.Get("Retry-After") == "" {
			t.Errorf("%v", seen)
		}
		if e := s.Log.Last(audit.TokenRefused); e["reason"] != "client_authentication_throttled" {
			t.Errorf("audit says %v", e)
		}
		right := client("web", appCallback, newSecret)
		if a := right.Token(t, url.Values{"grant_type": {"authorization_code"}, "client_id": {"web"}, "client_secret": {newSecret}, "code": {"x"}, "code_verifier": {"x"}}); a.String("error") != "invalid_grant" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
}
