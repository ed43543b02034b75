//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestPrometheus has a real Prometheus scrape the service, and asks it what every
// panel of the dashboard asks.
func TestPrometheus(t *testing.T) {
	server, promtool := program(t, "prometheus"), program(t, "promtool")
	audit := filepath.Join(t.TempDir(), "audit.jsonl")
	st := newStack(t, setup{provider: "static", change: func(file map[string]any) {
		file["audit"] = map[string]any{"file": audit}
	}})

	text := fetchText(t, "http://"+st.managementAddress+"/metrics")
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}

	dir, address := t.TempDir(), "127.0.0.1:"+freePorts(t, 1)[0]
	config := fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms}
scrape_configs:
  - job_name: mcp-forward-auth
    static_configs: [{targets: [%q], labels: {namespace: mcp, pod: a}}]
`, st.managementAddress)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "prometheus", nil, server, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	p.waitHTTP(t, "http://"+address+"/-/ready", http.StatusOK)
	query := func(expr string) []json.RawMessage {
		t.Helper()
		var answer struct {
			Status, Error string
			Data          struct{ Result []json.RawMessage }
		}
		if err := json.Unmarshal([]byte(fetchText(t, "http://"+address+"/api/v1/query?query="+url.QueryEscape(expr))), &answer); err != nil || answer.Status != "success" {
			t.Fatalf("%s: %v %s", expr, err, answer.Error)
		}
		return answer.Data.Result
	}
	scrapes := func(atLeast int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); len(query(fmt.Sprintf(`count_over_time(up{job="mcp-forward-auth"}[1m]) >= %d and up == 1`, atLeast))) == 0; time.Sleep(200 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("Prometheus has not scraped the service %d times", atLeast)
			}
		}
	}
	scrapes(2) // what happens now is an increase
	session := connectGoSDK(t, st.statelessURL, modern, alice)
	whoami(t, session)
	refused := func() {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, st.statelessURL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer not-a-token")
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%v %v", resp, err)
		}
		resp.Body.Close()
	}
	refused()
	scrapes(5)
	whoami(t, session)
	refused()
	// A refusal with a good token. The client closes its session at it.
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "no-such-tool"}); err == nil {
		t.Fatal("a tool that does not exist was called")
	}
	scrapes(11)

	data, err := os.ReadFile("../../charts/mcp-forward-auth/dashboards/mcp-forward-auth.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			asked++
			expr := strings.NewReplacer("$__rate_interval", "1m", "$namespace", "mcp").Replace(target.Expr)
			if len(query(expr)) == 0 {
				t.Errorf("%s has no data: %s", panel.Title, expr)
			}
		}
	}
	if asked < 30 {
		t.Errorf("the dashboard asks %d times", asked)
	}
	for _, step := range []string{"authorize", "consent_shown", "approved", "provider", "callback", "code_issued", "redeemed"} {
		if len(query(fmt.Sprintf(`mcp_forward_auth_login_steps_total{step=%q} == 1`, step))) != 1 {
			t.Errorf("the sign-in is not counted at %s", step)
		}
	}
	content, err := os.ReadFile(audit)
	if err != nil || !strings.Contains(string(content), `"event":"token.issued"`) {
		t.Errorf("the audit file lacks the sign-in: %v\n%s", err, content)
	}
}

func fetchText(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
