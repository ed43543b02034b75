package registration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

var (
	hostA = &resource.Host{Name: "a.example", Issuer: "https://a.example", Secure: true}
	hostB = &resource.Host{Name: "b.example", Issuer: "https://b.example", Secure: true}
)

func newDynamic(t testing.TB, seeds ...string) *Dynamic {
	t.Helper()
	if len(seeds) == 0 {
		seeds = []string{"seed"}
	}
	var secrets [][]byte
	for _, s := range seeds {
		secrets = append(secrets, []byte(s+strings.Repeat("x", 32)))
	}
	keys, err := seal.NewKeyring(time.Now, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	sets := NewKeySets(URLPolicy{Egress: &egress.Client{}, Own: []string{"a.example"}}, time.Now)
	return &Dynamic{Keys: keys, KeySets: sets, Now: time.Now, Grants: []string{"authorization_code", "refresh_token"}}
}

func register(d *Dynamic, body string) (Response, error) {
	req, err := d.parseRequest([]byte(body))
	if err != nil {
		return Response{}, err
	}
	return d.Register(hostA, req)
}

func metadata(members ...string) string {
	return `{"redirect_uris":["https://app.example/cb"]` + strings.Join(append([]string{""}, members...), ",") + "}"
}

func publicJWK(t testing.TB, key any, kid string) string {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRegister(t *testing.T) {
	d := newDynamic(t)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	ecJWK, rsaJWK := publicJWK(t, &ec.PublicKey, "one"), publicJWK(t, &rsaKey.PublicKey, "two")
	private, _ := json.Marshal(jose.JSONWebKey{Key: ec})
	var many []string
	for i := range 12 {
		k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		many = append(many, publicJWK(t, &k.PublicKey, fmt.Sprint(i)))
	}
	const signed = `"token_endpoint_auth_method":"private_key_jwt"`
	keys := func(jwks ...string) string { return `"jwks":{"keys":[` + strings.Join(jwks, ",") + `]}` }

	t.Run("AS-DCR-11 refused", func(t *testing.T) {
		for name, body := range map[string]string{
			"no keys": metadata(signed), "both": metadata(signed, keys(ecJWK), `"jwks_uri":"https://app.example/k"`),
			"both without use": metadata(keys(ecJWK), `"jwks_uri":"https://app.example/k"`),
			"private":          metadata(signed, keys(string(private))), "symmetric": metadata(signed, keys(`{"kty":"oct","k":"AAAA"}`)),
			"weak RSA": metadata(signed, keys(publicJWK(t, &weak.PublicKey, ""))), "inside": metadata(signed, `"jwks_uri":"https://10.0.0.1/k"`),
			"of ours": metadata(signed, `"jwks_uri":"https://a.example/k"`), "http": metadata(signed, `"jwks_uri":"http://app.example/k"`),
			"ATK-39 other case of DPoP": metadata(`"DPoP_bound_access_tokens":true`), "ATK-39 other case of pushed requests": metadata(`"Require_Pushed_Authorization_Requests":true`),
			"ATK-39 other case": metadata(`"JWKS_URI":"https://app.example/k"`), "ATK-39 duplicate": metadata(`"scope":"a","scope":"b"`),
			"too large for an id":   metadata(signed, keys(many...)),
			"a type of application": metadata(`"application_type":"service"`), "a scope": metadata(`"scope":"a\"b"`), "no code": metadata(`"response_types":["token"]`), "no code grant": metadata(`"grant_types":["implicit"]`),
			"a number for a scope": metadata(`"scope":1`), "a text for a list": metadata(`"grant_types":"authorization_code"`), "a text for a truth": metadata(`"dpop_bound_access_tokens":"true"`),
		} {
			_, err := register(d, body)
			oe, ok := errors.AsType[*oauth.Error](err)
			if !ok || oe.Code != oauth.InvalidClientMetadata {
				t.Errorf("%s: %v", name, err)
			} else if strings.ContainsAny(oe.Description, "\"\\\n") {
				t.Errorf("%s: description %q", name, oe.Description)
			}
		}
	})
	t.Run("AS-DCR-11 null is absent", func(t *testing.T) {
		for _, body := range []string{metadata(`"jwks":null,"jwks_uri":null`), metadata(signed, keys(ecJWK), `"jwks_uri":null`)} {
			if _, err := register(d, body); err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
	})
	t.Run("AS-DCR-11 keys inside the id", func(t *testing.T) {
		for _, jwk := range []string{ecJWK, rsaJWK} {
			resp, err := register(d, metadata(signed, keys(jwk)))
			if err != nil {
				t.Fatal(err)
			}
			if resp.AuthMethod != AuthPrivateKey || resp.ClientSecret != "" || resp.JWKS == nil || len(resp.JWKS.Keys) != 1 {
				t.Errorf("%+v", resp)
			}
			c, err := d.Client(hostA, resp.ClientID)
			if err != nil || len(c.keys) != 1 || !c.keys[0].IsPublic() || c.AuthMethod != AuthPrivateKey {
				t.Errorf("%+v %v", c, err)
			}
		}
	})
	t.Run("AS-DCR-11 jwks_uri", func(t *testing.T) {
		body := metadata(signed, `"jwks_uri":"https://app.example/k"`)
		resp, err := register(d, body)
		if err != nil || resp.JWKSURI != "https://app.example/k" {
			t.Fatal(resp, err)
		}
		if c, err := d.Client(hostA, resp.ClientID); err != nil || c.jwksURI != "https://app.example/k" {
			t.Errorf("%+v %v", c, err)
		}
		closed := *d
		closed.KeySets = nil
		if _, err := register(&closed, body); err == nil {
			t.Error("registered where nothing is fetched")
		}
		if _, err := closed.Client(hostA, resp.ClientID); !errors.Is(err, ErrUnknown) {
			t.Errorf("known where nothing is fetched: %v", err)
		}
	})
	t.Run("AS-DCR-10 application_type", func(t *testing.T) {
		for _, tt := range []struct{ said, uris, want string }{
			{"", `"https://app.example/cb"`, "web"}, {"native", `"https://app.example/cb"`, "native"}, {"web", `"http://localhost/cb"`, "native"},
			{"", `"https://app.example/cb","cursor://x/cb"`, "native"}, {"web", `"https://app.example/cb"`, "web"},
		} {
			resp, err := register(d, `{"redirect_uris":[`+tt.uris+`],"application_type":"`+tt.said+`"}`)
			if err != nil || resp.ApplicationType != tt.want {
				t.Errorf("%+v: %q %v", tt, resp.ApplicationType, err)
			}
		}
	})
	t.Run("AS-DCR-06 language-tagged names", func(t *testing.T) {
		for members, want := range map[string]string{
			`"client_name":"Plain","client_name#en":"English"`: "Plain", `"client_name#de":"Deutsch","client_name#en-GB":"English"`: "English",
			`"client_name#fr":"Nom","client_name#de":"Deutsch"`: "Deutsch", `"client_name#x":1`: "",
		} {
			if resp, err := register(d, metadata(members)); err != nil || resp.ClientName != want {
				t.Errorf("%s: %q %v", members, resp.ClientName, err)
			}
		}
	})
	t.Run("AS-DCR-12 software statements are ignored", func(t *testing.T) {
		if _, err := register(d, metadata(`"software_statement":"eyJhbGciOiJub25lIn0.e30."`)); err != nil {
			t.Error(err)
		}
	})
	t.Run("AS-DCR-09 Cursor", func(t *testing.T) {
		body, err := os.ReadFile("testdata/cursor-registration.json")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := register(d, string(body))
		if err != nil || len(resp.RedirectURIs) != 3 || resp.ApplicationType != "native" || resp.AuthMethod != AuthNone {
			t.Errorf("%+v %v", resp, err)
		}
	})
	t.Run("Perplexity says none and needs a secret", func(t *testing.T) {
		for uris, want := range map[string]string{
			`"https://www.perplexity.ai/rest/connections/oauth_callback"`:       AuthSecretPost,
			`"https://www.perplexity.ai.evil.example/cb"`:                       AuthNone,
			`"https://www.perplexity.ai/rest/cb","https://other.example/cb"`:    AuthNone,
			`"https://other.example/?https://www.perplexity.ai/oauth_callback"`: AuthNone,
		} {
			resp, err := register(d, `{"redirect_uris":[`+uris+`],"token_endpoint_auth_method":"none"}`)
			if err != nil || resp.AuthMethod != want || (resp.ClientSecret != "") != (want == AuthSecretPost) {
				t.Errorf("%s: %+v %v", uris, resp, err)
			}
		}
	})
}

// A client is told what it has, which is not always what it asked for, and has that when it
// comes with its id.
func TestRegistered(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const base, device = `"redirect_uris":["https://app.example/cb"]`, `"urn:ietf:params:oauth:grant-type:device_code"`
	keys := `"jwks":{"keys":[` + publicJWK(t, &ec.PublicKey, "one") + `]}`
	devices := &resource.Host{Name: "d.example", Issuer: "https://d.example", Secure: true, Resources: []*resource.Resource{{DeviceGrant: true, DPoP: resource.DPoPAccepted}}}
	says := func(auth, grants, more string) string {
		return `{` + base + `,"token_endpoint_auth_method":"` + auth + `","grant_types":[` + grants + `],"response_types":["code"],"application_type":"web"` + more + `}`
	}
	const code, both = `"authorization_code"`, `"authorization_code","refresh_token"`
	for name, tt := range map[string]struct {
		body string
		host *resource.Host
		edit func(*Dynamic)
		want string // "" for a refusal
	}{
		"says little":             {metadata(`"scope":"read"`), hostA, nil, says("none", both, `,"scope":"read"`)},
		"no refresh tokens here":  {metadata(), hostA, func(d *Dynamic) { d.RefreshOff = true }, says("none", code, "")},
		"wants no refresh tokens": {metadata(`"grant_types":[` + code + `]`), hostA, nil, says("none", code, "")},
		"wants them all the same": {metadata(`"grant_types":[` + both + `]`), hostA, func(d *Dynamic) { d.RefreshOff = true }, says("none", both, "")},
		"with a secret":           {metadata(`"token_endpoint_auth_method":"client_secret_basic"`), hostA, nil, says("client_secret_basic", code, `,"client_secret_expires_at":0`)},
		"keys without a use":      {metadata(keys), hostA, nil, says("none", both, "")},
		"keys":                    {metadata(`"token_endpoint_auth_method":"private_key_jwt"`, keys), hostA, nil, says("private_key_jwt", code, ","+keys)},
		"bound, where nothing is": {metadata(`"dpop_bound_access_tokens":true`), hostA, nil, says("none", both, "")},
		"bound":                   {metadata(`"dpop_bound_access_tokens":true`), devices, nil, says("none", both, `,"dpop_bound_access_tokens":true`)},
		"not bound":               {metadata(), devices, nil, says("none", both, "")},
		"pushes, where none can":  {metadata(`"require_pushed_authorization_requests":true`), hostA, nil, says("none", both, "")},
		"pushes":                  {metadata(`"require_pushed_authorization_requests":true`), hostA, func(d *Dynamic) { d.Pushed = true }, says("none", both, `,"require_pushed_authorization_requests":true`)},
		"need not push":           {metadata(), hostA, func(d *Dynamic) { d.Pushed = true }, says("none", both, "")},
		"a long name":             {metadata(`"client_name":"` + strings.Repeat("ä", maxNameRunes+1) + `"`), hostA, nil, says("none", both, `,"client_name":"`+strings.Repeat("ä", maxNameRunes)+`"`)},
		"the longest name":        {metadata(`"client_name":"` + strings.Repeat("ä", maxNameRunes) + `"`), hostA, nil, says("none", both, `,"client_name":"`+strings.Repeat("ä", maxNameRunes)+`"`)},
		"a device":                {`{"grant_types":[` + device + `]}`, devices, nil, `{"redirect_uris":null,"token_endpoint_auth_method":"none","grant_types":[` + device + `],"response_types":[],"application_type":"web"}`},
		"a device elsewhere":      {`{"grant_types":[` + device + `]}`, hostA, nil, ""},
		"a device with code":      {`{"grant_types":[` + device + `,` + code + `]}`, devices, nil, ""},
		"both ways":               {metadata(`"grant_types":[` + both + `,` + device + `]`), devices, nil, says("none", both+","+device, "")},
		"both ways, elsewhere":    {metadata(`"grant_types":[` + both + `,` + device + `]`), hostA, nil, says("none", both, "")},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDynamic(t)
			d.Grants = append(d.Grants, deviceCode)
			if tt.edit != nil {
				tt.edit(d)
			}
			req, err := d.parseRequest([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Register(tt.host, req)
			if err != nil || tt.want == "" {
				if tt.want != "" || err == nil {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			again, err := d.Register(tt.host, req)
			if err != nil || again.ClientID == got.ClientID || got.ClientIDIssuedAt == 0 || (got.ClientSecret != "") != isSecretMethod(got.AuthMethod) {
				t.Errorf("two clients: %+v, %+v, %v", got, again, err)
			}
			c, err := d.Client(tt.host, got.ClientID)
			if err != nil || !slices.Equal(c.GrantTypes, got.GrantTypes) || c.AuthMethod != got.AuthMethod || c.ID != got.ClientID || c.Name != got.ClientName || c.DPoPBound != got.DPoPBound || c.PushedOnly != got.PushedOnly || !slices.Equal(c.RedirectURIs, got.RedirectURIs) {
				t.Errorf("its id says %+v, %v", c, err)
			}
			got.ClientID, got.ClientIDIssuedAt, got.ClientSecret = "", 0, ""
			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			var is, want map[string]any
			if json.Unmarshal(text, &is) != nil || json.Unmarshal([]byte(tt.want), &want) != nil {
				t.Fatalf("%s, %s", text, tt.want)
			}
			delete(is, "client_id")
			delete(is, "client_id_issued_at")
			if !reflect.DeepEqual(is, want) {
				t.Errorf("%s, want\n%s", text, tt.want)
			}
		})
	}
}

func TestOperatorAdmitsSchemes(t *testing.T) {
	d := newDynamic(t)
	uri := `{"redirect_uris":["vscodium://publisher.extension/callback"]}`
	if _, err := register(d, uri); err == nil {
		t.Error("a scheme that nobody admitted")
	}
	d.Redirects = RedirectPolicy{Schemes: []string{"vscodium"}}
	if _, err := register(d, uri); err != nil {
		t.Errorf("in addition to the default: %v", err)
	}
	if _, err := register(d, `{"redirect_uris":["https://app.example/cb","cursor://anysphere.cursor-mcp/cb"]}`); err != nil {
		t.Errorf("the default goes: %v", err)
	}
	d.Redirects.Allowed = []*regexp.Regexp{regexp.MustCompile(`^https://only\.example/cb$`)}
	if _, err := register(d, uri); err != nil {
		t.Errorf("in addition to a list: %v", err)
	}
	for _, other := range []string{"cursor://anysphere.cursor-mcp/cb", "vscodiumx://a/b", "https://vscodium.example/cb"} {
		if _, err := register(d, `{"redirect_uris":["`+other+`"]}`); err == nil {
			t.Errorf("%s passes the list", other)
		}
	}
}

// No kind of client may have a redirect URI, or be known by an address, whose
// host two parsers read differently.
func TestHostsOfTwoReadings(t *testing.T) {
	d, w := newDynamic(t), newWorld(t, nil)
	for _, host := range []string{"claude.ai%E3%80%82evil.example", "claude.ai%ef%bc%8fevil.example", "claude.ai%2eevil.example", "0x7f.1", "xn--a-.example", "claude.ai\\u3002evil.example"} {
		uri := "https://" + host + "/cb"
		if _, err := register(d, `{"redirect_uris":["`+uri+`"]}`); err == nil {
			t.Errorf("%s was registered", uri)
		}
		w.site.set(200, document(map[string]any{"redirect_uris": []string{uri}}))
		if c, err := w.Client(context.Background(), clientURL); err == nil {
			t.Errorf("%s is in a document: %v", uri, c.RedirectURIs)
		}
		if _, err := w.Client(context.Background(), uri); !errors.Is(err, ErrDocument) {
			t.Errorf("%s is a client: %v", uri, err)
		}
		static := []Known{{ID: "one", RedirectURIs: []string{uri}, AuthMethod: AuthNone}}
		if _, err := NewStatic(static, d.KeySets); err == nil {
			t.Errorf("%s is in the configuration", uri)
		}
	}
}

func TestSecretsSurviveSeedRotation(t *testing.T) {
	old, both, fresh := newDynamic(t, "old"), newDynamic(t, "new", "old"), newDynamic(t, "new")
	resp, err := register(old, metadata(`"token_endpoint_auth_method":"client_secret_basic"`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		d    *Dynamic
		want bool
	}{{old, true}, {both, true}, {fresh, false}} {
		if got := tt.d.CheckSecret(resp.ClientID, resp.ClientSecret); got != tt.want {
			t.Errorf("%v, want %v", got, tt.want)
		}
	}
	if both.CheckSecret(resp.ClientID, "") || both.CheckSecret(resp.ClientID+"x", resp.ClientSecret) {
		t.Error("a wrong secret is right")
	}
}

// An id written before this version decodes as it did.
func TestFormatIsStable(t *testing.T) {
	d := newDynamic(t)
	plain := `{"h":"` + hostHash(hostA) + `","t":1800000000,"r":"AAAAAAAA","u":["https://app.example/cb"],"n":"App","m":"client_secret_post","f":true}`
	var rec record
	if err := json.Unmarshal([]byte(plain), &rec); err != nil {
		t.Fatal(err)
	}
	c, err := d.Client(hostA, rec.encode())
	if err != nil || c.Name != "App" || c.AuthMethod != AuthSecretPost || !c.MayUse("refresh_token") {
		t.Errorf("%+v %v", c, err)
	}
	if again, _ := json.Marshal(rec); string(again) != plain {
		t.Errorf("written as %s", again)
	}
}

func TestForgedIDs(t *testing.T) {
	d := newDynamic(t)
	ok := record{Host: hostHash(hostA), URIs: []string{"https://app.example/cb"}}
	if _, err := d.Client(hostA, ok.encode()); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*record){
		"AS-DCR-17 other host": func(r *record) { r.Host = hostHash(hostB) },
		"AS-DCR-08 scheme":     func(r *record) { r.URIs = []string{"javascript:alert(1)"} },
		"no redirect":          func(r *record) { r.URIs = nil },
		"many redirects":       func(r *record) { r.URIs = slices.Repeat([]string{"a.b:/c"}, 21) },
		"method":               func(r *record) { r.Method = "client_secret_jwt" },
		"ATK-45 inside":        func(r *record) { r.Method, r.JWKSURI = AuthPrivateKey, "https://169.254.169.254/" },
		"no keys":              func(r *record) { r.Method = AuthPrivateKey },
		"ATK-24 weak key": func(r *record) {
			r.Method, r.PublicKeys = AuthPrivateKey, []jose.JSONWebKey{{Key: &rsa.PublicKey{N: big.NewInt(3233), E: 17}}}
		},
		"keys for nothing": func(r *record) { r.JWKSURI = "https://app.example/k" },
	} {
		r := ok
		edit(&r)
		if c, err := d.Client(hostA, r.encode()); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v %v", name, c, err)
		}
	}
	closed := *d
	closed.Redirects = RedirectPolicy{Allowed: []*regexp.Regexp{regexp.MustCompile(`^https://only\.example/cb$`)}}
	if _, err := closed.Client(hostA, ok.encode()); !errors.Is(err, ErrUnknown) {
		t.Error("policy is not applied to ids made before")
	}
}

// However many register, nothing stays.
func TestRegistrationsStoreNothing(t *testing.T) {
	d := newDynamic(t)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	one := func(i int) {
		resp, err := register(d, metadata(fmt.Sprintf(`"client_name":"Client %d","token_endpoint_auth_method":"client_secret_post"`, i)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Client(hostA, resp.ClientID); err != nil {
			t.Fatal(err)
		}
	}
	one(0)
	before := heap()
	const n = 2000
	for i := range n {
		one(i)
	}
	if after := heap(); after > before+64<<10 {
		t.Errorf("AS-DCR-14 %d registrations left %d bytes", n, after-before)
	}
}

func BenchmarkRegister(b *testing.B) {
	d := newDynamic(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := register(d, metadata(`"client_name":"Client"`)); err != nil {
			b.Fatal(err)
		}
	}
}

// Whatever an id says, the client it makes could have been registered today.
func FuzzClientID(f *testing.F) {
	d := newDynamic(f)
	for _, body := range []string{metadata(), metadata(`"token_endpoint_auth_method":"client_secret_post"`), metadata(`"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://app.example/k"`)} {
		resp, err := register(d, body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(resp.ClientID, []byte(nil))
	}
	f.Add("", []byte(`{"h":"`+hostHash(hostA)+`","u":["cursor://x/y"],"m":"client_secret_post"}`))
	f.Fuzz(func(t *testing.T, id string, plain []byte) {
		var r record
		if json.Unmarshal(plain, &r) == nil && len(plain) > 0 {
			id = r.encode()
		}
		c, err := d.Client(hostA, id)
		if err != nil {
			if !errors.Is(err, ErrUnknown) {
				t.Fatal(err)
			}
			return
		}
		if c.ID != id || len(id) > maxDynamicIDBytes || len(c.RedirectURIs) == 0 || len(c.RedirectURIs) > maxRedirectURIs || !slices.Contains(AuthMethods, c.AuthMethod) {
			t.Fatalf("%+v", c)
		}
		for _, u := range c.RedirectURIs {
			if err := d.Redirects.Check(u); err != nil {
				t.Fatalf("%q %v", u, err)
			}
		}
		if c.jwksURI != "" && d.KeySets.urls.check(c.jwksURI) != nil {
			t.Fatalf("jwks_uri %q", c.jwksURI)
		}
		for _, k := range c.keys {
			if !k.IsPublic() {
				t.Fatal("a private key")
			}
		}
	})
}

func TestStatic(t *testing.T) {
	sets := NewKeySets(URLPolicy{Egress: &egress.Client{}}, time.Now)
	s, err := NewStatic([]Known{
		{ID: "one", Name: "One", RedirectURIs: []string{"http://localhost/cb"}, AuthMethod: AuthSecretBasic, Secrets: []conf.Secret{conf.NewSecret("old"), conf.NewSecret("new")}},
		{ID: clientURL, RedirectURIs: []string{"https://app.example/cb"}, AuthMethod: AuthNone},
	}, sets)
	if err != nil {
		t.Fatal(err)
	}
	clients := &Clients{Static: s}
	t.Run("AS-PRE-02 two secrets during overlap", func(t *testing.T) {
		c := s.Client("one")
		for secret, want := range map[string]bool{"old": true, "new": true, "other": false, "": false, "oldnew": false} {
			if clients.CheckSecret(c, secret) != want {
				t.Errorf("%q is not %v", secret, want)
			}
		}
	})
	t.Run("AS-CIMD-01 pre-registered before fetched", func(t *testing.T) {
		w := newWorld(t, nil)
		c, err := (&Clients{Static: s, Documents: w.Documents}).Client(t.Context(), hostA, clientURL)
		if err != nil || !c.Trusted || c.VouchedBy != "" || w.site.count() != 0 {
			t.Errorf("%+v %v", c, err)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		for _, id := range []string{"", "two", "One", strings.Repeat("x", maxClientIDBytes+1), "https://app.example/other"} {
			if _, err := clients.Client(t.Context(), hostA, id); !errors.Is(err, ErrUnknown) {
				t.Errorf("%.20q: %v", id, err)
			}
		}
	})
	for name, c := range map[string]Known{
		"clients[0].id": {ID: "dcr1.x"}, "clients[0].redirectURIs[1]": {ID: "x", RedirectURIs: []string{"https://a.example/", "javascript:x"}},
		"clients[0].jwksFile": {ID: "x", JWKS: []byte("{}")}, "clients[0].jwksURI": {ID: "x", JWKSURI: "https://10.0.0.1/k"},
	} {
		if _, err := NewStatic([]Known{c}, sets); err == nil || !strings.HasPrefix(err.Error(), name+":") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
