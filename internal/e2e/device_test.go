//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/postgres"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/redis"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// TestDeviceGrant has openid-client sign in by the device grant at two replicas behind
// one address, each request at the other one, with a real guard between them.
func TestDeviceGrant(t *testing.T) {
	t.Run("valkey", func(t *testing.T) {
		track(t)
		store := valkey.start(t, "--requirepass", "secret-password")
		deviceSignsIn(t, config.GuardFile{Backend: "redis", Redis: redis.Config{Addresses: []string{store.address()}, Password: conf.NewSecret("password")}})
	})
	t.Run("postgres", func(t *testing.T) {
		track(t)
		store := startPostgres(t)
		deviceSignsIn(t, config.GuardFile{Backend: "postgres", Postgres: postgres.Config{
			Address: "127.0.0.1:" + store.port, Database: "postgres", Username: "app", Password: conf.NewSecret("password"),
		}})
	})
}

func deviceSignsIn(t *testing.T, guard config.GuardFile) {
	t.Helper()
	var one, two *servertest.Service
	var turn atomic.Int64
	address := forwarded(t, func() string {
		if turn.Add(1)%2 == 0 {
			return two.Address()
		}
		return one.Address()
	})
	one = servertest.Start(t, servertest.Options{Files: map[string]string{"password": "secret-password\n"}, Edit: func(f *config.File) {
		f.Guard = guard
		f.Proxy.Hosts[0].Host, f.Proxy.Hosts[0].Scheme, f.Proxy.Hosts[0].DeviceGrant = address, "http", true
	}})
	two = one.Replica()
	mcpURL := "http://" + address + "/mcp"
	for _, answer := range []string{"allow", "deny"} {
		t.Run(answer, func(t *testing.T) {
			track(t)
			begun, rest := startDevice(t, mcpURL)
			mustEqual(t, "verification_uri", begun.VerificationURI, "http://"+address+"/device")
			mustEqual(t, "verification_uri_complete", begun.Complete, "")
			person := two.NewBrowser()
			page := person.Submit(t, person.Open(t, begun.VerificationURI), "user_code", begun.UserCode)
			says(t, "the consent page", page.Text(), "Terminal", begun.UserCode)
			page = person.Submit(t, page, "decision", answer)
			for page.Location() != "" || page.Form != nil { // the sign-in page is filled in
				if page.Location() == "" {
					page = person.Submit(t, page, "", "")
					continue
				}
				next, err := page.URL.Parse(page.Location())
				if err != nil {
					t.Fatal(err)
				}
				page = person.Open(t, next.String())
			}
			got := rest(t)
			if answer == "deny" {
				mustEqual(t, "what the device is told", got.Error, "access_denied")
				return
			}
			if got.Error != "" || got.Scope != "notes:read" || !got.Refreshed {
				t.Fatalf("the device got %+v\n%s", got, page.Text())
			}
			for _, replica := range []*servertest.Service{one, two} {
				mustEqual(t, "a call with its token", replica.Ask(t, mcpURL, got.AccessToken).Status, http.StatusOK)
			}
		})
	}
}

type deviceReport struct {
	UserCode        string `json:"userCode"`
	VerificationURI string `json:"verificationURI"`
	Complete        string `json:"complete"`
	Scope           string `json:"scope"`
	AccessToken     string `json:"accessToken"`
	Refreshed       bool   `json:"refreshed"`
	Error           string `json:"error"`
	Detail          string `json:"detail"`
}

// startDevice starts the program, and returns what it shows and, later, what it got.
func startDevice(t *testing.T, mcpURL string) (shown deviceReport, rest func(t *testing.T) deviceReport) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), node(t), filepath.Join(drivers, "device-client.mjs"), mcpURL)
	cmd.Env = append(os.Environ(), "SCOPE=notes:read")
	var said output
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	line := func(t *testing.T, n int) (r deviceReport) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		if len(lines) <= n || json.Unmarshal([]byte(lines[n]), &r) != nil {
			t.Fatalf("the program printed %q", said.String())
		}
		return r
	}
	waitFor(t, "the code of the device", func() bool { return strings.Contains(said.String(), "\n") })
	if shown = line(t, 0); shown.UserCode == "" {
		t.Fatalf("the program printed %q", said.String())
	}
	return shown, func(t *testing.T) deviceReport {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatalf("the program goes on: %q", said.String())
		}
		return line(t, 1)
	}
}
