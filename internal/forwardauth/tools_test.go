package forwardauth

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// call gives the headers of a tools/call of the current revision.
func call(tool string) []string {
	return []string{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool}
}

func b64(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }

func TestToolPolicy(t *testing.T) {
	f := newFixture(t, "a.example/mcp strict.example/mcp advisory.example/mcp", func(uri string, r *rule.Rules) {
		switch {
		case strings.Contains(uri, "strict"):
			r.ToolPolicy = rule.Strict
		case strings.Contains(uri, "advisory"):
			r.ToolPolicy = rule.Advisory
		}
	})
	read := map[string]string{}
	for _, host := range []string{"a", "strict", "advisory"} {
		read[host] = f.token(t, "https://"+host+".example/mcp", "read")
	}
	type statuses struct{ enforce, strict int }
	both := func(s int) statuses { return statuses{s, s} }
	coarse := statuses{200, 403}
	version := func(v string, rest ...string) []string { return append([]string{"MCP-Protocol-Version", v}, rest...) }
	for name, tt := range map[string]struct {
		headers []string
		want    statuses
	}{
		"a tool of the scope":                     {call("list"), both(200)},
		"a tool of one of two scopes":             {call("get"), both(200)},
		"RS-ERR-04 a tool of another scope":       {call("put"), both(-1)}, // step-up
		"RS-HDR-11 unknown tool":                  {call("drop"), both(403)},
		"RS-HDR-07 no tool but a resource":        {version("2026-07-28", "Mcp-Method", "resources/read", "Mcp-Name", "put"), both(200)},
		"other method":                            {version("2026-07-28", "Mcp-Method", "tools/list"), both(200)},
		"notification":                            {version("2026-07-28", "Mcp-Method", "notifications/cancelled"), both(200)},
		"RS-HDR-01 old version, harmless name":    {version("2025-11-25", "Mcp-Method", "tools/call", "Mcp-Name", "list"), coarse},
		"ATK-55 old version, other name":          {version("2025-11-25", "Mcp-Method", "tools/call", "Mcp-Name", "put"), coarse},
		"ATK-55 no version":                       {[]string{"Mcp-Method", "tools/call", "Mcp-Name", "list"}, coarse},
		"RS-HDR-10 no version, no headers":        {nil, coarse},
		"RS-HDR-10 version that is no date":       {version("draft", "Mcp-Method", "tools/call", "Mcp-Name", "put"), coarse},
		"RS-HDR-10 version that resembles a date": {version("2026-07-2x"), coarse},
		"the day before":                          {version("2026-07-27"), coarse},
		"a later version":                         {version("2027-01-31", "Mcp-Method", "tools/call", "Mcp-Name", "put"), both(-1)},
		"RS-HDR-04 modern without method":         {version("2026-07-28"), both(400)},
		"RS-HDR-04 empty method":                  {version("2026-07-28", "Mcp-Method", ""), both(400)},
		"RS-HDR-04 no name":                       {version("2026-07-28", "Mcp-Method", "tools/call"), both(400)},
		"RS-HDR-04 empty name":                    {version("2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", ""), both(400)},
		"RS-HDR-04 no name of a prompt":           {version("2026-07-28", "Mcp-Method", "prompts/get"), both(400)},
		"RS-HDR-04 no name of a resource":         {version("2026-07-28", "Mcp-Method", "resources/read"), both(400)},
		"RS-HDR-03 two versions":                  {version("2025-11-25", "MCP-Protocol-Version", "2026-07-28"), both(400)},
		"RS-HDR-03 joined versions":               {version("2025-11-25, 2026-07-28"), both(400)},
		"RS-HDR-03 two methods":                   {append(call("list"), "Mcp-Method", "tools/call"), both(400)},
		"RS-HDR-03 joined methods":                {version("2026-07-28", "Mcp-Method", "tools/list,tools/call", "Mcp-Name", "list"), both(400)},
		"ATK-56 two names":                        {append(call("list"), "Mcp-Name", "put"), both(400)},
		"ATK-56 joined names":                     {call("list,put"), both(400)},
		"RS-HDR-03 values are case-sensitive":     {version("2026-07-28", "Mcp-Method", "Tools/Call", "Mcp-Name", "put"), both(200)}, // no method of MCP: the server refuses it
		"ATK-56 case of a name":                   {call("List"), both(403)},
		"ATK-56 trailing dot":                     {call("list."), both(403)},
		"ATK-56 confusable":                       {call(b64("l\u0456st")), both(403)},
		"RS-HDR-05 encoded name, opened":          {call(b64("list")), both(200)},
		"RS-HDR-05 encoded name, not opened":      {call(b64("put")), both(-1)},
		"RS-HDR-05 encoded name, not ASCII":       {call(b64("naïve")), both(-1)},
		"ATK-56 sentinel in a sentinel":           {call(b64(b64("list"))), both(-1)}, // the tool that is called so
		"ATK-56 trailing space in a name":         {call(b64("list ")), both(403)},
		"RS-HDR-06 upper-case marker is a name":   {call("=?BASE64?bGlzdA==?="), both(403)},
		"RS-HDR-06 start without end is a name":   {call("=?base64?bGlzdA=="), both(403)},
		"RS-HDR-06 bad Base64":                    {call("=?base64?bGlz*A==?="), both(400)},
		"ATK-56 Base64 without padding":           {call("=?base64?bGlzdA?="), both(400)},
		"ATK-56 Base64 with bits to spare":        {call("=?base64?bGlzdB==?="), both(400)},
		"ATK-56 Base64 of the other alphabet":     {call("=?base64?bmHDr3Zl-_8=?="), both(400)},
		"RS-HDR-06 not UTF-8":                     {call("=?base64?/w==?="), both(400)},
		"RS-HDR-06 empty payload":                 {call("=?base64??="), both(400)},
		"RS-HDR-06 byte outside of ASCII":         {call("na\xc3\xafve"), both(400)},
		"RS-HDR-06 control character":             {call("li\x01st"), both(400)},
		"RS-HDR-08 parameters have no effect":     {append(call("list"), "Mcp-Param-Name", "put", "Mcp-Param-Tool", "drop"), both(200)},
		"ATK-55 method override":                  {append(call("put"), "X-HTTP-Method-Override", "GET"), both(-1)},
	} {
		for _, host := range []string{"a", "strict", "advisory"} {
			for _, dialect := range []Dialect{NGINX, Forwarded} {
				t.Run(name+"/"+host+"/"+dialect.String(), func(t *testing.T) {
					headers := append(slices.Clone(tt.headers), "Authorization", "Bearer "+read[host])
					want := map[string]int{"a": tt.want.enforce, "strict": tt.want.strict, "advisory": 200}[host]
					r := nginxRequest("POST", "https://"+host+".example/mcp", headers...)
					if dialect == Forwarded {
						r = forwardedRequest("POST", "https://"+host+".example/mcp", "", headers...)
					}
					stepUp := want < 0
					switch {
					case stepUp && dialect == NGINX:
						want = 401
					case stepUp:
						want = 403
					case want == 400 && dialect == NGINX:
						want = 403
					}
					f.audit.Reset()
					resp := f.ask(t, r)
					if resp.StatusCode != want {
						t.Fatalf("status %d, want %d; %s", resp.StatusCode, want, &f.audit)
					}
					c := challenge(t, resp)
					if stepUp != (c["error"] == "insufficient_scope") || !stepUp && c != nil {
						t.Errorf("challenge %v", c)
					}
					if stepUp && (c["scope"] != "read write" || c["resource_metadata"] != "https://"+host+".example/.well-known/oauth-protected-resource/mcp") {
						t.Errorf("challenge %v", c)
					}
					if advised := strings.Contains(f.audit.String(), "access.advised"); advised != (host == "advisory" && tt.want.enforce != 200) {
						t.Errorf("advised %v: %s", advised, &f.audit)
					}
				})
			}
		}
	}
}

// The examples of "Value Encoding".
func TestDecodeName(t *testing.T) {
	for value, want := range map[string]string{
		"us-west1":                            "us-west1",
		"=?base64?SGVsbG8sIOS4lueVjA==?=":     "Hello, 世界",
		"=?base64?IHBhZGRlZCA=?=":             " padded ",
		"=?base64?bGluZTEKbGluZTI=?=":         "line1\nline2",
		"=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=": "=?base64?literal?=",
	} {
		if got, ok := decodeName(value); !ok || got != want {
			t.Errorf("RS-HDR-05 %s: %q, %v", value, got, ok)
		}
	}
}

func TestScopeRules(t *testing.T) {
	f := newFixture(t, "a.example/mcp", func(_ string, r *rule.Rules) {
		r.Scopes = []rule.Scope{
			{Name: "notes", Resources: []string{"note://public/*", "note://one"}, Prompts: []string{"sum*"}},
			{Name: "secrets", Resources: []string{"note://secret/*"}},
			{Name: "all", Resources: []string{"*"}},
			{Name: "admin", Includes: []string{"root"}},
			{Name: "root", Includes: []string{"write", "notes", "admin"}},
		}
	})
	f.scopes.names = append(f.scopes.names, "notes", "secrets", "all", "admin", "root")
	ask := func(t *testing.T, scope, method, name string) (int, string) {
		t.Helper()
		resp := f.ask(t, forwardedRequest("POST", aMCP, "", "Authorization", "Bearer "+f.token(t, aMCP, scope),
			"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", method, "Mcp-Name", name))
		return resp.StatusCode, challenge(t, resp)["scope"]
	}
	for name, tt := range map[string]struct {
		scope, method, name string
		status              int
		challenge           string
	}{
		"RS-ERR-06 a scope that includes the one":    {"root", "tools/call", "put", 200, ""},
		"RS-ERR-06 over another, in a circle":        {"admin", "tools/call", "put", 200, ""},
		"RS-ERR-06 not the other way round":          {"write", "resources/read", "note://one", 403, "write notes"},
		"what the broad one does not include":        {"admin", "tools/call", "list", 403, "admin read"},
		"resource":                                   {"notes", "resources/read", "note://public/x", 200, ""},
		"resource, spelled out":                      {"notes", "resources/read", "note://one", 200, ""},
		"resource, longer than spelled out":          {"notes", "resources/read", "note://one/x", 403, "notes all"},
		"resource of another scope":                  {"notes", "resources/read", "note://secret/x", 403, "notes secrets"},
		"resource, encoded":                          {"notes", "resources/read", b64("note://public/ï"), 200, ""},
		"resource with a way out":                    {"notes", "resources/read", "note://public/../secret/x", 403, ""},
		"resource with an encoded way out":           {"notes", "resources/read", "note://public/%2E%2e/secret/x", 403, ""},
		"resource with a way out for Windows":        {"notes", "resources/read", `note://public\..\secret`, 403, ""},
		"ATK-56 two resources that were joined":      {"notes", "resources/read", "note://public/x,note://secret/x", 403, ""},
		"prompt":                                     {"notes", "prompts/get", "summary", 200, ""},
		"prompt that no scope names":                 {"notes", "prompts/get", "other", 403, ""},
		"RS-HDR-07 a tool by the name of a prompt":   {"notes", "tools/call", "summary", 403, ""},
		"RS-HDR-07 a tool by the name of a resource": {"notes", "tools/call", "note://one", 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, scope := ask(t, tt.scope, tt.method, tt.name)
			if status != tt.status || scope != tt.challenge {
				t.Errorf("status %d, scope %q; want %v, %v", status, scope, tt.status, tt.challenge)
			}
		})
	}
}

func TestStepUp(t *testing.T) {
	f := newFixture(t, "a.example/mcp b.example/mcp c.example/mcp", func(uri string, r *rule.Rules) {
		r.StepUpStatus = map[string]int{"https://b.example/mcp": 401, "https://c.example/mcp": 403}[uri]
	})
	denied := func(t *testing.T, host, scope string, render Dialect) *http.Response {
		uri := "https://" + host + ".example/mcp"
		h := http.Header{"Authorization": {"Bearer " + f.token(t, uri, scope)}, "Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"put"}}
		r, err := renderings[render](where{host: host + ".example", path: "/mcp"}, h)
		if err != nil {
			t.Fatal(err)
		}
		return f.ask(t, r)
	}
	for host, want := range map[string]map[Dialect]int{
		"a": {NGINX: 401, GatewayAPI: 401, Forwarded: 403, EnvoyHTTP: 403},
		"b": {NGINX: 401, GatewayAPI: 401, Forwarded: 401, EnvoyHTTP: 401},
		"c": {NGINX: 403, GatewayAPI: 403, Forwarded: 403, EnvoyHTTP: 403},
	} {
		for dialect, status := range want {
			t.Run("RS-FWD-02 "+host+"/"+dialect.String(), func(t *testing.T) {
				resp := denied(t, host, "read", dialect)
				if c := challenge(t, resp); resp.StatusCode != status || c["error"] != "insufficient_scope" || c["scope"] != "read write" {
					t.Errorf("status %d, %v", resp.StatusCode, c)
				}
			})
		}
	}
	t.Run("RS-ERR-05 what was granted is kept, offline_access is not asked for", func(t *testing.T) {
		if c := challenge(t, denied(t, "a", "other offline_access read", Forwarded)); c["scope"] != "other read write" {
			t.Errorf("%v", c)
		}
	})
	t.Run("ATK-63 the same question has the same answer", func(t *testing.T) {
		first := denied(t, "a", "read", Forwarded).Header.Get("WWW-Authenticate")
		for range 5 {
			if again := denied(t, "a", "read", Forwarded).Header.Get("WWW-Authenticate"); again != first {
				t.Errorf("%s, then %s", first, again)
			}
		}
	})
	t.Run("ATK-63 what was asked for is enough", func(t *testing.T) {
		c := challenge(t, denied(t, "a", "read", Forwarded))
		if resp := denied(t, "a", c["scope"], Forwarded); resp.StatusCode != 200 {
			t.Errorf("status %d, want 200", resp.StatusCode)
		}
	})
	t.Run("ATK-63 a scope that cannot be granted is not asked for", func(t *testing.T) {
		defer func(before []string) { f.scopes.names = before }(f.scopes.names)
		f.scopes.names = []string{"read"}
		if resp := denied(t, "a", "read", Forwarded); resp.StatusCode != 403 || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
		}
	})
	t.Run("RS-ERR-08 while the catalogue is not known nobody is sent to sign in", func(t *testing.T) {
		defer func() { f.scopes.known = true }()
		f.scopes.known = false
		if resp := denied(t, "a", "read", Forwarded); resp.StatusCode != 403 || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
		}
	})
	t.Run("scopes beyond a header's size: only what is needed", func(t *testing.T) {
		if c := challenge(t, denied(t, "a", strings.Repeat("a", 500)+" "+strings.Repeat("b", 600), Forwarded)); c["scope"] != "write" {
			t.Errorf("%v", c)
		}
	})
}

func TestNarrowest(t *testing.T) {
	rules := &rule.Rules{Scopes: []rule.Scope{{Name: "wide", Includes: []string{"middle"}}, {Name: "middle", Includes: []string{"narrow"}}, {Name: "x", Includes: []string{"y"}}, {Name: "y", Includes: []string{"x"}}}}
	for _, tt := range []struct{ openers, grantable, want string }{
		{"wide narrow", "wide narrow middle", "narrow"},
		{"wide middle", "wide middle narrow", "middle"},
		{"wide narrow", "wide", "wide"},
		{"x y", "x y", "x"},
		{"a b", "a b", "a"},
		{"a", "", ""},
		{"", "a", ""},
	} {
		if got, _ := narrowest(rules, scopesOf(tt.openers), scopesOf(tt.grantable)); got != tt.want {
			t.Errorf("%v: %q", tt, got)
		}
	}
}

// What the client says of itself stands in the audit log only beside a good token.
func TestWordsOfStrangersAreNotWritten(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	good := f.token(t, aMCP, "read")
	for _, credentials := range []string{"", "Basic x", "Bearer x", "Bearer " + good + "x", "Bearer " + good[:len(good)-4] + "AAAA", "Bearer " + f.token(t, "https://b.example", "read")} {
		f.audit.Reset()
		f.ask(t, nginxRequest("POST", aMCP, append(call("words-of-the-client"), "Authorization", credentials)...))
		if text := f.audit.String(); !strings.Contains(text, "access.denied") || strings.Contains(text, "words-of-the-client") || strings.Contains(text, "tools/call") {
			t.Errorf("%q: %s", credentials, text)
		}
	}
	f.audit.Reset()
	f.ask(t, nginxRequest("POST", aMCP, append(call("words-of-the-client"), "Authorization", "Bearer "+good)...))
	if text := f.audit.String(); !strings.Contains(text, `"mcp_tool":"words-of-the-client"`) {
		t.Errorf("beside a good token they are missing: %s", text)
	}
}
