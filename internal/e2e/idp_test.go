//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// Known to hack/e2e/install.sh as well.
const keycloakVersion = "26.7.3"

// optional is for a program that cannot be installed everywhere: the test is
// named among what did not run.
func optional(t *testing.T, found bool, what string) {
	t.Helper()
	if found {
		return
	}
	track(t)
	ledger.mu.Lock()
	ledger.missing = append(ledger.missing, t.Name())
	ledger.mu.Unlock()
	t.Skipf("NOT RUN: there is no %s", what)
}

// signsIn goes through the provider as a person does, refreshes, more than
// once where the provider rotates its tokens, and is refused once gone has taken her away.
func signsIn(t *testing.T, st *stack, person visitor, email string, groups []string, refreshes int, gone func(t *testing.T)) {
	t.Helper()
	who := whoami(t, connectGoSDK(t, st.statelessURL, modern, person))
	mustEqual(t, "X-Auth-Request-Email", who.Email, email)
	got := strings.Split(who.Groups, ",")
	slices.Sort(got)
	if !slices.Equal(got, groups) {
		t.Errorf("groups %q, want %q", got, groups)
	}
	g, a := signIn(t, st.statelessURL, person)
	for range refreshes {
		next := a.client.refresh(t, g.RefreshToken)
		if next.status != http.StatusOK {
			t.Fatalf("refresh: %d %s\n%s", next.status, next.Error, tail(st.logs(), 2000))
		}
		g = next
	}
	if gone == nil {
		return
	}
	gone(t)
	if next := a.client.refresh(t, g.RefreshToken); next.status != http.StatusBadRequest || next.Error != "invalid_grant" {
		t.Errorf("refresh of somebody who is gone: %d %s", next.status, next.Error)
	}
}

// TestKeycloak signs in at a real Keycloak whose refresh tokens work once, with a
// client secret and with a key.
func TestKeycloak(t *testing.T) {
	k := startKeycloak(t)
	key, certificate := keyPair(t)

	for _, tt := range []struct {
		name   string
		client map[string]any // at Keycloak
		proof  map[string]any // here
	}{
		{"secret", map[string]any{"secret": clientSecret}, map[string]any{"clientSecret": clientSecret}},
		{"key", map[string]any{
			"clientAuthenticatorType": "client-jwt",
			"attributes":              map[string]any{"pkce.code.challenge.method": "S256", "jwt.credential.certificate": certificate, "token.endpoint.auth.signing.alg": "PS256"},
		}, map[string]any{"clientKeyFile": key, "clientKeyAlgorithm": "PS256", "clientAssertionAudience": "issuer"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			realm := "e2e-" + tt.name
			st := newStack(t, setup{provider: "own", idp: func(t *testing.T, st *stack, _ string) map[string]any {
				k.makeRealm(t, realm, tt.client, st)
				provider := map[string]any{
					"name": "oidc", "issuerURL": k.base + "/realms/" + realm, "clientID": "mfa-e2e",
					"allowedEmailDomains": []string{`example\.com`}, "groupsClaim": "groups",
				}
				for name, value := range tt.proof {
					provider[name] = value
				}
				return provider
			}})
			signsIn(t, st, alice, "alice@example.com", []string{"admins", "engineering"}, 3, func(t *testing.T) { k.disable(t, realm) })
		})
	}
}

// keyPair writes a private key to a file and returns its certificate as Keycloak wants it.
func keyPair(t *testing.T) (file, certificate string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return write(t, "client-key.pem", string(text)), base64.StdEncoding.EncodeToString(der)
}

type keycloak struct {
	base    string
	process *process
}

// keycloaks is the one that all tests share, because it takes half a minute to
// start. Each test makes a realm of its own.
var keycloaks struct {
	sync.Mutex
	shared *keycloak
}

// keycloakArguments are all that any test needs. Keycloak sends the events that wait
// every 30 seconds unless told otherwise.
var keycloakArguments = []string{
	"start-dev", "--db=dev-mem", "--http-host=127.0.0.1", "--features=resource-indicators,ssf",
	"--spi-ssf-transmitter--default--allow-insecure-push-targets=true", "--spi-ssf-transmitter--default--outbox-drainer-interval=500ms",
}

// startKeycloak returns the Keycloak of all tests, and starts it if need be.
func startKeycloak(t *testing.T) *keycloak {
	t.Helper()
	home := cached("keycloak-" + keycloakVersion)
	_, err := os.Stat(filepath.Join(home, "bin", "kc.sh"))
	optional(t, home != "" && err == nil, "Keycloak in the cache (hack/e2e/install.sh)")
	keycloaks.Lock()
	defer keycloaks.Unlock()
	k := keycloaks.shared
	if k == nil {
		port := freePorts(t, 1)[0]
		k = &keycloak{base: "http://127.0.0.1:" + port}
		k.process = launch(t, nil, "keycloak", []string{
			"KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD=admin", "JAVA_OPTS_KC_HEAP=-Xms64m -Xmx768m",
		}, filepath.Join(home, "bin", "kc.sh"), append(slices.Clone(keycloakArguments), "--http-port="+port)...)
		keycloaks.shared = k
	}
	said := len(k.process.out.String())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("---- keycloak ----\n%s", tail(k.process.out.String()[said:], 16<<10))
		}
	})
	k.wait(t)
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	if ledger.versions == nil {
		ledger.versions = map[string]string{}
	}
	ledger.versions["keycloak"] = keycloakVersion
	return k
}

// stopShared ends what tests share.
func stopShared() {
	keycloaks.Lock()
	defer keycloaks.Unlock()
	if k := keycloaks.shared; k != nil {
		_ = syscall.Kill(-k.process.cmd.Process.Pid, syscall.SIGKILL)
		<-k.process.done
	}
}

// create makes a realm, and replaces one of that name from an earlier run of the test.
func (k *keycloak) create(t *testing.T, realm map[string]any) {
	t.Helper()
	name := realm["realm"].(string)
	if resp, _ := do(t, http.MethodGet, k.base+"/realms/"+name, nil); resp.StatusCode == http.StatusOK {
		k.admin(t, http.MethodDelete, "/admin/realms/"+name, nil, http.StatusNoContent)
	}
	k.admin(t, http.MethodPost, "/admin/realms", realm, http.StatusCreated)
}

// wait: the first start of a distribution takes a minute.
func (k *keycloak) wait(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		select {
		case <-k.process.done:
			t.Fatalf("Keycloak ended at once (%v)", k.process.err)
		default:
		}
		if resp, err := http.Get(k.base + "/realms/master"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	t.Fatal("Keycloak is not ready after five minutes")
}

// admin asks Keycloak's own API.
func (k *keycloak) admin(t *testing.T, method, path string, body any, want int) []byte {
	t.Helper()
	form := url.Values{"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {"admin"}}
	_, text := do(t, http.MethodPost, k.base+"/realms/master/protocol/openid-connect/token", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	var token grant
	if err := json.Unmarshal(text, &token); err != nil {
		t.Fatalf("no token of the administrator: %s", text)
	}
	content, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, answer := do(t, method, k.base+path, bytes.NewReader(content), "Content-Type", "application/json", "Authorization", "Bearer "+token.AccessToken)
	if resp.StatusCode != want {
		t.Fatalf("%s %s: %s\n%s", method, path, resp.Status, answer)
	}
	return answer
}

func (k *keycloak) makeRealm(t *testing.T, realm string, client map[string]any, st *stack) {
	t.Helper()
	full := map[string]any{
		"clientId": "mfa-e2e", "enabled": true, "protocol": "openid-connect", "publicClient": false, "standardFlowEnabled": true,
		"redirectUris": []string{"http://127.0.0.1:" + st.port + "/callback", "http://localhost:" + st.port + "/callback"},
		"attributes":   map[string]any{"pkce.code.challenge.method": "S256"},
		"protocolMappers": []any{map[string]any{
			"name": "groups", "protocol": "openid-connect", "protocolMapper": "oidc-group-membership-mapper",
			"config": map[string]any{"claim.name": "groups", "full.path": "false", "id.token.claim": "true", "userinfo.token.claim": "true"},
		}},
	}
	for name, value := range client {
		full[name] = value
	}
	k.create(t, map[string]any{
		"realm": realm, "enabled": true, "revokeRefreshToken": true, "refreshTokenMaxReuse": 0,
		"groups": []any{map[string]any{"name": "engineering"}, map[string]any{"name": "admins"}},
		"users": []any{map[string]any{
			"username": alice.username, "enabled": true, "email": "alice@example.com", "emailVerified": true, "firstName": "Alice", "lastName": "Example",
			"groups":      []string{"/engineering", "/admins"},
			"realmRoles":  []string{"offline_access"}, // as people get it by default, but not those who are made in this way
			"credentials": []any{map[string]any{"type": "password", "value": alice.password, "temporary": false}},
		}},
		"clients": []any{full},
	})
}

func (k *keycloak) disable(t *testing.T, realm string) {
	t.Helper()
	var users []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(k.admin(t, http.MethodGet, "/admin/realms/"+realm+"/users?username="+alice.username, nil, http.StatusOK), &users); err != nil || len(users) != 1 {
		t.Fatalf("%v, %d users", err, len(users))
	}
	k.admin(t, http.MethodPut, "/admin/realms/"+realm+"/users/"+users[0].ID, map[string]any{"enabled": false}, http.StatusNoContent)
}

// TestDex signs in at a real Dex, by the connector that it brings for tests. Its
// storage in memory locks itself out at a refresh of an account of its own, and
// at the second refresh of any, so there is one.
func TestDex(t *testing.T) {
	dex, err := exec.LookPath("dex")
	optional(t, err == nil, "dex on PATH")
	st := newStack(t, setup{provider: "own", idp: func(t *testing.T, st *stack, port string) map[string]any {
		issuer := "http://127.0.0.1:" + port + "/dex"
		text, err := yaml.Marshal(map[string]any{
			"issuer": issuer, "storage": map[string]any{"type": "memory"}, "web": map[string]any{"http": "127.0.0.1:" + port},
			"oauth2": map[string]any{"skipApprovalScreen": true, "responseTypes": []string{"code"}},
			"connectors": []any{map[string]any{
				"type": "mockPassword", "id": "mock", "name": "Mock", "config": map[string]any{"username": alice.username, "password": alice.password},
			}},
			"staticClients": []any{map[string]any{
				"id": "mfa-e2e", "name": "e2e", "secret": clientSecret,
				"redirectURIs": []string{fmt.Sprintf("http://127.0.0.1:%s/callback", st.port), fmt.Sprintf("http://localhost:%s/callback", st.port)},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		st.idp = start(t, "dex", nil, dex, "serve", write(t, "dex.yaml", string(text)))
		st.idp.waitHTTP(t, issuer+"/.well-known/openid-configuration", http.StatusOK)
		return map[string]any{
			"name": "oidc", "issuerURL": issuer, "clientID": "mfa-e2e", "clientSecret": clientSecret,
			"scopes": []string{"openid", "email", "profile", "groups"}, "allowedEmailDomains": []string{`kilgore\.trout`},
		}
	}})
	signsIn(t, st, alice, "kilgore@kilgore.trout", []string{"-"}, 1, nil)
}
