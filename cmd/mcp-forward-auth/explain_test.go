package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/flows"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

const refusedLine = `{"time":"2026-01-02T03:04:05.6Z","level":"INFO","msg":"audit","audit":{"schema":"1","event":"login.refused","reason":"not_allowed_by_policy","flow":"mzxw6ytboi2dqmrt","subject":"idp.example.com:1","email":"o'hara@example.com","resource":"https://mcp.example.com/mcp"}}`

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "audit.jsonl")
	if err := os.WriteFile(log, []byte("not json\n"+refusedLine+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	memory := flows.New(time.Now)
	memory.Add(audit.Entry{Event: audit.AuthorizeRequested, Step: audit.StepAuthorize, Flow: "aaaaaaaaaaaaaaaa"})
	memory.Add(audit.Entry{Event: audit.LoginStarted, Step: audit.StepProvider, Flow: "aaaaaaaaaaaaaaaa"})
	mux := http.NewServeMux()
	memory.Register(mux)
	service := httptest.NewServer(mux)
	t.Cleanup(service.Close)
	for name, tt := range map[string]struct {
		args []string
		in   string
		code int
		want string
	}{
		"a reason":                       {[]string{"wrong_client_secret"}, "", 0, "do: " + reasons.WrongClientSecret.Remedy()},
		"a line":                         {[]string{refusedLine}, "", 0, `check-config --config FILE --as 'user=idp.example.com:1,email=o'\''hara@example.com'`},
		"a line from standard input":     {[]string{"-"}, refusedLine + "\n", 0, "rules of the policy"},
		"a sign-in in a log":             {[]string{"MZXW6YTBOI2DQMRT", "--log", log}, "", 0, "rules of the policy"},
		"a sign-in in standard input":    {[]string{"mzxw6ytboi2dqmrt", "--log", "-"}, refusedLine, 0, "rules of the policy"},
		"the rest of a line's sign-in":   {[]string{strings.Replace(refusedLine, "login.refused", "login.started", 1), "--log", log}, "", 0, "login.refused"},
		"a sign-in at a service":         {[]string{"aaaaaaaaaaaaaaaa", "--server", service.URL}, "", 0, "did not come back"},
		"a sign-in that no log has":      {[]string{"aaaaaaaaaaaaaaaa", "--log", log}, "", 1, "it has 1 audit entries"},
		"a sign-in that no service has":  {[]string{"bbbbbbbbbbbbbbbb", "--server", service.URL}, "", 1, "does not know the sign-in"},
		"no service":                     {[]string{"bbbbbbbbbbbbbbbb", "--server", "http://127.0.0.1:1"}, "", 1, "--log FILE"},
		"a log that is not there":        {[]string{"bbbbbbbbbbbbbbbb", "--log", filepath.Join(dir, "none")}, "", 1, "none"},
		"nothing that can be explained":  {[]string{"what"}, "", 2, "no id of a sign-in"},
		"nothing":                        {nil, "", 2, "give the id"},
		"a line of another kind":         {[]string{`{"msg":"ready"}`}, "", 1, "no audit entry"},
		"standard input without a line":  {[]string{"-"}, "", 2, "no line on standard input"},
		"several lines":                  {[]string{"-"}, "Defaulted container\n" + refusedLine + "\n\n", 0, "rules of the policy"},
		"a line that was cut":            {[]string{refusedLine[:250]}, "", 0, "the line was cut"},
		"what a page shows":              {[]string{"Reference: mzxw6ytboi2dqmrt", "--log", log}, "", 0, "rules of the policy"},
		"an event":                       {[]string{"login.refused"}, "", 2, "can have many reasons"},
		"a configuration with a mistake": {[]string{refusedLine, "--config", log}, "", 1, "audit.jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			err := run(t.Context(), append([]string{"explain"}, tt.args...), streams{strings.NewReader(tt.in), &out, &errs})
			code := 0
			said := out.String() + errs.String()
			if err != nil {
				code, said = exitCode(err), said+err.Error()
			}
			if code != tt.code || !strings.Contains(said, tt.want) {
				t.Errorf("%d, %s", code, said)
			}
		})
	}
}

// With the configuration it says which rule decided, also to programs.
func TestExplainNamesTheRule(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"secret": "s3cret-of-the-provider",
		"config.yaml": `provider: {name: oidc, issuerURL: https://idp.example.com, clientID: a, clientSecretFile: secret}
proxy: {hosts: [{host: mcp.example.com, endpoint: "http://127.0.0.1:1/mcp"}]}
policy:
  rules:
    - {name: no-guests, effect: deny, users: ["idp.example.com:1"]}
    - {name: staff, effect: allow, emailDomains: [example.com]}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs strings.Builder
	args := []string{"explain", refusedLine, "--config", filepath.Join(dir, "config.yaml")}
	if err := run(t.Context(), args, streams{strings.NewReader(""), &out, &errs}); err != nil || !strings.Contains(out.String(), "no-guests") {
		t.Errorf("%v %s %s", err, out.String(), errs.String())
	}
	out.Reset()
	err := run(t.Context(), append(args, "--output", "json"), streams{strings.NewReader(""), &out, &errs})
	var said struct {
		Reason, Remedy string
		Policy         struct{ Admitted bool }
	}
	if err != nil || json.Unmarshal([]byte(out.String()), &said) != nil || said.Reason != "not_allowed_by_policy" || said.Remedy == "" {
		t.Errorf("%v %s", err, out.String())
	}
}
