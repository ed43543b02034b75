//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// checkers are what surrounds the functions of docs/identity-check.md: a program that
// reads one token a line, and prints the subject or "refused" for each.
var checkers = []struct {
	language, file, around string
	run                    func(t *testing.T, dir, file string) *exec.Cmd
}{
	{"go", "main.go", `package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
	jose "github.com/go-jose/go-jose/v4"
)

%s

func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		r, _ := http.NewRequest("POST", "http://localhost/mcp", nil)
		r.Header.Set("X-Auth-Request-Identity", lines.Text())
		if token, err := identity(r); err != nil {
			fmt.Println("refused", err)
		} else {
			fmt.Println(token.Subject)
		}
	}
}
`, func(_ *testing.T, _, file string) *exec.Cmd { return exec.Command("go", "run", file) }},
	{"typescript", "main.ts", `%s
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log((await identity(new Headers({ "X-Auth-Request-Identity": line }))).sub);
  } catch (e) {
    console.log("refused", String(e).replaceAll("\n", " "));
  }
}
`, func(t *testing.T, dir, file string) *exec.Cmd {
		modules, err := filepath.Abs(filepath.Join(drivers, "node_modules"))
		if err == nil {
			err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
		}
		if err != nil {
			t.Fatal(err)
		}
		return exec.Command(node(t), "--no-warnings", file)
	}},
	{"python", "main.py", `%s
import sys

for line in sys.stdin:
    try:
        print(identity({"X-Auth-Request-Identity": line.rstrip("\n")})["sub"])
    except Exception as e:
        print("refused", repr(e).replace("\n", " "))
`, func(t *testing.T, _, file string) *exec.Cmd { return exec.Command(python(t), file) }},
}

// An MCP server that checks the signed identity header for itself, as the page shows
// for three languages, knows the person and refuses everything else.
func TestIdentityChecked(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "identity-check.md"))
	if err != nil {
		t.Fatal(err)
	}
	keys, forged := signingKeys(t, "s"), signingKeys(t, "f")
	published := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/openid/v1/jwks" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(keys.JWKS())
	}))
	t.Cleanup(published.Close)
	lines, names := identityLines(t, published.URL, keys, forged)
	for _, c := range checkers {
		t.Run(c.language, func(t *testing.T) {
			block := regexp.MustCompile("(?ms)^```" + c.language + "\n(.*?)^```$").FindSubmatch(page)
			if block == nil {
				t.Fatalf("the page has no block of %s", c.language)
			}
			if n := bytes.Count(bytes.TrimSpace(block[1]), []byte("\n")) + 1; n > 12 {
				t.Errorf("%d lines, which are more than a reader wants to copy", n)
			}
			dir := t.TempDir()
			file := filepath.Join(dir, c.file)
			source := strings.ReplaceAll(fmt.Sprintf(c.around, block[1]), "https://mcp.example.com", published.URL)
			if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := c.run(t, dir, file)
			context.AfterFunc(ctx, func() {
				if cmd.Process != nil {
					_ = cmd.Process.Kill()
				}
			})
			cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
			var errors bytes.Buffer
			cmd.Stderr = &errors
			out, err := cmd.Output()
			said := strings.Split(strings.TrimSpace(string(out)), "\n")
			if err != nil || len(said) != len(lines) {
				t.Fatalf("%v, %d answers to %d tokens\n%s%s", err, len(said), len(lines), out, errors.Bytes())
			}
			for i, answer := range said {
				if good := names[i] == "good"; good && answer != "google:1081" || !good && !strings.HasPrefix(answer, "refused") {
					t.Errorf("%s: %s", names[i], answer)
				}
			}
		})
	}
}

// signingKeys are the keys of a service with this seed.
func signingKeys(t *testing.T, seed string) *keyset.Set {
	t.Helper()
	keys, err := keyset.New(keyset.Options{Sources: []keyset.Source{keyset.Seed{Secret: []byte(strings.Repeat(seed, 32)), Period: time.Hour}}, Period: time.Hour, TokenLifetime: time.Hour, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// identityLines are tokens, with what each is.
func identityLines(t *testing.T, issuer string, keys, forged *keyset.Set) (lines, names []string) {
	t.Helper()
	sign := func(name string, by *keyset.Set, i token.Identity, age, life time.Duration) string {
		i.Subject, i.Client, i.Scope = "google:1081", "c", "notes:read"
		payload, err := i.Payload()
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		raw, err := (&token.Identities{Keys: by, Lifetime: 5 * time.Minute}).Sign(payload, at, at.Add(life))
		if err != nil {
			t.Fatal(err)
		}
		lines, names = append(lines, raw), append(names, name)
		return raw
	}
	right := token.Identity{Issuer: issuer, Audience: issuer + "/mcp"}
	good := sign("good", keys, right, 0, 5*time.Minute)
	sign("for another server", keys, token.Identity{Issuer: issuer, Audience: issuer + "/other"}, 0, 5*time.Minute)
	sign("for the host", keys, token.Identity{Issuer: issuer, Audience: issuer}, 0, 5*time.Minute)
	sign("of another issuer", keys, token.Identity{Issuer: "https://attacker.example", Audience: issuer + "/mcp"}, 0, 5*time.Minute)
	sign("expired", keys, right, 10*time.Minute, 5*time.Minute)
	other := sign("by another key", forged, right, 0, 5*time.Minute)

	add := func(name, raw string) { lines, names = append(lines, raw), append(names, name) }
	part := func(raw string, i int) string { return strings.Split(raw, ".")[i] }
	add("by another key under a known kid", part(good, 0)+"."+part(other, 1)+"."+part(other, 2))
	payload, _ := base64.RawURLEncoding.DecodeString(part(good, 1))
	add("changed", part(good, 0)+"."+base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte("1081"), []byte("1082"), 1))+"."+part(good, 2))
	add("unsigned", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"mcp-identity+jwt"}`))+"."+part(good, 1)+".")
	add("nothing", "")
	add("not a token", "aaa.bbb.ccc")
	ring, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	access, _, err := (&token.Issuer{Keys: keys, Persons: token.NewPersons(ring), Lifetime: time.Hour, Now: time.Now}).Mint(
		token.Claims{Issuer: issuer, Audience: issuer + "/mcp", Subject: "google:1081", ClientID: "c", Scope: "notes:read"}, token.Person{})
	if err != nil {
		t.Fatal(err)
	}
	add("an access token for the server", access)
	sign("good", keys, right, 0, 5*time.Minute)
	return lines, names
}
