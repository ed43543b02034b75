//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// browserReport is the line that hack/e2e/browser.mjs prints.
type browserReport struct {
	Browser string `json:"browser"`
	Axe     []struct {
		Page    string   `json:"page"`
		Variant string   `json:"variant"`
		ID      string   `json:"id"`
		Impact  string   `json:"impact"`
		Help    string   `json:"help"`
		Nodes   []string `json:"nodes"`
	} `json:"axe"`
	Overflow []struct {
		Page    string `json:"page"`
		Variant string `json:"variant"`
		Pixels  int    `json:"pixels"`
	} `json:"overflow"`
	Screenshots   []string               `json:"screenshots"`
	Console       []string               `json:"console"`
	RefusedStatus int                    `json:"refusedStatus"`
	Framed        bool                   `json:"framed"`
	Flows         map[string]browserFlow `json:"flows"`
	Error         string                 `json:"error"`
}

type browserFlow struct {
	Offered      []string `json:"offered"`
	Reached      bool     `json:"reached"`
	NeverArrived bool     `json:"neverArrived"`
	State        bool     `json:"state"`
	Iss          string   `json:"iss"`
	Error        string   `json:"error"`
	Page         string   `json:"page"`
	Token        struct {
		Status   int    `json:"status"`
		Scope    string `json:"scope"`
		Error    string `json:"error"`
		HasToken bool   `json:"hasToken"`
	} `json:"token"`
}

// TestBrowser has Chromium go through complete sign-ins: to a loopback
// redirect, to a private-use scheme and to https, with and without scripts.
func TestBrowser(t *testing.T) {
	for _, c := range []struct{ provider, host string }{{"oidc", "127.0.0.1"}, {"static", "localhost"}} {
		t.Run(c.provider, func(t *testing.T) {
			chromium := program(t, "chromium", "/usr/bin/chromium")
			st := newStack(t, setup{provider: c.provider})
			mcpURL := st.statelessURL
			if c.host == "localhost" {
				mcpURL = st.statefulURL
			}
			got := drive[browserReport](t, "browser.mjs", []string{
				"CHROMIUM=" + chromium, "OUT=" + screenshots(t), "LABEL=" + c.provider, "DROP=" + scopeWrite,
			}, mcpURL)
			if got.Error != "" {
				t.Errorf("the browser's journey ended early: %s", got.Error)
			}
			for _, v := range got.Axe {
				t.Errorf("accessibility: %s (%s, %s): %s: %s %q", v.Page, v.Variant, v.Impact, v.ID, v.Help, v.Nodes)
			}
			for _, o := range got.Overflow {
				t.Errorf("%s (%s) is %d pixels too wide", o.Page, o.Variant, o.Pixels)
			}
			for _, line := range got.Console {
				// The refused requests are asked for on purpose.
				if !strings.Contains(line, "the server responded with a status of 4") {
					t.Errorf("console: %s", line)
				}
			}
			mustEqual(t, "status of a foreign redirect URI", got.RefusedStatus, 400)
			mustEqual(t, "consent page in another site's frame", got.Framed, false)
			for _, name := range []string{"loopback", "withoutScripts", "privateScheme", "https"} {
				t.Run(name, func(t *testing.T) {
					track(t)
					checkFlow(t, got.Flows[name], origin(mcpURL), name == "loopback")
				})
			}
			t.Logf("Chromium %s, %d screenshots", got.Browser, len(got.Screenshots))
		})
	}
}

func checkFlow(t *testing.T, f browserFlow, issuer string, narrowed bool) {
	t.Helper()
	if !f.Reached || f.NeverArrived {
		t.Fatalf("the browser did not get back to the client: %+v", f)
	}
	mustEqual(t, "state came back", f.State, true)
	mustEqual(t, "iss", f.Iss, issuer)
	mustEqual(t, "error", f.Error, "")
	mustEqual(t, "token status", f.Token.Status, 200)
	mustEqual(t, "token", f.Token.HasToken, true)
	if !slices.Contains(f.Offered, scopeWrite) {
		t.Errorf("offered %q", f.Offered)
	}
	if has := slices.Contains(strings.Fields(f.Token.Scope), scopeWrite); has == narrowed {
		t.Errorf("granted %q, unticked: %t", f.Token.Scope, narrowed)
	}
}

// screenshots is where pictures go.
func screenshots(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("E2E_OUT")
	if dir == "" {
		dir = filepath.Join(repository, "e2e-out")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
