package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewaytest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/kuadrant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// What the MCP server behind every door has.
var (
	doorScopes    = []string{"s0", "s1", "s2", "s3"}
	doorTools     = []string{"t0", "t1", "t2", "t3", "u4", "u5"}
	doorPrompts   = []string{"p0", "p1", "q2"}
	doorResources = []string{"note://a/1", "note://a/2", "note://b/1", "file:///x"}
)

// some are some of the values, each by that chance.
func some(r *mathrand.Rand, chance float64, values ...string) []string {
	var out []string
	for _, v := range values {
		if r.Float64() < chance {
			out = append(out, v)
		}
	}
	return out
}

// doorsServer is an MCP server whose scopes open random tools. It answers every call.
func doorsServer(t *testing.T, r *mathrand.Rand) (address string, lists map[string]string) {
	type object = map[string]any
	named := func(member string, values []string) (out []object) {
		for _, v := range values {
			out = append(out, object{member: v, "name": v, "inputSchema": object{"type": "object"}})
		}
		return out
	}
	var scopes []object
	for _, s := range doorScopes {
		scopes = append(scopes, object{"name": s, "tools": append(some(r, .4, doorTools...), "none")})
	}
	results := map[string]object{
		"tools/list":     {"tools": named("name", doorTools), "_meta": object{"scopes": scopes}},
		"prompts/list":   {"prompts": named("name", doorPrompts)},
		"resources/list": {"resources": named("uri", doorResources)},
		"initialize":     {"protocolVersion": "2025-06-18", "capabilities": object{"tools": object{}}, "serverInfo": object{"name": "doors", "version": "1"}},
	}
	lists = map[string]string{}
	for method, result := range results {
		text, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		lists[method] = string(text)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		body, _ := io.ReadAll(r.Body)
		if json.Unmarshal(body, &m) != nil || m.ID == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		result := lists[m.Method]
		if result == "" {
			result = "{}"
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return srv.URL, lists
}

// doors is a service with one host for each door, all before the same server and with
// the same rules.
type doors struct {
	*servertest.Service
	t      *testing.T
	lists  map[string]string
	public *ecdsa.PublicKey
	envoy  gatewaytest.Envoy
	agent  *gatewaytest.Agentgateway
	hide   bool
}

func newDoors(t *testing.T, r *mathrand.Rand) *doors {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	d := &doors{t: t, public: &key.PublicKey, hide: r.IntN(2) == 0}
	address, lists := doorsServer(t, r)
	d.lists = lists
	toolPolicy := []rule.ToolPolicy{rule.Enforce, rule.Enforce, rule.Strict, rule.Advisory}[r.IntN(4)]
	var scopes []rule.Scope
	for _, s := range doorScopes[2:] {
		e := rule.Scope{Name: s, Resources: some(r, .3, "note://a/*", "note://b/1", "*"), Prompts: some(r, .4, "p0", "p*", "q2"), Includes: some(r, .3, "s0", "s1")}
		if len(e.Resources)+len(e.Prompts)+len(e.Includes) > 0 {
			scopes = append(scopes, e)
		}
	}
	var rules []rule.Rule
	for range r.IntN(4) {
		if toolPolicy == rule.Advisory { // which no rule about scopes and tools may stand beside
			break
		}
		p := rule.Rule{Effect: []string{"deny", "allow", "allow"}[r.IntN(3)], Anyone: true}
		switch r.IntN(3) {
		case 0:
			p.Scopes = append(some(r, .5, doorScopes[1:]...), "s0")
		case 1:
			p.Tools = append(some(r, .4, "t0", "t1", "u4", "t*"), "t2")
		}
		rules = append(rules, p)
	}
	d.Service = servertest.Start(t, servertest.Options{
		Files: map[string]string{"key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))},
		Edit: func(f *config.File) {
			f.Listen.GRPC = ":0"
			f.Proxy.Hosts = nil
			for _, name := range []string{"served", "envoy", "agent", "body"} {
				h := servertest.NewHost(name+".example.com", address+"/mcp")
				h.ToolPolicy, h.Scopes, h.Policy.Rules, h.HideGrantable = toolPolicy, scopes, rules, d.hide
				h.Serve.Enabled, h.EnvoyMCP, h.ExtMCP, h.Body = name == "served", name == "envoy", name == "agent", name == "body"
				if name == "body" {
					h.Kuadrant = kuadrant.File{SigningKeyFile: "key", Servers: []kuadrant.Server{{Name: "team/all"}}}
				}
				f.Proxy.Hosts = append(f.Proxy.Hosts, h)
			}
		},
	})
	conn, err := grpc.NewClient(d.GRPC(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	d.envoy, d.agent = gatewaytest.Envoy{T: t, Conn: conn}, gatewaytest.NewAgentgateway(t, conn)
	return d
}

// about is the metadata that agentgateway's configuration adds.
func about(host, token string) map[string]any {
	return map[string]any{"authorization": "Bearer " + token, "host": host, "path": "/mcp"}
}

// verdict is what becomes of a use: it passes, or could after signing in for more.
type verdict struct{ passes, grantable bool }

// uses asks at the door of a host about one use.
func (d *doors) uses(host, token, method, member, name string) (v verdict, capabilities string) {
	d.t.Helper()
	params := map[string]any{member: name}
	text, _ := json.Marshal(params)
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, text)
	switch host {
	case "envoy.example.com":
		v.passes, _ = d.envoy.Passes(host, token, method, params)
		return v, ""
	case "agent.example.com":
		told, err := d.agent.Ask("CheckRequest", d.agent.Question("McpRequest", method, string(text), about(host, token), "notes"))
		if err != nil {
			d.t.Fatal(err)
		}
		return verdict{told.Result == "pass", strings.Contains(told.Data, "insufficient_scope")}, ""
	}
	path := "/mcp"
	if host == "body.example.com" {
		path = "/authenticate/envoy/mcp"
	}
	a := d.Send(d.t, servertest.Request(d.t, http.MethodPost, "https://"+host+path, body, "Content-Type", "application/json", "Authorization", "Bearer "+token))
	return verdict{a.Status == http.StatusOK, strings.Contains(a.Header.Get("Www-Authenticate"), "insufficient_scope")}, a.Header.Get(kuadrant.Header)
}

// shown is what the door of a host shows of a list; ok is false where it shows nothing
// at all, or has no list.
func (d *doors) shown(host, token, method string) (names []string, ok bool) {
	d.t.Helper()
	document := `{"jsonrpc":"2.0","id":1,"result":` + d.lists[method] + `}`
	switch host {
	case "envoy.example.com":
		document, ok = d.envoy.Shown(host, token, method, document)
	case "agent.example.com":
		told, err := d.agent.Ask("CheckResponse", d.agent.Question("McpResponse", method, d.lists[method], about(host, token), "notes"))
		if err != nil {
			d.t.Fatal(err)
		}
		result := d.lists[method]
		if told.Result == "mutated" {
			result = told.Mutated
		}
		document, ok = `{"result":`+result+`}`, told.Result != "error"
	case "served.example.com":
		a := d.Send(d.t, servertest.Request(d.t, http.MethodPost, "https://"+host+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`,
			"Content-Type", "application/json", "Authorization", "Bearer "+token))
		document, ok = a.Body, a.Status == http.StatusOK
	}
	var answer struct {
		Result struct{ Tools, Prompts, Resources []struct{ Name, URI string } }
	}
	if err := json.Unmarshal([]byte(document), &answer); ok && err != nil {
		d.t.Fatalf("%s: %s: %v", host, document, err)
	}
	for _, e := range slices.Concat(answer.Result.Tools, answer.Result.Prompts, answer.Result.Resources) {
		names = append(names, e.Name)
	}
	return names, ok
}

// kindsOfUse are the lists with what their entries are for.
var kindsOfUse = []struct {
	list, use, member string
	names             []string
}{
	{"tools/list", "tools/call", "name", doorTools},
	{"prompts/list", "prompts/get", "name", doorPrompts},
	{"resources/list", "resources/read", "uri", doorResources},
}

// What a list shows is what can be used, or could be after signing in for more, at
// every door: where this service relays, behind Envoy, behind agentgateway, and by the
// header of Kuadrant's MCP gateway. And the doors agree.
func TestEveryDoorShowsWhatCanBeUsed(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(7) {
		r := mathrand.New(mathrand.NewPCG(seed, 15))
		d := newDoors(t, r)
		for range 2 {
			scope := strings.Join(some(r, .5, doorScopes...), " ")
			tokens := map[string]string{}
			for _, host := range []string{"served.example.com", "envoy.example.com", "agent.example.com", "body.example.com"} {
				c := d.NewClient(t, host, nil)
				c.Scope = scope
				if tokens[host] = tryToken(t, c, d.NewBrowser()); tokens[host] == "" {
					seen["no sign-in"]++
				}
			}
			for _, k := range kindsOfUse {
				d.check(t, seed, tokens, k.list, k.use, k.member, k.names, seen)
			}
		}
	}
	for _, what := range []string{"shown", "hidden", "grantable", "Kuadrant shows", "Kuadrant hides"} {
		if seen[what] == 0 {
			t.Errorf("no case of %q: %v", what, seen)
		}
	}
	t.Log(seen)
}

// check compares, for one kind of list, what each door shows with what passes there.
func (d *doors) check(t *testing.T, seed uint64, tokens map[string]string, list, use, member string, names []string, seen map[string]int) {
	t.Helper()
	first := map[string]bool{}
	for _, host := range []string{"served.example.com", "agent.example.com", "envoy.example.com"} {
		token := tokens[host]
		if token == "" {
			continue
		}
		shown, ok := d.shown(host, token, list)
		if !ok {
			t.Fatalf("seed %d: %s at %s shows nothing", seed, list, host)
		}
		for _, name := range names {
			v, _ := d.uses(host, token, use, member, name)
			is, before := slices.Contains(shown, name), first[name]
			want := v.passes || v.grantable && !d.hide
			if host == "envoy.example.com" { // its answers to denials are not told apart here
				want = before
			}
			if is != want || host != "served.example.com" && is != before || v.passes && !is {
				t.Errorf("seed %d: %s at %s: shown %v, use %+v, grantable hidden %v, at the first door shown %v", seed, name, host, is, v, d.hide, before)
			}
			first[name] = is
			seen[map[bool]string{true: "shown", false: "hidden"}[is]]++
			if v.grantable {
				seen["grantable"]++
			}
		}
	}
	d.checkKuadrant(t, seed, tokens["body.example.com"], use, member, names, first, seen)
}

// checkKuadrant compares what the header shows with what passes. The header names no
// pattern and no resource, so of prompts and resources it may show less.
func (d *doors) checkKuadrant(t *testing.T, seed uint64, token, use, member string, names []string, first map[string]bool, seen map[string]int) {
	t.Helper()
	if token == "" {
		return
	}
	_, header := d.uses("body.example.com", token, "ping", "none", "")
	capabilities := gatewaytest.Kuadrant(t, d.public, header, d.Clock.Now())
	if capabilities == nil {
		t.Fatalf("seed %d: the header %q is not good", seed, header)
	}
	kind := map[string]string{"tools/call": "tools", "prompts/get": "prompts", "resources/read": "resources"}[use]
	allowed, bounded := capabilities[kind]
	for _, name := range names {
		v, _ := d.uses("body.example.com", token, use, member, name)
		is := !bounded || slices.Contains(allowed["team/all"], name)
		want := v.passes || v.grantable && !d.hide
		if is && !want || kind == "tools" && is != want || kind == "tools" && is != first[name] {
			t.Errorf("seed %d: Kuadrant: %s: shown %v, use %+v, at the first door %v", seed, name, is, v, first[name])
		}
		seen[map[bool]string{true: "Kuadrant shows", false: "Kuadrant hides"}[is]]++
	}
}

// tryToken goes the whole way, and returns "" where the rules let no one sign in.
func tryToken(t *testing.T, c *servertest.Client, b *servertest.Browser) string {
	t.Helper()
	a := c.Begin()
	page := b.Open(t, a.URL())
	at := b.Walk(t, page, c.RedirectURI)
	if at.Query().Get("code") == "" {
		return ""
	}
	return a.Exchange(t, at.Query().Get("code")).String("access_token")
}
