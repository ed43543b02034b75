package config

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	openid "github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
)

// keyFiles are private keys of all kinds, and files that hold none.
func keyFiles(t *testing.T) map[string]string {
	t.Helper()
	must := func(der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	long, _ := rsa.GenerateKey(rand.Reader, 2048)
	short, _ := rsa.GenerateKey(rand.Reader, 1024)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	jwk := func(k any, alg string) string {
		text, err := (&jose.JSONWebKey{Key: k, KeyID: "jwk-1", Algorithm: alg}).MarshalJSON()
		return string(must(text, err))
	}
	account := func(edit func(map[string]any)) string {
		m := map[string]any{
			"type": "service_account", "client_email": "mcp@project.iam.gserviceaccount.com", "private_key_id": "abc",
			"private_key": block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(long))), "token_uri": "https://attacker.example/token",
		}
		edit(m)
		return string(must(json.Marshal(m)))
	}
	external := func(edit func(m, source map[string]any)) string {
		source := map[string]any{"file": "/var/run/token", "format": map[string]any{"type": "json", "subject_token_field_name": "access_token"}}
		m := map[string]any{
			"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",
			"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": "https://sts.googleapis.com/v1/token", "credential_source": source,
		}
		edit(m, source)
		return string(must(json.Marshal(m)))
	}
	return map[string]string{
		"rsa":       block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(long))),
		"pkcs1":     block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(long)),
		"cert":      block("CERTIFICATE", []byte("der")) + block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(long))),
		"short":     block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(short))),
		"ec":        block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256))),
		"p384":      block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p384))),
		"ed":        block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ed))),
		"two":       block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ed))) + block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ed))),
		"jwk":       jwk(p256, "ES256"),
		"jwk-ps":    jwk(long, "PS256"),
		"jwk-pub":   jwk(p256.Public(), "ES256"),
		"encrypted": block("ENCRYPTED PRIVATE KEY", []byte("x")),
		"garbage":   marker,

		"account":       account(func(map[string]any) {}),
		"account-type":  account(func(m map[string]any) { m["type"] = "authorized_user" }),
		"account-key":   account(func(m map[string]any) { m["private_key"] = marker }),
		"external":      external(func(_, _ map[string]any) {}),
		"external-text": external(func(_, s map[string]any) { delete(s, "format") }),
		"external-run": external(func(m, _ map[string]any) {
			m["credential_source"] = map[string]any{"executable": map[string]any{"command": "x"}}
		}),
		"external-path":   external(func(_, s map[string]any) { s["file"] = "token" }),
		"external-type":   external(func(m, _ map[string]any) { m["type"] = "service_account" }),
		"external-aud":    external(func(m, _ map[string]any) { m["audience"] = "//attacker.example" }),
		"external-saml":   external(func(m, _ map[string]any) { m["subject_token_type"] = "urn:ietf:params:oauth:token-type:saml2" }),
		"external-field":  external(func(_, s map[string]any) { s["format"] = map[string]any{"type": "json"} }),
		"external-format": external(func(_, s map[string]any) { s["format"] = map[string]any{"type": "xml"} }),

		"users":        "users:\n- {username: jane, passwordHash: '" + hash10 + "'}\n",
		"users-none":   "users: []\n",
		"users-broken": "users:\n- {username: jane, password: " + marker + "}\n",
		"users-list":   "- {username: jane}\n",
	}
}

func parseSignIn(files map[string]string, provider string) (*Config, error) {
	return Parse([]byte("provider: {"+provider+"}\n"+proxy), func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	})
}

func TestSignIn(t *testing.T) {
	files := keyFiles(t)
	const (
		op     = "name: oidc, issuerURL: 'https://idp', clientID: id, "
		google = "name: google, clientID: id, clientSecret: x, hostedDomains: [example.com], workspace: {admin: admin@example.com, "
		argon  = "name: static, users: [{username: a, passwordHash: '$argon2id$v=19$"
	)
	for name, tt := range map[string]struct{ provider, want string }{
		"key":                        {op + "clientKeyFile: rsa", ""},
		"PKCS #1":                    {op + "clientKeyFile: pkcs1, clientKeyAlgorithm: PS256", ""},
		"EC":                         {op + "clientKeyFile: ec", ""},
		"Ed25519":                    {op + "clientKeyFile: ed, clientKeyID: key-1, clientAssertionAudience: issuer", ""},
		"JWK":                        {op + "clientKeyFile: jwk, clientAuthMethod: private_key_jwt", ""},
		"Microsoft":                  {"name: microsoft, clientID: id, allowAnyUser: true, clientKeyFile: cert", ""},
		"GitHub":                     {"name: github, clientID: id, allowAnyUser: true, clientSecret: x, clientKeyFile: rsa", "clientKeyFile: has no meaning"},
		"short key":                  {op + "clientKeyFile: short", "clientKeyFile: is a key of a kind"},
		"P-384":                      {op + "clientKeyFile: p384", "clientKeyFile: is a key of a kind"},
		"two keys":                   {op + "clientKeyFile: two", "clientKeyFile: holds more than one"},
		"public JWK":                 {op + "clientKeyFile: jwk-pub", "clientKeyFile: holds a JWK that is not a private key"},
		"encrypted":                  {op + "clientKeyFile: encrypted", "clientKeyFile: holds no private key"},
		"garbage":                    {op + "clientKeyFile: garbage", "clientKeyFile: holds no private key"},
		"no file":                    {op + "clientKeyFile: none", "clientKeyFile: there is no such file"},
		"wrong algorithm":            {op + "clientKeyFile: ec, clientKeyAlgorithm: RS256", `clientKeyAlgorithm: "RS256" does not fit the key; one of ES256`},
		"HS256":                      {op + "clientKeyFile: rsa, clientKeyAlgorithm: HS256", `clientKeyAlgorithm: "HS256" does not fit`},
		"key and secret":             {op + "clientKeyFile: rsa, clientSecret: x", "clientKeyFile: excludes a client secret"},
		"key and another method":     {op + "clientKeyFile: rsa, clientAuthMethod: client_secret_post", "clientAuthMethod: "},
		"method without key":         {op + "clientSecret: x, clientAuthMethod: private_key_jwt", `clientAuthMethod: "private_key_jwt" needs`},
		"kid without key":            {op + "clientSecret: x, clientKeyID: a", "clientKeyID: has no meaning without"},
		"audience":                   {op + "clientKeyFile: rsa, clientAssertionAudience: both", `clientAssertionAudience: "both" is not one of`},
		"method":                     {op + "clientSecret: x, clientAuthMethod: client_secret_basic", ""},
		"method that does not exist": {op + "clientSecret: x, clientAuthMethod: none", `clientAuthMethod: "none" is not one of`},
		"plain OAuth with a key":     {"name: oauth2, authorizeURL: 'https://a', tokenURL: 'https://a', userinfoURL: 'https://a', allowAnyUser: true, clientID: a, clientSecret: b, clientAuthMethod: private_key_jwt", "clientAuthMethod: "},
		"subject":                    {op + "clientSecret: x, subjectClaim: /ext/employee", ""},
		"workspace by key":           {google + "credentials: key, credentialsFile: account}", ""},
		"workspace of GKE":           {google + "credentials: metadata, serviceAccount: a@b.iam.gserviceaccount.com, groups: true}, groupsFilter: ['mcp-*']", ""},
		"workspace from elsewhere":   {google + "credentials: external, serviceAccount: a@b.iam.gserviceaccount.com, credentialsFile: external}", ""},
		"workspace, token as text":   {google + "credentials: external, serviceAccount: a@b.iam.gserviceaccount.com, credentialsFile: external-text}", ""},
		"workspace without a way":    {google + "groups: true}", "workspace.credentials: is required"},
		"workspace by chance":        {google + "credentials: default}", `workspace.credentials: "default" is not one of`},
		"workspace without key":      {google + "credentials: key}", "workspace.credentialsFile: is empty"},
		"workspace with another key": {google + "credentials: key, credentialsFile: account-type}", "workspace.credentialsFile: is not the JSON key"},
		"workspace, broken key":      {google + "credentials: key, credentialsFile: account-key}", "workspace.credentialsFile: lacks"},
		"workspace, other account":   {google + "credentials: key, credentialsFile: account, serviceAccount: x@y.z}", "workspace.serviceAccount: is another"},
		"workspace without account":  {google + "credentials: metadata}", "workspace.serviceAccount: is required"},
		"workspace, useless file":    {google + "credentials: metadata, serviceAccount: a@b.c, credentialsFile: account}", "workspace.credentialsFile: has no meaning"},
		"workspace without admin":    {"name: google, clientID: id, clientSecret: x, hostedDomains: [example.com], workspace: {credentials: key, credentialsFile: account}", "workspace.admin: is required"},
		"workspace, admin's name":    {"name: google, clientID: id, clientSecret: x, hostedDomains: [example.com], workspace: {admin: 'Jane <j@x.y>', credentials: key, credentialsFile: account}", "workspace.admin: "},
		"workspace that runs things": {google + "credentials: external, serviceAccount: a@b.c, credentialsFile: external-run}", "workspace.credentialsFile: has no credential_source.file"},
		"workspace, relative":        {google + "credentials: external, serviceAccount: a@b.c, credentialsFile: external-path}", "workspace.credentialsFile: has no credential_source.file"},
		"workspace, other file":      {google + "credentials: external, serviceAccount: a@b.c, credentialsFile: external-type}", "workspace.credentialsFile: is not a credential configuration"},
		"workspace, audience":        {google + "credentials: external, serviceAccount: a@b.c, credentialsFile: external-aud}", "workspace.credentialsFile: has an audience"},
		"workspace, SAML":            {google + "credentials: external, serviceAccount: a@b.c, credentialsFile: external-saml}", "workspace.credentialsFile: has a subject_token_type"},
		"workspace, no field":        {google + "credentials: external, serviceAccount: a@b.c, credentialsFile: external-field}", "workspace.credentialsFile: has credential_source.format json without"},
		"workspace, format":          {google + "credentials: external, serviceAccount: a@b.c, credentialsFile: external-format}", "workspace.credentialsFile: has a credential_source.format"},
		"workspace for others":       {op + "clientSecret: x, workspace: {credentials: metadata, admin: a@b.c, serviceAccount: a@b.c}", "workspace: has no meaning"},
		"users in a file":            {"name: static, usersFile: users", ""},
		"users in both":              {"name: static, usersFile: users, users: [{username: a, passwordHash: '" + hash10 + "'}]", "usersFile: excludes users"},
		"no users in the file":       {"name: static, usersFile: users-none", `usersFile: in the file: users: is required`},
		"broken users file":          {"name: static, usersFile: users-broken", "usersFile: in the file: users[0].password: unknown key"},
		"a list as users file":       {"name: static, usersFile: users-list", "usersFile: in the file: "},
		"users file for oidc":        {op + "clientSecret: x, usersFile: users", "usersFile: has no meaning"},
		"argon2id":                   {argon + "m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g'}]", ""},
		"argon2id, weak":             {argon + "m=4096,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g'}]", "users[0].passwordHash: is an argon2id hash with too little"},
		"argon2id, dear":             {argon + "m=1048576,t=4,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g'}]", "users[0].passwordHash: is an argon2id hash that takes too much"},
		"argon2id without hash":      {argon + "m=19456,t=2,p=1$c2FsdHNhbHRzYWx0'}]", "users[0].passwordHash: is not an argon2id hash"},
		"argon2i":                    {"name: static, users: [{username: a, passwordHash: '$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g'}]", "users[0].passwordHash: is not an argon2id hash"},
		"argon2id with one spelling": {argon + "m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2h'}]", "users[0].passwordHash: is not an argon2id hash"},
		"argon2id of an old version": {"name: static, users: [{username: a, passwordHash: '$argon2id$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g'}]", "users[0].passwordHash: is not an argon2id hash"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parseSignIn(files, tt.provider)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				noSecret(t, c.Summary(), fmt.Sprintf("%+v", c))
				return
			}
			if err == nil || !strings.Contains(err.Error(), "provider."+tt.want) || strings.Contains(err.Error(), marker) || strings.Count(err.Error(), "\n") > 1 {
				t.Errorf("got\n%v\nwant\nprovider.%s", err, tt.want)
			}
		})
	}
}

func TestClientKey(t *testing.T) {
	files := keyFiles(t)
	for file, want := range map[string]string{"rsa": " RS256 0", "cert": " RS256 43", "ec": " ES256 0", "ed": " EdDSA 0", "jwk": "jwk-1 ES256 0", "jwk-ps": "jwk-1 PS256 0"} {
		c, err := parseSignIn(files, "name: oidc, issuerURL: 'https://idp', clientID: id, clientKeyFile: "+file)
		if err != nil {
			t.Fatal(err)
		}
		k := own[*openid.Settings](c).ClientKey
		if got := fmt.Sprint(k.ID, " ", k.Algorithm, " ", len(k.Thumbprint)); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
		if own[*openid.Settings](c).ClientAuthMethod != "private_key_jwt" {
			t.Errorf("%s: method %q", file, own[*openid.Settings](c).ClientAuthMethod)
		}
		// fmt does not ask the methods of an unexported field.
		inside := fmt.Sprintf("%v %+v %#v", struct{ k clientauth.Key }{k}, struct{ k *Config }{c}, struct{ p connector.Config }{c.Providers[0]})
		if ed, ok := k.Signer().(ed25519.PrivateKey); ok && strings.Contains(inside, strings.Trim(fmt.Sprint([]byte(ed[:8])), "[]")) || strings.Contains(inside, "PrivateKey{") {
			t.Errorf("%s prints", file)
		}
	}
	// The file says where to send what the key signs; that is not believed.
	c, err := parseSignIn(files, "name: google, clientID: id, clientSecret: x, hostedDomains: [a.b], workspace: {credentials: key, credentialsFile: account, admin: a@b.c}")
	if w := own[*google.Settings](c).Workspace; err != nil || w.ServiceAccount != "mcp@project.iam.gserviceaccount.com" || w.Key.ID != "abc" || strings.Contains(fmt.Sprintf("%+v", w), "attacker") {
		t.Errorf("%+v, %v", w, err)
	}
}
