package grant_test

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// b64 is how JWTs spell bytes.
var b64 = base64.RawURLEncoding

// jwks fetches the published keys the way a resource server does: discovery first.
func jwks(t *testing.T, s *servertest.Service) jose.JSONWebKeySet {
	t.Helper()
	metadata := s.Get(t, "https://mcp.example.com/.well-known/oauth-authorization-server")
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(s.Get(t, metadata.String("jwks_uri")).Body), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestAccessTokenIndependently(t *testing.T) {
	t.Parallel()
	s, _ := servertest.Quick(t)
	c := s.NewClient(t, servertest.Host, nil)
	a := c.Begin()
	answer := a.Exchange(t, a.Code(t, s.NewBrowser()))
	token := answer.String("access_token")
	keys := jwks(t, s)

	t.Run("AS-KEY-01 the published keys", func(t *testing.T) {
		seen := map[string]bool{}
		for _, k := range keys.Keys {
			public, ok := k.Key.(*rsa.PublicKey)
			if !ok || public.N.BitLen() < 2048 || k.Use != "sig" || k.Algorithm != "RS256" || seen[k.KeyID] || k.KeyID == "" {
				t.Errorf("%+v", k)
			}
			seen[k.KeyID] = true
		}
		raw := s.Get(t, "https://mcp.example.com/openid/v1/jwks")
		for _, private := range []string{`"d"`, `"p"`, `"q"`, `"dp"`, `"dq"`, `"qi"`} {
			if strings.Contains(raw.Body, private) {
				t.Errorf("the set has %s", private)
			}
		}
		if len(seen) < 2 || raw.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("AS-KEY-02 %d keys, %v", len(seen), raw.Header)
		}
	})
	t.Run("AS-AT-01 AS-AT-02 AS-AT-03 AS-AT-04 with go-jose", func(t *testing.T) {
		jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			t.Fatal(err)
		}
		header := jws.Signatures[0].Header
		if header.ExtraHeaders["typ"] != "at+jwt" || header.Algorithm != "RS256" {
			t.Errorf("%+v", header)
		}
		published := keys.Key(header.KeyID)
		if len(published) != 1 {
			t.Fatalf("kid %q is published %d times", header.KeyID, len(published))
		}
		payload, err := jws.Verify(published[0])
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
		if claims["iss"] != "https://mcp.example.com" || claims["aud"] != servertest.Resource || claims["client_id"] != c.ID || claims["scope"] != answer.String("scope") || claims["jti"] == "" {
			t.Errorf("%s", payload)
		}
		if claims["exp"].(float64)-claims["iat"].(float64) != answer.JSON["expires_in"].(float64) {
			t.Errorf("lifetime: %s, expires_in %v", payload, answer.JSON["expires_in"])
		}
		if strings.Contains(string(payload), "Jane") || strings.Contains(string(payload), "jane@") {
			t.Errorf("personal data: %s", payload)
		}
	})
	t.Run("AS-META-13 with go-oidc over discovery", func(t *testing.T) {
		ctx := gooidc.ClientContext(t.Context(), s.Client())
		provider, err := gooidc.NewProvider(ctx, "https://mcp.example.com")
		if err != nil {
			t.Fatal(err)
		}
		verified, err := provider.VerifierContext(ctx, &gooidc.Config{ClientID: servertest.Resource}).Verify(context.WithoutCancel(ctx), token)
		if err != nil {
			t.Fatal(err)
		}
		if user := s.MustPass(t, servertest.Resource, token).Header.Get("X-Auth-Request-User"); user != verified.Subject {
			t.Errorf("AS-AT-05 sub is %q, the header says %q", verified.Subject, user)
		}
	})
}

func TestForgedTokens(t *testing.T) {
	t.Parallel()
	s, _ := servertest.Quick(t)
	c := s.NewClient(t, servertest.Host, nil)
	token := c.AccessToken(t, s.NewBrowser())
	parts := strings.Split(token, ".")
	decode := func(i int) map[string]any {
		raw, _ := b64.DecodeString(parts[i])
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	encode := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b64.EncodeToString(raw)
	}
	header := func(change map[string]any) string {
		h := decode(0)
		for k, v := range change {
			if h[k] = v; v == nil {
				delete(h, k)
			}
		}
		return encode(h)
	}
	kid := decode(0)["kid"].(string)
	keys := jwks(t, s)
	public := keys.Key(kid)[0]
	der, _ := x509.MarshalPKIXPublicKey(public.Key)
	jwkBytes, _ := json.Marshal(public)
	attacker, _ := rsa.GenerateKey(rand.Reader, 2048)
	attackerJWK := jose.JSONWebKey{Key: attacker.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig"}

	hs := func(h string, secret []byte) string {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(h + "." + parts[1]))
		return h + "." + parts[1] + "." + b64.EncodeToString(mac.Sum(nil))
	}
	rs := func(h, payload string) string {
		sum := sha256.Sum256([]byte(h + "." + payload))
		sig, err := rsa.SignPKCS1v15(nil, attacker, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return h + "." + payload + "." + b64.EncodeToString(sig)
	}
	ps := func(h string) string {
		sum := sha256.Sum256([]byte(h + "." + parts[1]))
		sig, err := rsa.SignPSS(rand.Reader, attacker, crypto.SHA256, sum[:], nil)
		if err != nil {
			t.Fatal(err)
		}
		return h + "." + parts[1] + "." + b64.EncodeToString(sig)
	}
	keep := func(h string) string { return h + "." + parts[1] + "." + parts[2] }
	flip := func(s string, i int) string { // of one character
		c := byte('A')
		if s[i] == 'A' {
			c = 'B'
		}
		return s[:i] + string(c) + s[i+1:]
	}
	rows := map[string]string{
		"ATK-23 alg none, no signature":      header(map[string]any{"alg": "none"}) + "." + parts[1] + ".",
		"ATK-23 alg None":                    header(map[string]any{"alg": "None"}) + "." + parts[1] + ".",
		"ATK-23 alg nOnE with the signature": keep(header(map[string]any{"alg": "nOnE"})),
		"ATK-23 no alg":                      keep(header(map[string]any{"alg": nil})),
		"ATK-23 HS256 with the PEM":          hs(header(map[string]any{"alg": "HS256"}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"ATK-23 HS256 with the DER":          hs(header(map[string]any{"alg": "HS256"}), der),
		"ATK-23 HS256 with the JWK":          hs(header(map[string]any{"alg": "HS256"}), jwkBytes),
		"ATK-23 HS256 with nothing":          hs(header(map[string]any{"alg": "HS256"}), nil),
		"ATK-23 RS256 header, HMAC":          hs(parts[0], der),
		"ATK-23 PS256":                       ps(header(map[string]any{"alg": "PS256"})),
		"ATK-23 PSS under RS256":             ps(parts[0]),
		"ATK-23 RS512":                       keep(header(map[string]any{"alg": "RS512"})),
		"ATK-24 embedded jwk":                rs(header(map[string]any{"jwk": attackerJWK}), parts[1]),
		"ATK-24 embedded jwk, no kid":        rs(header(map[string]any{"jwk": attackerJWK, "kid": nil}), parts[1]),
		"ATK-24 jku":                         rs(header(map[string]any{"jku": "http://127.0.0.1:1/keys"}), parts[1]),
		"ATK-24 x5u":                         rs(header(map[string]any{"x5u": "http://127.0.0.1:1/keys"}), parts[1]),
		"ATK-24 x5c":                         rs(header(map[string]any{"x5c": []string{"AAAA"}}), parts[1]),
		"ATK-25 foreign kid":                 rs(header(map[string]any{"kid": b64.EncodeToString(make([]byte, 32))}), parts[1]),
		"ATK-25 kid with a path":             rs(header(map[string]any{"kid": "../../../../../../../../../../dev/null/aaaaa"}), parts[1]),
		"ATK-25 kid with SQL":                rs(header(map[string]any{"kid": "' UNION SELECT 'key' -- aaaaaaaaaaaaaaaaaaaa"}), parts[1]),
		"ATK-25 kid with NUL":                rs(header(map[string]any{"kid": kid[:20] + "\x00" + kid[21:]}), parts[1]),
		"ATK-25 kid of an array":             rs(header(map[string]any{"kid": []string{kid}}), parts[1]),
		"ATK-25 no kid":                      keep(header(map[string]any{"kid": nil})),
		"ATK-25 huge kid":                    rs(header(map[string]any{"kid": strings.Repeat("k", 2500)}), "e30"),
		"ATK-26 another key under our kid":   rs(parts[0], parts[1]),
		"ATK-27 typ JWT":                     keep(header(map[string]any{"typ": "JWT"})),
		"ATK-27 typ of an ID-JAG":            keep(header(map[string]any{"typ": "oauth-id-jag+jwt"})),
		"ATK-27 no typ":                      keep(header(map[string]any{"typ": nil})),
		"ATK-28 crit":                        keep(header(map[string]any{"crit": []string{"exp"}, "exp": 1})),
		"ATK-28 b64 false":                   keep(header(map[string]any{"crit": []string{"b64"}, "b64": false})),
		"ATK-28 order of the header":         keep(b64.EncodeToString([]byte(`{"kid":"` + kid + `","alg":"RS256","typ":"at+jwt"}`))),
		"ATK-28 repeated alg":                keep(b64.EncodeToString([]byte(`{"alg":"RS256","kid":"` + kid + `","typ":"at+jwt","alg":"RS256"}`))),
		"ATK-28 blank in the header":         keep(b64.EncodeToString([]byte(`{"alg": "RS256","kid":"` + kid + `","typ":"at+jwt"}`))),
		"ATK-28 changed payload":             parts[0] + "." + flip(parts[1], 30) + "." + parts[2],
		"ATK-28 changed signature":           parts[0] + "." + parts[1] + "." + flip(parts[2], 30),
		"ATK-28 no signature":                parts[0] + "." + parts[1] + ".",
		"ATK-28 two parts":                   parts[0] + "." + parts[1],
		"ATK-28 four parts":                  token + ".e30",
		"ATK-28 five parts":                  token + "..e30",
		"ATK-28 JWE":                         "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AA.AA.AA.AA",
		"ATK-28 one part":                    "opaque",
		"ATK-28 dots":                        "..",
		"ATK-28 padding of the signature":    token + "==",
		"ATK-28 padding of the payload":      parts[0] + "." + parts[1] + "=." + parts[2],
		"ATK-28 huge":                        strings.Repeat("A", 8<<10),
	}
	for name, forged := range rows {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			answer := s.MustNotPass(t, servertest.Resource, forged, "invalid_token")
			if strings.Contains(answer.Header.Get("WWW-Authenticate")+answer.Body, forged) || time.Since(began) > 3*time.Second {
				t.Errorf("%v after %v", answer.Header, time.Since(began))
			}
			if answer.Header.Get("X-Auth-Request-User") != "" {
				t.Error("an identity header on a denial")
			}
		})
	}
	t.Run("ATK-28 non-canonical base64", func(t *testing.T) {
		// The last character of the signature carries two unused bits (256 bytes are 342 characters).
		alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(alphabet, token[len(token)-1])
		tried := 0
		for _, c := range alphabet[last&^15 : last|15+1] {
			if other := token[:len(token)-1] + string(c); other != token {
				s.MustNotPass(t, servertest.Resource, other, "invalid_token")
				tried++
			}
		}
		if tried != 15 {
			t.Errorf("%d other spellings, want 15", tried)
		}
	})
	t.Run("RS-ERR-02 one description for all", func(t *testing.T) {
		seen := map[string]bool{}
		for _, forged := range rows {
			seen[s.Ask(t, servertest.Resource, forged).Header.Get("WWW-Authenticate")] = true
		}
		if len(seen) != 1 {
			t.Errorf("%v", seen)
		}
	})
	t.Run("ATK-62 other sealed values of ours", func(t *testing.T) {
		a := c.Begin()
		s.MustNotPass(t, servertest.Resource, a.Code(t, s.NewBrowser()), "invalid_token")
		s.MustNotPass(t, servertest.Resource, c.ID, "invalid_token")
	})
	t.Run("RS-VAL-04 ATK-36 time", func(t *testing.T) {
		s.Clock.Advance(-59 * time.Second)
		s.MustPass(t, servertest.Resource, token)
		s.Clock.Advance(59 * time.Second)
		fresh := c.AccessToken(t, s.NewBrowser())
		s.Restart() // the replica that issued a token knows it
		s.Clock.Advance(-2 * time.Minute)
		s.MustNotPass(t, servertest.Resource, fresh, "invalid_token") // from the future, never seen before
		s.Clock.Advance(2*time.Minute + time.Hour)
		for _, old := range []string{token, fresh} {
			s.MustNotPass(t, servertest.Resource, old, "invalid_token")
			if e := s.Log.Last(audit.AccessDenied); e["reason"] != "expired_token" {
				t.Errorf("audit says %v", e)
			}
		}
	})
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	s, _ := servertest.Quick(t)
	token := s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser())
	t.Run("RS-ERR-01 no credentials", func(t *testing.T) {
		for _, header := range [][]string{nil, {"Authorization", ""}, {"Authorization", "Basic amFuZTpwdw=="}, {"Authorization", "BearerX " + token}, {"Cookie", "access_token=" + token}, {"X-Authorization", "Bearer " + token}} {
			a := s.Ask(t, servertest.Resource+"?access_token="+token, "", header...)
			challenge := a.Header.Values("WWW-Authenticate")
			want := `Bearer scope="notes:read notes:write weather:read profile", resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`
			if a.Status != 401 || len(challenge) != 1 || challenge[0] != want || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("RS-VAL-01 %q: %d %q", header, a.Status, challenge)
			}
		}
	})
	t.Run("RS-ERR-03 ATK-32 malformed credentials", func(t *testing.T) {
		for _, header := range [][]string{
			{"Authorization", "Bearer " + token, "Authorization", "Bearer " + token}, {"Authorization", "Bearer " + token, "Authorization", "Basic eDp5"}, {"Authorization", "Basic eDp5", "Authorization", "Bearer " + token},
			{"Authorization", "Bearer " + token + ", Bearer " + token}, {"Authorization", "Bearer " + token + " " + token}, {"Authorization", "Bearer"}, {"Authorization", "Bearer  "}, {"Authorization", "Bearer \t" + token}, {"Authorization", "Bearer é"},
		} {
			a := s.Ask(t, servertest.Resource, "", header...)
			if a.Status != 401 || !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="invalid_request"`) || len(a.Header.Values("WWW-Authenticate")) != 1 {
				t.Errorf("%.60q: %d %q", header, a.Status, a.Header.Values("WWW-Authenticate"))
			}
		}
	})
	t.Run("RS-VAL-01 the scheme in any case", func(t *testing.T) {
		for _, scheme := range []string{"bearer", "BEARER", "bEaReR"} {
			if a := s.Ask(t, servertest.Resource, "", "Authorization", scheme+" "+token); a.Status != 200 {
				t.Errorf("%s: %d", scheme, a.Status)
			}
		}
	})
	t.Run("RS-FWD-08 RS-FWD-09 ATK-30 ATK-31 where the question points", func(t *testing.T) {
		for _, original := range []string{
			"https://evil.example/mcp", "https://mcp.example.com/", "https://mcp.example.com/mcp2", "https://mcp.example.com//mcp", "https://mcp.example.com/x/../mcp", "https://mcp.example.com/mcp/..;/x",
			"https://mcp.example.com/%6dcp", "https://mcp.example.com/mcp%2fx", "https://mcp.example.com/mcp/%2e%2e/x", "https://mcp.example.com/MCP", `https://mcp.example.com/mcp\x`, "https://mcp.example.com/mcp;x=1",
			"/mcp", "mcp", "", "https://", "https:///mcp", "https://mcp.example.com@evil.example/mcp", "https://mcp.example.com:99999/mcp",
		} {
			req := servertest.Request(t, "GET", "https://mcp.example.com/authenticate", "", "Authorization", "Bearer "+token, "X-Original-URL", original)
			if a := s.Send(t, req); a.Status != 403 || a.Header.Get("X-Auth-Request-User") != "" || a.Header.Get("Location") != "" {
				t.Errorf("%q: %d", original, a.Status)
			}
		}
		two := servertest.Request(t, "GET", "https://mcp.example.com/authenticate", "", "Authorization", "Bearer "+token, "X-Original-URL", servertest.Resource, "X-Original-URL", servertest.Resource)
		if a := s.Send(t, two); a.Status != 403 {
			t.Errorf("two targets: status %d, want 403", a.Status)
		}
		elsewhere := servertest.Request(t, "GET", "https://evil.example/authenticate", "", "Authorization", "Bearer "+token)
		if a := s.Send(t, elsewhere); a.Status != 403 {
			t.Errorf("unknown host: status %d, want 403", a.Status)
		}
	})
	t.Run("any method, never a redirect", func(t *testing.T) {
		for _, method := range []string{"GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD", "PROPFIND"} {
			req := servertest.Request(t, method, "https://mcp.example.com/authenticate", "", "Authorization", "Bearer "+token, "X-Original-URL", servertest.Resource)
			if a := s.Send(t, req); a.Status != 200 || a.Body != "" {
				t.Errorf("RS-VAL-07 %s: %d %s", method, a.Status, a.Body)
			}
		}
	})
	t.Run("RS-ERR-09 nothing of the request comes back", func(t *testing.T) {
		a := s.Ask(t, servertest.Resource+"?q=marker", "", "Mcp-Name", "marker", "Authorization", "Bearer marker.marker.marker")
		if strings.Contains(fmt.Sprint(a.Header, a.Body), "marker") {
			t.Errorf("%v %s", a.Header, a.Body)
		}
	})
}
