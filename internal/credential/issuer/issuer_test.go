package issuer

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// clock is one that a test moves.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

type fixture struct {
	*Kind
	*clock
	notes, wiki *resource.Resource
	mu          sync.Mutex
	fetches     []jwks.Fetch
}

// newFixture has two MCP servers, and takes tokens at the first.
func newFixture(tb testing.TB, files ...File) *fixture {
	tb.Helper()
	f := &fixture{clock: new(clock)}
	table, err := resource.NewTable([]resource.Entry{
		{Host: "mcp.example.com", Scheme: "https", Path: "/notes", Endpoint: &url.URL{}}, {Host: "mcp.example.com", Scheme: "https", Path: "/wiki", Endpoint: &url.URL{}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	f.notes, f.wiki = table.All()[0], table.All()[1]
	f.Kind = New(Options{Now: f.now, Report: func(r jwks.Fetch) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fetches = append(f.fetches, r)
	}})
	for _, c := range resolved(tb, files...) {
		f.Accept(f.notes, c)
	}
	return f
}

// resolved checks entries as the configuration does.
func resolved(tb testing.TB, files ...File) []Config {
	tb.Helper()
	check := &conf.Check{}
	for i := range files {
		claims := files[i].Claims
		conf.SetDefaults(&files[i])
		if claims != (ClaimsFile{}) {
			files[i].Claims = claims
			for _, f := range []struct {
				into     *string
				standard string
			}{{&files[i].Claims.Subject, "sub"}, {&files[i].Claims.Groups, "groups"}, {&files[i].Claims.Email, "email"}, {&files[i].Claims.Name, "name"}, {&files[i].Claims.Tenant, "tid"}} {
				if *f.into == "" {
					*f.into = f.standard
				}
			}
		}
	}
	list := ResolveAll(check, "servers", files)
	if err := check.Err(); err != nil {
		tb.Fatal(err)
	}
	return list
}

// present does what forwardauth does with a credential that it does not remember.
func (f *fixture) present(ctx context.Context, raw string, r *resource.Resource) (credential.Principal, reasons.Reason) {
	if !f.Recognises(raw, r) {
		return credential.Principal{}, "not recognised"
	}
	p, err := f.Verify(raw, r)
	if errors.Is(err, credential.ErrUnknown) {
		p, err = f.Ask(ctx, raw, r)
	}
	if err == nil {
		return p, reasons.Allowed
	}
	refused, _ := errors.AsType[credential.Refused](err)
	return p, refused.Reason
}

func with(name string, value any) map[string]any { return map[string]any{name: value} }

// thumb is the thumbprint of some key.
var thumb = strings.Repeat("t", 42) + "s"

// A token that is bound to a key says so to the decision, which asks for the proof.
func TestBoundToken(t *testing.T) {
	as := oauthtest.NewIssuer(t)
	f := newFixture(t, File{Issuer: as.URL})
	for name, claims := range map[string]map[string]any{
		"by its thumbprint": {"cnf": map[string]any{"jkt": thumb}}, "as Keycloak says it": {"typ": "DPoP", "cnf": map[string]any{"jkt": thumb, "kc-jkt-type": "DPoP"}},
	} {
		if p, reason := f.present(t.Context(), as.Token(as.Claims(f.notes.URI, f.now(), claims), nil), f.notes); reason != reasons.Allowed || p.Bound != thumb {
			t.Errorf("%s: %s, bound to %q", name, reason, p.Bound)
		}
	}
	if p, reason := f.present(t.Context(), as.Token(as.Claims(f.notes.URI, f.now(), nil), nil), f.notes); reason != reasons.Allowed || p.Bound != "" {
		t.Errorf("an ordinary token: %s, bound to %q", reason, p.Bound)
	}
}

// Every wrong token is refused with a reason of its own, whatever else is right
// with it.
func TestWrongTokens(t *testing.T) {
	as, other := oauthtest.NewIssuer(t), oauthtest.NewIssuer(t)
	f := newFixture(t, File{Issuer: as.URL, Tenants: []string{"corp"}, Clients: []string{"cli"}}, File{Issuer: other.URL})
	uri, now := f.notes.URI, f.now()
	claims := func(differs map[string]any) map[string]any {
		all := map[string]any{"tid": "corp"}
		maps.Copy(all, differs)
		return as.Claims(uri, now, all)
	}
	token := func(differs map[string]any) string { return as.Token(claims(differs), nil) }
	header := func(name string, value any) string { return as.Token(claims(nil), with(name, value)) }
	good := token(nil)
	if p, reason := f.present(t.Context(), good, f.notes); reason != reasons.Allowed || p.Subject != strings.TrimPrefix(as.URL, "http://")+":1234" {
		t.Fatal(p, reason)
	}
	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		raw  string
		want reasons.Reason
	}{
		"issuer that is not configured":        {token(with("iss", "https://evil.example")), reasons.UnknownIssuer},
		"issuer with a slash more":             {token(with("iss", as.URL+"/")), reasons.UnknownIssuer},
		"no issuer":                            {token(with("iss", nil)), reasons.UnknownIssuer},
		"signed by another accepted issuer":    {other.Token(claims(nil), nil), reasons.BadSignature},
		"kid of another issuer":                {other.Token(claims(with("iat", now.Add(-time.Hour).Unix())), with("kid", "key-of-other")), reasons.UnknownSigningKey},
		"audience of another server":           {token(with("aud", f.wiki.URI)), reasons.WrongAudience},
		"audience that begins like it":         {token(with("aud", uri+"/x")), reasons.WrongAudience},
		"audience in another case":             {token(with("aud", strings.ToUpper(uri))), reasons.WrongAudience},
		"several others":                       {token(with("aud", []string{"account", f.wiki.URI})), reasons.WrongAudience},
		"no audience":                          {token(with("aud", nil)), reasons.NoAudience},
		"empty list of audiences":              {token(with("aud", []string{})), reasons.NoAudience},
		"audience that is no text":             {token(with("aud", 7)), reasons.MalformedToken},
		"ID token by its nonce":                {token(with("nonce", "n")), reasons.WrongTokenType},
		"ID token by its at_hash":              {token(with("at_hash", "n")), reasons.WrongTokenType},
		"ID token of Keycloak":                 {token(with("typ", "ID")), reasons.WrongTokenType},
		"refresh token of Keycloak":            {token(with("typ", "Refresh")), reasons.WrongTokenType},
		"ID token of Cognito":                  {token(with("token_use", "id")), reasons.WrongTokenType},
		"ID token for the client itself":       {as.Token(claims(map[string]any{"aud": []string{uri, "cli"}, "scope": nil}), with("typ", "JWT")), reasons.WrongTokenType},
		"logout token by its header":           {header("typ", "logout+jwt"), reasons.WrongTokenType},
		"logout token by its claims":           {token(with("events", map[string]any{})), reasons.WrongTokenType},
		"security event":                       {header("typ", "secevent+jwt"), reasons.WrongTokenType},
		"proof of DPoP":                        {header("typ", "dpop+jwt"), reasons.WrongTokenType},
		"HS256 with the public key":            {hmacSigned(as, payload), reasons.AlgorithmRefused},
		"alg none":                             {unsigned(payload), reasons.AlgorithmRefused},
		"algorithm that is not configured":     {header("alg", "ES512"), reasons.AlgorithmRefused},
		"no algorithm":                         {header("alg", nil), reasons.AlgorithmRefused},
		"algorithm of another key":             {as.Token(claims(with("iat", now.Add(-time.Hour).Unix())), with("alg", "RS256")), reasons.UnknownSigningKey},
		"jwk in the header":                    {header("jwk", map[string]any{"kty": "EC"}), reasons.ForbiddenTokenHeader},
		"jku in the header":                    {header("jku", "https://evil.example/keys"), reasons.ForbiddenTokenHeader},
		"x5u in the header":                    {header("x5u", "https://evil.example/keys"), reasons.ForbiddenTokenHeader},
		"x5c in the header":                    {header("x5c", []string{"AA"}), reasons.ForbiddenTokenHeader},
		"crit in the header":                   {header("crit", []string{"exp"}), reasons.ForbiddenTokenHeader},
		"b64 in the header":                    {header("b64", false), reasons.ForbiddenTokenHeader},
		"a member in another case":             {header("JKU", "https://evil.example/keys"), reasons.ForbiddenTokenHeader},
		"a token in the token":                 {header("cty", "JWT"), reasons.ForbiddenTokenHeader},
		"kid that is no text":                  {header("kid", 1), reasons.ForbiddenTokenHeader},
		"not yet valid":                        {token(with("nbf", now.Add(time.Minute).Unix())), reasons.TokenNotYetValid},
		"issued in the future":                 {token(with("iat", now.Add(time.Minute).Unix())), reasons.TokenNotYetValid},
		"expired by more than the leeway":      {token(with("exp", now.Add(-11*time.Second).Unix())), reasons.ExpiredToken},
		"no expiry":                            {token(with("exp", nil)), reasons.MalformedToken},
		"expiry that is a text":                {token(with("exp", "4102444800")), reasons.MalformedToken},
		"expiry beyond every date":             {token(with("exp", 1e300)), reasons.MalformedToken},
		"another tenant":                       {token(with("tid", "other")), reasons.WrongTenant},
		"no tenant":                            {token(with("tid", nil)), reasons.WrongTenant},
		"another client":                       {token(with("client_id", "other")), reasons.ClientNotAccepted},
		"no client":                            {token(with("client_id", nil)), reasons.ClientNotAccepted},
		"subject that breaks a header":         {token(with("sub", "a\r\nb")), reasons.NoSubject},
		"subject that is a list":               {token(with("sub", []string{"a"})), reasons.NoSubject},
		"bound to what is no thumbprint":       {token(with("cnf", map[string]any{"jkt": "x"})), reasons.BoundToken},
		"bound to a key twice":                 {token(with("cnf", map[string]any{"jkt": thumb, "kid": "1"})), reasons.BoundToken},
		"bound to a certificate":               {token(with("cnf", map[string]any{"x5t#S256": thumb})), reasons.BoundToken},
		"bound to a certificate and a key":     {token(with("cnf", map[string]any{"x5t#S256": thumb, "jkt": thumb})), reasons.BoundToken},
		"bound to a key that it holds":         {token(with("cnf", map[string]any{"jkt": thumb, "jwk": map[string]any{"kty": "EC"}})), reasons.BoundToken},
		"bound to nothing":                     {token(with("cnf", map[string]any{})), reasons.BoundToken},
		"bound to a text":                      {token(with("cnf", thumb)), reasons.BoundToken},
		"bound to a list":                      {token(with("cnf", map[string]any{"jkt": []string{thumb}})), reasons.BoundToken},
		"bound, it does not say to what":       {token(with("typ", "DPoP")), reasons.BoundToken},
		"delegated":                            {token(with("act", map[string]any{"sub": "agent"})), reasons.DelegatedToken},
		"signature of another token":           {parts[0] + "." + parts[1] + "." + strings.Split(token(nil), ".")[2], reasons.BadSignature},
		"cut signature":                        {good[:len(good)-10], reasons.BadSignature},
		"a member twice":                       {as.Sign(bytes.Replace(payload, []byte(`"sub":`), []byte(`"sub":"root","sub":`), 1), nil), reasons.MalformedToken},
		"a member twice, deep":                 {as.Sign(bytes.Replace(payload, []byte(`"sub":`), []byte(`"x":{"a":1,"a":2},"sub":`), 1), nil), reasons.MalformedToken},
		"trailing data":                        {as.Sign(append(bytes.Clone(payload), "{}"...), nil), reasons.MalformedToken},
		"too deep":                             {as.Sign(bytes.Replace(payload, []byte(`"sub":`), []byte(`"x":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+`,"sub":`), 1), nil), reasons.MalformedToken},
		"larger than any":                      {token(with("x", strings.Repeat("x", credential.MaxBytes))), "not recognised"},
		"encrypted":                            {good + ".AA.AA", "not recognised"},
		"client whose id is a person's":        {token(with("sub", "cli")), reasons.Allowed}, // as a client: see TestSubjects
		"of several KB, which is within bound": {token(with("groups", strings.Split(strings.Repeat("group-of-people,", 400), ","))), reasons.Allowed},
	} {
		t.Run(name, func(t *testing.T) {
			if p, reason := f.present(t.Context(), tt.raw, f.notes); reason != tt.want {
				t.Errorf("%q, want %q; %+v", reason, tt.want, p)
			}
			if reason := tt.want; reason != reasons.Allowed && reason != "not recognised" && reason.Meaning() == "" {
				t.Errorf("%q has no meaning", reason)
			}
		})
	}
	t.Run("at a server that takes none", func(t *testing.T) {
		if f.Recognises(good, f.wiki) {
			t.Error("recognised where the kind is off")
		}
		if _, err := f.Verify(good, f.wiki); err == nil {
			t.Error("verified where the kind is off")
		}
	})
}

func unsigned(payload []byte) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
}

func hmacSigned(as *oauthtest.Issuer, payload []byte) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt","kid":"key-1"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	mac := hmac.New(sha256.New, as.JWKS())
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// The types that real servers send are accepted by default: Keycloak and Entra say
// JWT, Okta and Cognito nothing.
func TestTypes(t *testing.T) {
	as := oauthtest.NewIssuer(t)
	f := newFixture(t, File{Issuer: as.URL})
	for _, typ := range []any{"at+jwt", "application/at+jwt", "AT+JWT", "JWT", nil} {
		if _, reason := f.present(t.Context(), as.Token(as.Claims(f.notes.URI, f.now(), nil), with("typ", typ)), f.notes); reason != reasons.Allowed {
			t.Errorf("%v: %s", typ, reason)
		}
	}
	strict := newFixture(t, File{Issuer: as.URL, Types: []string{"at+jwt"}})
	if _, reason := strict.present(t.Context(), as.Token(as.Claims(f.notes.URI, f.now(), nil), with("typ", "JWT")), strict.notes); reason != reasons.WrongTokenType {
		t.Errorf("a type that is not configured: %s", reason)
	}
}

// No one gets another's subject: a client that acts for itself has a
// namespace of its own, and no subject may be spelled to look like another issuer's.
func TestSubjects(t *testing.T) {
	as := oauthtest.NewIssuer(t)
	list := resolved(t, File{Issuer: as.URL})
	list[0].Namespace, list[0].Reserved = "sso.example", []string{"sso.example:8443/corp"}
	f := newFixture(t)
	f.Accept(f.notes, list[0])
	for name, tt := range map[string]struct {
		differs map[string]any
		subject string
		want    reasons.Reason
	}{
		"a person":                    {nil, "sso.example:1234", reasons.Allowed},
		"a number":                    {with("sub", 77), "sso.example:77", reasons.Allowed},
		"a client, without a subject": {with("sub", nil), "client@sso.example:cli", reasons.Allowed},
		"a client, by its own id":     {with("sub", "cli"), "client@sso.example:cli", reasons.Allowed},
		"a client of Keycloak":        {map[string]any{"client_id": nil, "azp": "svc", "sub": nil}, "client@sso.example:svc", reasons.Allowed},
		"spelled like another":        {with("sub", "8443/corp:1234"), "", reasons.NoSubject},
		"with a colon":                {with("sub", "8443/corporate:1234"), "sso.example:8443/corporate:1234", reasons.Allowed},
		"an empty one":                {with("sub", ""), "", reasons.NoSubject},
	} {
		t.Run(name, func(t *testing.T) {
			p, reason := f.present(t.Context(), as.Token(as.Claims(f.notes.URI, f.now(), tt.differs), nil), f.notes)
			if reason != tt.want || p.Subject != tt.subject {
				t.Errorf("%q %s", p.Subject, reason)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	as := oauthtest.NewIssuer(t)
	f := newFixture(t, File{
		Issuer: as.URL, Audiences: []string{"api://notes", "notes-client"}, ScopeMap: map[string]string{"api://notes/read": "read"}, AddScopes: []string{"mcp"},
		Claims: ClaimsFile{Groups: "/realm_access/roles", Subject: "oid"},
	})
	differs := map[string]any{
		"aud": "api://notes", "scope": nil, "scp": []string{"api://notes/read", "write", "bad scope"}, "client_id": nil, "azp": "app", "oid": "u1", "email": "jane@example.com", "email_verified": true, "name": "Jane",
		"realm_access": map[string]any{"roles": []string{"staff"}},
	}
	p, reason := f.present(t.Context(), as.Token(as.Claims("", f.now(), differs), nil), f.notes)
	if reason != reasons.Allowed || p.Scope != "mcp read write bad scope" || p.Email != "jane@example.com" || p.Name != "Jane" || strings.Join(p.Groups, " ") != "staff" ||
		!strings.HasSuffix(p.Client, ":app") || !strings.HasSuffix(p.Subject, ":u1") || p.Audience != f.notes.URI {
		t.Errorf("%s %+v", reason, p)
	}
	if names := resolved(t, File{Issuer: as.URL, ScopeMap: map[string]string{"api://notes/read": "read"}})[0].ScopeNames(); names["read"] != "api://notes/read" {
		t.Errorf("the other way: %v", names)
	}
	differs["email_verified"] = false
	if p, _ := f.present(t.Context(), as.Token(as.Claims("", f.now(), differs), nil), f.notes); p.Email != "" {
		t.Errorf("an address that is not verified: %q", p.Email)
	}
	differs["realm_access"] = "odd"
	if p, _ := f.present(t.Context(), as.Token(as.Claims("", f.now(), differs), nil), f.notes); !p.GroupsCut || !p.Outsider.Person.Unknown.Groups {
		t.Error("groups that cannot be read count as none")
	}
	differs["aud"], differs["scp"] = "notes-client", nil
	differs["azp"] = "notes-client"
	if _, reason := f.present(t.Context(), as.Token(as.Claims("", f.now(), differs), with("typ", nil)), f.notes); reason != reasons.WrongTokenType {
		t.Errorf("an ID token whose audience, the client, is accepted: %s", reason)
	}
}

// Two issuers with the same key and the same kid stay two.
func TestTwoIssuersWithOneKey(t *testing.T) {
	one, two := oauthtest.NewIssuer(t), oauthtest.NewIssuer(t)
	one.Share(two)
	f := newFixture(t, File{Issuer: one.URL})
	f.Accept(f.wiki, resolved(t, File{Issuer: two.URL})[0])
	if _, reason := f.present(t.Context(), one.Token(one.Claims(f.notes.URI, f.now(), nil), nil), f.notes); reason != reasons.Allowed {
		t.Error(reason)
	}
	if _, reason := f.present(t.Context(), two.Token(two.Claims(f.notes.URI, f.now(), nil), nil), f.notes); reason != reasons.UnknownIssuer {
		t.Errorf("the other issuer's token: %s", reason)
	}
}

// An issuer that is not configured makes no request.
func TestUnknownIssuerCausesNoRequest(t *testing.T) {
	as, stranger := oauthtest.NewIssuer(t), oauthtest.NewIssuer(t)
	f := newFixture(t, File{Issuer: as.URL})
	for range 100 {
		f.present(t.Context(), stranger.Token(stranger.Claims(f.notes.URI, f.now(), nil), with("jku", stranger.URL+"/keys")), f.notes)
	}
	if stranger.Fetches()+as.Fetches() != 0 {
		t.Errorf("%d and %d requests", stranger.Fetches(), as.Fetches())
	}
}

func TestKeysFromAFile(t *testing.T) {
	as := oauthtest.NewIssuer(t)
	list := resolved(t, File{Issuer: as.URL})
	list[0].JWKSFile = "/keys.json"
	f := newFixture(t)
	f.Accept(f.notes, list[0])
	raw := as.Token(as.Claims(f.notes.URI, f.now(), nil), nil)
	if _, reason := f.present(t.Context(), raw, f.notes); reason != reasons.IssuerKeysUnavailable {
		t.Errorf("before the file: %s", reason)
	}
	load := f.Files()["/keys.json"]
	if n, err := load(as.JWKS()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	p, reason := f.present(t.Context(), raw, f.notes)
	if reason != reasons.Allowed || p.Until != 0 {
		t.Error(reason, p.Until)
	}
	for _, broken := range []string{"", "{", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`} {
		if _, err := load([]byte(broken)); err == nil {
			t.Errorf("%q is taken", broken)
		}
	}
	if p.Withdrawn.Load() {
		t.Error("content that cannot be used withdrew a key")
	}
	as.Rotate(t, "key-2")
	as.Withdraw("key-1")
	if _, err := load(as.JWKS()); err != nil {
		t.Fatal(err)
	}
	if !p.Withdrawn.Load() {
		t.Error("a key that is gone is not withdrawn")
	}
	if _, reason := f.present(t.Context(), raw, f.notes); reason != reasons.UnknownSigningKey {
		t.Errorf("with a key that is gone: %s", reason)
	}
	if as.Fetches() != 0 {
		t.Error("fetched all the same")
	}
}

// A rotation is seen with the first token of the new key, and a key that is taken
// out of the set is withdrawn with the next fetch.
func TestRotation(t *testing.T) {
	as := oauthtest.NewIssuer(t)
	f := newFixture(t, File{Issuer: as.URL})
	p, reason := f.present(t.Context(), as.Token(as.Claims(f.notes.URI, f.now(), nil), nil), f.notes)
	if reason != reasons.Allowed {
		t.Fatal(reason)
	}
	f.advance(time.Minute)
	as.Rotate(t, "key-2")
	began := time.Now()
	if _, reason := f.present(t.Context(), as.Token(as.Claims(f.notes.URI, f.now(), nil), nil), f.notes); reason != reasons.Allowed {
		t.Errorf("the new key: %s", reason)
	}
	if took := time.Since(began); took >= jwks.Patience {
		t.Errorf("that took %s", took)
	}
	if p.Withdrawn.Load() {
		t.Error("the old key is published still")
	}
	as.Withdraw("key-1")
	as.Rotate(t, "key-3")
	raw := as.Token(as.Claims(f.notes.URI, f.now(), nil), nil)
	if _, reason := f.present(t.Context(), raw, f.notes); reason != reasons.IssuerKeysUnavailable {
		t.Errorf("a new key within the ten seconds is no bad token: %s", reason)
	}
	f.advance(jwks.FetchInterval)
	if _, reason := f.present(t.Context(), raw, f.notes); reason != reasons.Allowed || !p.Withdrawn.Load() {
		t.Errorf("after them: %s, withdrawn %t", reason, p.Withdrawn.Load())
	}
	if as.Fetches() != 3 {
		t.Errorf("%d fetches", as.Fetches())
	}
}

// However many forged tokens come, an issuer is asked once in ten seconds, and a
// good token with a known key waits for none of it.
func TestForgedTokens(t *testing.T) {
	as := oauthtest.NewIssuer(t)
	f := newFixture(t, File{Issuer: as.URL})
	good := as.Token(as.Claims(f.notes.URI, f.now(), nil), nil)
	if _, reason := f.present(t.Context(), good, f.notes); reason != reasons.Allowed {
		t.Fatal(reason)
	}
	forged := make([]string, 500)
	for i := range forged {
		differs := with("iat", f.now().Unix())
		if i%2 == 0 {
			differs = with("iat", nil)
		}
		forged[i] = as.Token(as.Claims(f.notes.URI, f.now(), differs), with("kid", strings.Repeat("k", i+1)))
	}
	var group sync.WaitGroup
	var wrong atomic.Int32
	began := time.Now()
	for range 20 {
		group.Go(func() {
			for _, raw := range forged {
				if _, reason := f.present(t.Context(), raw, f.notes); reason == reasons.Allowed {
					wrong.Add(1)
				}
			}
		})
	}
	slowest := time.Duration(0)
	for range 200 {
		began := time.Now()
		if _, err := f.Verify(good, f.notes); err != nil {
			t.Error(err)
		}
		slowest = max(slowest, time.Since(began))
	}
	group.Wait()
	t.Logf("10⁴ forged tokens in %s, the slowest good one took %s", time.Since(began), slowest)
	if most := 1 + 1 + int(time.Since(began)/jwks.FetchInterval); as.Fetches() > most || wrong.Load() > 0 {
		t.Errorf("%d fetches, %d forged tokens accepted", as.Fetches(), wrong.Load())
	}
}

// While the issuer is in trouble its known keys go on, and a token that needs
// another gets an answer that says so, in bounded time.
func TestIssuerInTrouble(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	for name, behave := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"429": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) },
		"404": http.NotFound,
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/keys", http.StatusFound)
		},
		"a megabyte": func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte(" "), 1<<20)) },
		"text":       func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
		"no keys":    func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) },
		"a hang": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			as := oauthtest.NewIssuer(t)
			f := newFixture(t, File{Issuer: as.URL})
			good := as.Token(as.Claims(f.notes.URI, f.now(), with("exp", f.now().Add(48*time.Hour).Unix())), nil)
			p, reason := f.present(t.Context(), good, f.notes)
			if reason != reasons.Allowed {
				t.Fatal(reason)
			}
			as.Behave(behave)
			as.Rotate(t, "key-2")
			for range 3 {
				f.advance(20 * time.Minute)
				began := time.Now()
				next := as.Token(as.Claims(f.notes.URI, f.now(), nil), nil)
				if _, reason := f.present(t.Context(), next, f.notes); reason != reasons.IssuerKeysUnavailable {
					t.Errorf("a new key: %s", reason)
				}
				if took := time.Since(began); took > jwks.Patience+time.Second {
					t.Errorf("that took %s", took)
				}
				if _, reason := f.present(t.Context(), good, f.notes); reason != reasons.Allowed || p.Withdrawn.Load() {
					t.Errorf("a known key: %s", reason)
				}
			}
			if name != "a hang" && (len(f.Trouble()) != 1 || !strings.Contains(f.Trouble()[0], as.URL)) {
				t.Errorf("trouble: %q", f.Trouble())
			}
			f.advance(jwks.MaxAge)
			if _, reason := f.present(t.Context(), good, f.notes); reason != reasons.IssuerKeysUnavailable {
				t.Errorf("keys that are a day old: %s", reason)
			}
		})
	}
}

// Metadata of another issuer is refused, wherever it is found.
func TestDiscovery(t *testing.T) {
	as := oauthtest.NewIssuer(t)
	document := func(members map[string]string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(members) }
	}
	f := newFixture(t, File{Issuer: as.URL})
	raw := as.Token(as.Claims(f.notes.URI, f.now(), nil), nil)
	for name, members := range map[string]map[string]string{
		"another issuer":        {"issuer": as.URL + "/", "jwks_uri": as.URL + "/keys"},
		"no key set":            {"issuer": as.URL},
		"a key set that is odd": {"issuer": as.URL, "jwks_uri": "file:///etc/passwd"},
	} {
		as.Behave(document(members))
		if _, reason := f.present(t.Context(), raw, f.notes); reason != reasons.IssuerKeysUnavailable {
			t.Errorf("%s: %s", name, reason)
		}
		f.advance(jwks.FetchInterval)
	}
	as.Behave(nil)
	if _, reason := f.present(t.Context(), raw, f.notes); reason != reasons.Allowed {
		t.Errorf("RFC 8414 alone: %s", reason)
	}
}

// The background fetch brings the keys without a request, and stops with the service.
func TestRun(t *testing.T) {
	as := oauthtest.NewIssuer(t)
	f := newFixture(t, File{Issuer: as.URL})
	f.Accept(f.wiki, resolved(t, File{Issuer: as.URL})[0]) // shares the keys
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	for range 3000 {
		if f.set(resolved(t, File{Issuer: as.URL})[0]).Keys() != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := f.Verify(as.Token(as.Claims(f.wiki.URI, f.now(), nil), nil), f.wiki); err != nil || as.Fetches() != 1 {
		t.Errorf("%v, %d fetches", err, as.Fetches())
	}
	stop()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("it does not stop")
	}
}

// BenchmarkFirstUse is the verification of a token that is not remembered, beside
// that of its signature alone.
func BenchmarkFirstUse(b *testing.B) {
	as := oauthtest.NewIssuer(b)
	f := newFixture(b, File{Issuer: as.URL})
	raw := as.Token(as.Claims(f.notes.URI, f.now(), nil), nil)
	if _, reason := f.present(b.Context(), raw, f.notes); reason != reasons.Allowed {
		b.Fatal(reason)
	}
	b.Run("token", func(b *testing.B) {
		for b.Loop() {
			if _, err := f.Verify(raw, f.notes); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("signature alone", func(b *testing.B) {
		t, err := f.at[f.notes][as.URL].read(raw, f.now())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if key, err := t.verify(); key == nil || err != nil {
				b.Fatal(err)
			}
		}
	})
}
