package conformance

import (
	"crypto/rand"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

var signer = configured("", "clients: [{id: signer, authMethod: private_key_jwt, jwksFile: keys.json, redirectURIs: ['"+callback+"']}]")

var assertionChecks = []Check{
	{IDs: "AS-CA-06 ATK-35", Run: assertionsAreWhole, Twins: twins(resigned(func(m map[string]any) {
		for name, value := range goodClaims("signer", time.Now()) {
			m[name] = value
		}
	}))},
	{IDs: "AS-CA-07 ATK-53", Run: assertionAudience, Twins: twins(resigned(func(m map[string]any) { m["aud"] = issuerMCP }))},
	{IDs: "AS-CA-08", Run: assertionType, Twins: twins(resigned(func(map[string]any) {}))},
	{IDs: "AS-CA-09", Run: assertionKeys, Twins: twins(resigned(func(map[string]any) {}))},
	{IDs: "AS-DCR-11", Run: registeredKeys, Twins: twins(answers("/register", 400, 201, `{"client_id":"x"}`))},
	{IDs: "AS-PRE-01", Run: configuredClients, Twins: twins(configTwin("id: fixed", "id: other"), configTwin("scopes: ['notes:read']", "scopes: ['notes:read', 'notes:write']"))},
	{IDs: "AS-PRE-02", Run: secretsOverlap, Twins: twins(configTwin("secretFiles: [secret-new, secret-old]", "secretFiles: [secret-new]"), configTwin("secretFiles: [secret-new, secret-old]", "secretFiles: [secret-old]"))},
}

func publicKeys() string {
	raw, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: foreignKey().Public(), KeyID: "client-key", Use: "sig", Algorithm: "RS256"}}})
	return string(raw)
}

func privateKeys() string {
	raw, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: foreignKey(), KeyID: "client-key", Use: "sig", Algorithm: "RS256"}}})
	return string(raw)
}

func goodClaims(id string, now time.Time) map[string]any {
	return map[string]any{"iss": id, "sub": id, "aud": issuerMCP, "exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "jti": rand.Text()}
}

// sign makes a client assertion with the client's key, or another.
func sign(claims map[string]any, key jose.SigningKey, typ string, extra ...any) (string, error) {
	opts := &jose.SignerOptions{}
	if typ != "" {
		opts = opts.WithType(jose.ContentType(typ))
	}
	for i := 0; i+1 < len(extra); i += 2 {
		opts = opts.WithHeader(jose.HeaderKey(extra[i].(string)), extra[i+1])
	}
	s, err := jose.NewSigner(key, opts)
	if err != nil {
		return "", err
	}
	raw, _ := json.Marshal(claims)
	jws, err := s.Sign(raw)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

func clientKey() jose.SigningKey { return jose.SigningKey{Algorithm: jose.RS256, Key: foreignKey()} }

// signed makes a token request authenticate by assertion.
func (c *client) signed(change ...func(map[string]any)) edit {
	m := goodClaims(c.id, c.w.clock.Now())
	m["aud"] = "https://" + c.host
	for _, f := range change {
		f(m)
	}
	raw, err := sign(m, clientKey(), "JWT", "kid", "client-key")
	if err != nil {
		c.w.t.Setupf("%v", err)
	}
	return asserted(raw)
}

func asserted(raw string) edit {
	return func(v url.Values) {
		v.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		v.Set("client_assertion", raw)
	}
}

// resigned is a service that does not look at a part of an assertion: a fresh
// signature over corrected claims takes its place.
func resigned(correct func(map[string]any)) Twin {
	return formData("/token", func(v url.Values) {
		t := &T{}
		raw := v.Get("client_assertion")
		if strings.Count(raw, ".") != 2 {
			return
		}
		m := t.claims(raw)
		correct(m)
		m["jti"] = rand.Text()
		again, err := sign(m, clientKey(), "JWT", "kid", "client-key")
		if err == nil {
			v.Set("client_assertion", again)
		}
	})
}

func signerClient(w *world) *client {
	return &client{w: w, host: hostMCP, id: "signer", redirect: callback, verifier: verifier}
}

func assertionsAreWhole(t *T) {
	w := t.World(own, signer)
	c := signerClient(w)
	set := func(name string, value any) func(map[string]any) {
		return func(m map[string]any) {
			if m[name] = value; value == nil {
				delete(m, name)
			}
		}
	}
	now := w.clock.Now()
	for what, change := range map[string]func(map[string]any){
		"no iss": set("iss", nil), "other iss": set("iss", "other"), "no sub": set("sub", nil), "other sub": set("sub", "other"), "no exp": set("exp", nil),
		"expired": set("exp", now.Add(-time.Minute).Unix()), "exp far ahead": set("exp", now.Add(24*time.Hour).Unix()), "nbf ahead": set("nbf", now.Add(10*time.Minute).Unix()),
		"iat ahead": set("iat", now.Add(10*time.Minute).Unix()), "no aud": set("aud", nil), "exp is text": set("exp", "soon"),
	} {
		a := c.exchange("x", c.signed(change), without("client_id"))
		t.Want(a.Status == 401 && a.Text("error") == "invalid_client", "%s: %d %s", what, a.Status, a.Body)
	}
	again := c.signed()
	a := c.exchange(c.code(), again)
	t.Want(a.Status == 200, "a good assertion: %d %s", a.Status, a.Body)
	a = c.exchange(c.code(), again)
	t.Want(a.Status == 401, "the same assertion again: %d", a.Status)
	a = c.exchange(c.code(), c.signed(), without("client_id"))
	t.Want(a.Status == 200, "without client_id: %d %s", a.Status, a.Body)
}

func assertionAudience(t *T) {
	w := t.World(own, signer)
	c := signerClient(w)
	for _, aud := range []any{issuerMCP + "/token", issuerRoot, []string{issuerMCP, "https://evil.example"}, []string{issuerMCP + "/token", issuerMCP}, "https://evil.example/token", "https://mcp.example.com.evil.example", []string{}, 1} {
		a := c.exchange("x", c.signed(func(m map[string]any) { m["aud"] = aud }))
		t.Want(a.Status == 401 && a.Text("error") == "invalid_client", "aud %v: %d", aud, a.Status)
	}
	t.Want(c.exchange(c.code(), c.signed()).Status == 200, "the issuer is refused")
}

func assertionType(t *T) {
	w := t.World(own, signer)
	c := signerClient(w)
	for typ, ok := range map[string]bool{"": true, "JWT": true, "client-authentication+jwt": true, "at+jwt": false, "oauth-id-jag+jwt": false, "dpop+jwt": false, "logout+jwt": false} {
		raw, err := sign(goodClaims("signer", w.clock.Now()), clientKey(), typ, "kid", "client-key")
		if err != nil {
			t.Setupf("%v", err)
		}
		a := c.exchange("x", asserted(raw))
		if ok {
			t.Want(a.Status == 400 && a.Text("error") == "invalid_grant", "typ %q: %d %s", typ, a.Status, a.Body)
		} else {
			t.Want(a.Status == 401, "typ %q: %d", typ, a.Status)
		}
	}
}

func assertionKeys(t *T) {
	w := t.World(own, signer)
	c := signerClient(w)
	now := w.clock.Now()
	stranger, err := newKey()
	if err != nil {
		t.Setupf("%v", err)
	}
	claims := func() map[string]any { return goodClaims("signer", now) }
	try := func(what string, key jose.SigningKey, extra ...any) {
		raw, err := sign(claims(), key, "JWT", extra...)
		if err != nil {
			t.Setupf("%s: %v", what, err)
		}
		t.Want(c.exchange("x", asserted(raw)).Status == 401, "%s is accepted", what)
	}
	rs := func(k any) jose.SigningKey { return jose.SigningKey{Algorithm: jose.RS256, Key: k} }
	try("another key", rs(stranger), "kid", "client-key")
	try("a key in the header", rs(stranger), "kid", "client-key", "jwk", jose.JSONWebKey{Key: stranger.Public()})
	before := w.web.dials()
	try("a key by reference", rs(stranger), "kid", "client-key", "jku", "https://evil.example/jwks")
	try("HS256 with the public key", jose.SigningKey{Algorithm: jose.HS256, Key: []byte(publicKeys())}, "kid", "client-key")
	t.Want(w.web.dials() == before, "a key was fetched")
	a := c.exchange("x", asserted("eyJhbGciOiJub25lIn0."+strings.Split(mustSign(t, claims()), ".")[1]+"."))
	t.Want(a.Status == 401, "alg none is accepted")
	a = c.exchange("x", c.signed())
	t.Want(a.Status == 400, "the registered key is refused: %d %s", a.Status, a.Body)
}

func mustSign(t *T, m map[string]any) string {
	raw, err := sign(m, clientKey(), "JWT")
	if err != nil {
		t.Setupf("%v", err)
	}
	return raw
}

func registeredKeys(t *T) {
	w := t.World(own)
	m := func(kv ...any) map[string]any {
		return changed(metadata(), append([]any{"token_endpoint_auth_method", "private_key_jwt"}, kv...)...)
	}
	w.postJSON(issuerMCP+"/register", m("jwks", json.RawMessage(publicKeys()), "jwks_uri", "https://keys.example/jwks")).Refused(400, "invalid_client_metadata")
	w.postJSON(issuerMCP+"/register", m()).Refused(400, "invalid_client_metadata")
	w.postJSON(issuerMCP+"/register", m("jwks", json.RawMessage(privateKeys()))).Refused(400, "invalid_client_metadata")
	if len(t.faults) > 0 {
		return
	}
	w.web.site("keys.example", serves(publicKeys()))
	a := w.postJSON(issuerMCP+"/register", m("jwks_uri", "https://keys.example/jwks"))
	t.Want(a.Status == 201, "jwks_uri: %d %s", a.Status, a.Body)
	if a.Status == 201 {
		c := w.register(hostMCP, m("jwks_uri", "https://keys.example/jwks"))
		got := c.exchange(c.code(), c.signed())
		t.Want(got.Status == 200, "a registered client that signs: %d %s", got.Status, got.Body)
	}
}

func configuredClients(t *T) {
	w := t.World(configured("", `registration: {dynamic: {enabled: false}, metadataDocuments: {enabled: false}}
clients:
- {id: fixed, name: Fixed client, authMethod: none, redirectURIs: ['`+callback+`'], scopes: ['notes:read'], resources: ['`+resourceMCP+`', '`+resourceA+`']}
- {id: "https://app.example/fixed", name: URL client, authMethod: none, redirectURIs: ['`+callback+`']}`))
	c := &client{w: w, host: hostMCP, id: "fixed", redirect: callback, verifier: verifier}
	a := w.get(c.request(with("scope", "notes:read notes:write")))
	t.Want(a.Status == 200, "a configured client: %d %.200s", a.Status, visible(a.Body))
	if a.Status != 200 {
		return
	}
	got := c.tokens(with("scope", "notes:read notes:write"))
	t.Want(got.Text("scope") == "notes:read", "scope %q", got.Text("scope"))
	w.get(c.request(with("redirect_uri", "https://client.example/other"))).LocalError("another redirect URI")
	many := &client{w: w, host: hostMany, id: "fixed", redirect: callback, verifier: verifier}
	a = w.get(many.request(with("resource", resourceB)))
	t.Want(a.Status == 303 && a.Location().Query().Get("error") != "", "a resource that is not the client's: %d", a.Status)
	byURL := &client{w: w, host: hostMCP, id: "https://app.example/fixed", redirect: callback, verifier: verifier}
	t.Want(w.get(byURL.request()).Status == 200 && w.web.dials() == 0, "a configured URL")
}

func secretsOverlap(t *T) {
	w := t.World(configured("", "clients: [{id: fixed, authMethod: client_secret_post, secretFiles: [secret-new, secret-old], redirectURIs: ['"+callback+"']}]"))
	for _, name := range []string{"secret-new", "secret-old"} {
		c := &client{w: w, host: hostMCP, id: "fixed", secret: "a-secret-of-the-conformance-suite-" + name, redirect: callback, verifier: verifier}
		a := c.exchange(c.code())
		t.Want(a.Status == 200, "%s: %d %s", name, a.Status, a.Body)
	}
	wrong := &client{w: w, host: hostMCP, id: "fixed", secret: "a-secret-of-the-conformance-suite", redirect: callback, verifier: verifier}
	wrong.exchange("x").Refused(401, "invalid_client")
	t.Want(!strings.Contains(w.log.String(), "a-secret-of-the-conformance-suite"), "a secret is in the log")
	_, err := parseConfig(standardConfig+"clients: [{id: fixed, secret: short, redirectURIs: ['"+callback+"']}]\n", nil)
	t.Want(err != nil, "a short secret is accepted")
}
