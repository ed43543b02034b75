//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

var update = flag.Bool("update", false, "write docs/reference/gateways.md")

// gatewayCase is one line of the table: a request, or several, and what must
// come of it at every gateway.
type gatewayCase struct {
	name string
	want string
	run  func(b *gatewayBench) string
	// dialect: it is about what the dialect of a gateway can tell.
	dialect bool
}

// difference is what comes of a case at one gateway, and why that may be so.
type difference struct{ got, why string }

// gatewayBench is one gateway with the service and an MCP server around it.
type gatewayBench struct {
	*stack
	t      *testing.T // of the case
	parent *testing.T // of the gateway
	kind   gateway
	grant  grant // of alice
	long   chan string
	// seeing is the same gateway where the body is seen, made when it is first needed.
	seeing *gatewayBench
}

// page is the origin of a web page.
const page = "https://page.example"

const seedOfTests = "only for tests! only for tests! only for tests! only for tests! "

// casesOf are the cases for some gateways. One that is about what a dialect can
// tell is not asked of controllers, whose gateways speak those of the others.
func casesOf(kinds []gateway) []gatewayCase {
	controllers := slices.ContainsFunc(kinds, func(g gateway) bool { return g.wantsNames })
	return slices.DeleteFunc(slices.Clone(gatewayCases), func(c gatewayCase) bool { return controllers && c.dialect })
}

// Names of cases, which docs/tool-policy.md is compared with.
const (
	olderClient = "an older client: a tool that is not granted"
	lyingClient = "the same with headers that lie"
	olderStrict = "the same, with `toolPolicy: \"strict\"`"
	olderSeen   = "an older client, where the body is seen"
	headersLie  = "headers of 2026-07-28 that name another tool"
	lieSeen     = "the same, where the body is seen"
	listed      = "a list of tools"
	listedSeen  = "a list of tools, where the body is seen"
)

const insufficient = "403 with a challenge: insufficient_scope"

// gatewayCases in the order of the table. The last take the service away.
var gatewayCases = []gatewayCase{
	{"no token", "401 with a challenge", (*gatewayBench).anonymous, false},
	{"a token of another MCP server", "401 with a challenge: invalid_token", (*gatewayBench).wrongAudience, false},
	{"an expired token", "401 with a challenge: invalid_token", (*gatewayBench).expired, false},
	{"a revoked token", "401 with a challenge: invalid_token", (*gatewayBench).revoked, false},
	{"a scope that is not granted", "403 with a challenge: insufficient_scope", (*gatewayBench).insufficientScope, false},
	{"the same, with `stepUp: \"403\"`", "403 with a challenge: insufficient_scope", (*gatewayBench).stepUp403, false},
	{olderClient, insufficient, (*gatewayBench).older, true},
	{lyingClient, insufficient, (*gatewayBench).lying, true},
	{olderStrict, "403", (*gatewayBench).olderStrict, true},
	{olderSeen, insufficient, seen((*gatewayBench).lying), true},
	{headersLie, "the MCP server refuses it", (*gatewayBench).lyingHeaders, true},
	{lieSeen, "400", seen((*gatewayBench).lyingHeaders), true},
	{listed, "what the token opens", (*gatewayBench).listed, true},
	{listedSeen, "what the token opens", seen((*gatewayBench).listed), true},
	{"two Authorization headers", "400 with a challenge: invalid_request", (*gatewayBench).twoTokens, false},
	{"the body of a denial", "that of the service", (*gatewayBench).denialBody, false},
	{"a good token", "passes, with the identity", (*gatewayBench).goodToken, false},
	{"the client's token", "does not reach the MCP server", (*gatewayBench).tokenAtServer, false},
	{"forged identity headers, in every spelling", "replaced or removed", (*gatewayBench).forgedIdentity, false},
	{"a forged X-Auth-Request-* of another name", "removed", (*gatewayBench).forgedStranger, false},
	{"forged X-Forwarded-*, X-Original-*, Path, Method", "no effect", (*gatewayBench).forgedAddress, false},
	{"`Connection: X-Auth-Request-User`", "the identity arrives", (*gatewayBench).hopByHop, false},
	{"`Connection` naming headers of the sub-request", "no effect", (*gatewayBench).hopByHopAddress, false},
	{"POST with 1 MB", "arrives whole", (*gatewayBench).megabyte, false},
	{"chunked POST", "arrives whole", (*gatewayBench).chunked, false},
	{"POST with 1 MB and no token", "401 with a challenge", (*gatewayBench).megabyteAnonymous, false},
	{"event stream", "first event within 200 ms, each at once", (*gatewayBench).events, false},
	{"12 KB of headers", "passes, with the identity", (*gatewayBench).largeHeaders, false},
	{"preflight", "answered without a token", (*gatewayBench).preflight, false},
	{"a denial, read by a web page", "readable", (*gatewayBench).denialForPage, false},
	{"an answer, read by a web page", "readable", (*gatewayBench).answerForPage, false},
	{"odd paths without a token", "nothing passes", (*gatewayBench).oddPaths, false},
	{"what is not asked, without a token", "nothing passes", (*gatewayBench).unaskedPaths, false},
	{"odd paths with a token", "refused, or nothing but the MCP server's path", (*gatewayBench).oddPathsWithToken, false},
	{"odd hosts", "nothing passes", (*gatewayBench).oddHosts, false},
	{"another host in the request line than in Host", "nothing passes", (*gatewayBench).twoHosts, false},
	{"the public paths", "reach the service", (*gatewayBench).publicPaths, false},
	{"paths of no resource", "nothing passes", (*gatewayBench).foreignPaths, false},
	{"[doctor](../doctor.md)", "no fault", (*gatewayBench).doctor, false},
	{"a long event stream", "whole", (*gatewayBench).longStream, false},
	{"the service is down", "503", (*gatewayBench).serviceDown, false},
	{"the service hangs", "503 in time", (*gatewayBench).serviceHangs, false},
	{"the service answers 302, 404, 500 or nonsense", "nothing passes", (*gatewayBench).serviceConfused, false},
	{"the service is back", "passes, with the identity", (*gatewayBench).serviceBack, false},
}

// TestGateways asks every gateway the same, and compares with the table in
// docs/reference/gateways.md.
func TestGateways(t *testing.T) {
	gatewayPage.compare(t, askGateways(t, gatewayPage.kinds))
}

// askGateways returns the outcome of each case at each gateway that ran to its end.
func askGateways(t *testing.T, kinds []gateway) map[string]map[string]string {
	t.Helper()
	results := map[string]map[string]string{}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			track(t)
			kind.path(t) // ends here if there is none
			b := newGatewayBench(t, kind)
			b.startLongStream(t)
			cells := map[string]string{}
			cases := casesOf(kinds)
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					b.t = t
					b.stateless.requests()
					got := c.run(b)
					cells[c.name] = got
					want := c.want
					if d, ok := kind.differs[c.name]; ok {
						want = d.got
					}
					mustEqual(t, c.name+" at "+kind.name, got, want)
				})
			}
			if len(cells) == len(cases) {
				results[kind.name] = cells
			}
		})
	}
	return results
}

// newGatewayBench runs a gateway with a service that has more entries than the usual ones.
func newGatewayBench(t *testing.T, kind gateway) *gatewayBench {
	t.Helper()
	b := &gatewayBench{stack: newStack(t, setup{provider: "static", gateway: &kind, change: func(file map[string]any) {
		file["keys"] = map[string]any{"source": "seed", "seedFiles": []string{write(t, "seed", seedOfTests)}}
		hosts := file["proxy"].(map[string]any)["hosts"].([]any)
		mcp := hosts[0].(map[string]any)
		// The service lets preflights of this page pass: who could forge one would be in.
		mcp["cors"] = map[string]any{"allowedOrigins": []string{page}}
		if kind.serves { // nothing before it answers preflights
			mcp["cors"] = map[string]any{"allowedOrigins": []string{"*"}}
		}
		if kind.sees != "" {
			mcp[kind.sees] = true
		}
		other, stepUp, strict := maps.Clone(mcp), maps.Clone(mcp), maps.Clone(mcp)
		other["path"] = otherPath
		stepUp["path"], stepUp["stepUp"] = stepUpPath, "403"
		strict["path"], strict["toolPolicy"], strict["stepUp"] = strictPath, "strict", "403"
		mcp["hideGrantable"] = true
		file["proxy"].(map[string]any)["hosts"] = append(hosts, other, stepUp, strict)
	}}), kind: kind, t: t, parent: t}
	b.grant, _ = signIn(t, b.statelessURL, alice)
	return b
}

// matrixPage is a page of the reference with what gateways did.
type matrixPage struct {
	file, test, head string
	kinds            []gateway
}

var gatewayPage = matrixPage{"gateways.md", "TestGateways", documentHead, withLibrary}

// compare prints the table, and compares it with the one in the repository if
// every gateway ran.
func (p matrixPage) compare(t *testing.T, results map[string]map[string]string) {
	t.Helper()
	table := p.table(results)
	ledger.mu.Lock()
	ledger.table = table
	ledger.mu.Unlock()
	if len(results) < len(p.kinds) {
		t.Logf("docs/reference/%s is not compared, since not all gateways ran", p.file)
		return
	}
	file := filepath.Join(repository, "docs", "reference", p.file)
	want := p.head + table
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("docs/reference/%s is not what this run found (%v); %s with -update writes it", p.file, err, p.test)
	}
}

const documentHead = `# What each gateway does

<!-- Generated by ` + "`go test -tags e2e ./internal/e2e -run TestGateways -update`" + ` from what real gateways did. -->

Every gateway runs with the configuration of its page in [docs/gateways](../gateways/README.md), with nothing changed but addresses:
nginx and HAProxy of Debian 12, Caddy ` + caddyVersion + `, Envoy ` + envoyVersion + `, Traefik ` + traefikVersion + `. Each line is a request, or several, and what must come of it;
✓ says that it did. A number is a difference, which the notes explain. Any other difference fails the test.

`

func (p matrixPage) table(results map[string]map[string]string) string {
	var b strings.Builder
	var notes []string
	b.WriteString("| Case | Must |")
	for _, kind := range p.kinds {
		fmt.Fprintf(&b, " %s |", kind.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(p.kinds)) + "\n")
	for _, c := range casesOf(p.kinds) {
		fmt.Fprintf(&b, "| %s | %s |", c.name, c.want)
		for _, kind := range p.kinds {
			got, ran := results[kind.name][c.name]
			cell := got
			switch known := kind.differs[c.name]; {
			case !ran:
				cell = "not run"
			case got == known.got:
				note := known.why
				at := slices.Index(notes, note)
				if at < 0 {
					notes = append(notes, note)
					at = len(notes) - 1
				}
				cell = fmt.Sprintf("%s (%d)", got, at+1)
			case got == c.want:
				cell = "✓"
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, note := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, note)
	}
	return b.String()
}

// outcome says what a client can do with a denial.
func (b *gatewayBench) outcome(resp *http.Response) string {
	out := fmt.Sprint(resp.StatusCode)
	lines := resp.Header.Values("WWW-Authenticate")
	switch {
	case len(lines) == 0:
	case len(lines) > 1:
		out += fmt.Sprintf(" with %d challenges", len(lines))
	case !strings.Contains(lines[0], `resource_metadata="`+origin(b.statelessURL)+`/.well-known/oauth-protected-resource`+resp.Request.URL.Path+`"`):
		out += " with a challenge without resource_metadata"
	default:
		out += " with a challenge"
		if _, rest, ok := strings.Cut(lines[0], ` error="`); ok {
			code, _, _ := strings.Cut(rest, `"`)
			out += ": " + code
		}
	}
	if n := len(b.stateless.requests()); n > 0 && resp.StatusCode != http.StatusOK {
		out += " AFTER IT REACHED THE MCP SERVER"
	}
	return out
}

// same runs the requests and wants the same of each.
func (b *gatewayBench) same(requests map[string]func() string) string {
	seen := map[string]string{}
	for name, request := range requests {
		seen[request()] += " " + name
	}
	if len(seen) == 1 {
		for got := range seen {
			return got
		}
	}
	return fmt.Sprint(seen) // sorted by key, so always the same
}

func (b *gatewayBench) ask(method string, body io.Reader, header ...string) *http.Response {
	b.t.Helper()
	resp, _ := do(b.t, method, b.statelessURL, body, header...)
	return resp
}

func (b *gatewayBench) anonymous() string {
	requests := map[string]func() string{}
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"} {
		requests[method] = func() string { return b.outcome(b.ask(method, nil)) }
	}
	requests["query"] = func() string {
		resp, _ := do(b.t, "GET", b.statelessURL+"?access_token="+b.grant.AccessToken, nil)
		return b.outcome(resp)
	}
	return b.same(requests)
}

func (b *gatewayBench) wrongAudience() string {
	return b.outcome(b.ask("POST", nil, bearer(b.other())...))
}

// other is a token of another MCP server on the same host.
func (b *gatewayBench) other() grant {
	client := register(b.t, b.statelessURL)
	client.resource = origin(b.statelessURL) + otherPath
	g, _ := client.signIn(b.t, alice)
	b.stateless.requests()
	return g
}

func (b *gatewayBench) expired() string {
	old := b.minted(time.Now().Add(-20*time.Minute), func(*token.Claims) {})
	return b.outcome(b.ask("POST", nil, "Authorization", "Bearer "+old))
}

// minted is a token for alice as the service would have made it at a time, with
// the claims of the token of the bench but for a change. It is good for 15 minutes.
func (b *gatewayBench) minted(at time.Time, change func(*token.Claims)) string {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(b.grant.AccessToken, ".")[1])
	var claims token.Claims
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		b.t.Fatalf("the access token is no JWT: %v", err)
	}
	change(&claims)
	sealing, err := seal.NewKeyring(time.Now, []byte(seedOfTests))
	if err != nil {
		b.t.Fatal(err)
	}
	keys, err := keyset.New(keyset.Options{
		Sources: []keyset.Source{keyset.Seed{Secret: []byte(seedOfTests), Period: time.Hour}}, Period: time.Hour, TokenLifetime: time.Hour, Now: time.Now,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	issuer := token.Issuer{Keys: keys, Persons: token.NewPersons(sealing), Lifetime: 15 * time.Minute, Now: func() time.Time { return at }}
	raw, _, err := issuer.Mint(claims, token.Person{Email: "alice@example.com", Groups: []string{"engineering", "admins"}})
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

func (b *gatewayBench) revoked() string {
	g, a := signIn(b.t, b.statelessURL, alice)
	if resp := b.ask("GET", nil, bearer(g)...); resp.StatusCode == http.StatusUnauthorized {
		return "not accepted before"
	}
	b.stateless.requests()
	resp, _ := do(b.t, "POST", origin(b.statelessURL)+"/revoke",
		strings.NewReader(url.Values{"token": {g.AccessToken}, "client_id": {a.client.id}}.Encode()),
		"Content-Type", "application/x-www-form-urlencoded")
	mustEqual(b.t, "status of /revoke", resp.StatusCode, http.StatusOK)
	return b.outcome(b.ask("POST", nil, bearer(g)...))
}

func (b *gatewayBench) insufficientScope() string {
	person := alice
	person.keep = func(scope string) bool { return scope != scopeWrite }
	g, _ := signIn(b.t, b.statelessURL, person)
	resp, _ := callTool(b.t, b.statelessURL, "read_notes", g)
	mustEqual(b.t, "status of a tool whose scope is granted", resp.StatusCode, http.StatusOK)
	b.stateless.requests()
	resp, _ = callTool(b.t, b.statelessURL, "write_note", g)
	if challenge := resp.Header.Get("WWW-Authenticate"); challenge != "" && !strings.Contains(challenge, scopeWrite) {
		b.t.Errorf("the challenge does not name %s: %s", scopeWrite, challenge)
	}
	return b.outcome(resp)
}

// otherPath is an MCP server that the service knows and no gateway routes to.
const otherPath = "/other/mcp"

// stepUpPath is an MCP server that is to answer 403 at every gateway.
const stepUpPath = "/mcp/step-up-403"

func (b *gatewayBench) stepUp403() string {
	person := alice
	person.keep = func(scope string) bool { return scope != scopeWrite }
	client := register(b.t, b.statelessURL)
	client.resource = origin(b.statelessURL) + stepUpPath
	g, _ := client.signIn(b.t, person)
	b.stateless.requests()
	resp, _ := callTool(b.t, client.resource, "write_note", g)
	return b.outcome(resp)
}

func (b *gatewayBench) twoTokens() string {
	return b.outcome(b.ask("POST", nil, append(bearer(b.grant), bearer(b.grant)...)...))
}

func (b *gatewayBench) denialBody() string {
	_, text := do(b.t, "POST", b.statelessURL, nil)
	if strings.HasPrefix(string(text), `{"error":`) {
		return "that of the service"
	}
	return "that of the gateway"
}

// echoed is what an MCP server behind the gateway sees of a request.
func (b *gatewayBench) echoed(request *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	if request.StatusCode != http.StatusOK {
		return b.outcome(request)
	}
	seen := b.stateless.requests()
	if len(seen) != 1 {
		return fmt.Sprintf("%d requests reached the MCP server", len(seen))
	}
	return identityIn(seen[0].Header)
}

// identityIn looks for identity headers as a careless server would, which takes
// underscores for hyphens.
func identityIn(h http.Header) string {
	want := map[string]string{"x-auth-request-email": "alice@example.com", "x-auth-request-groups": "engineering,admins", "x-auth-request-user": ""}
	found := 0
	for name, values := range h {
		plain := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		value, ours := want[plain]
		switch {
		case !strings.HasPrefix(plain, "x-auth-request-"):
		case !ours || len(values) != 1 || value != "" && values[0] != value || strings.Contains(strings.Join(values, ""), "mallory"):
			return fmt.Sprintf("the MCP server sees %s: %q", name, values)
		default:
			found++
		}
	}
	if found != len(want) {
		return fmt.Sprintf("the MCP server sees %d of %d identity headers", found, len(want))
	}
	return passes
}

const passes = "passes, with the identity"

func (b *gatewayBench) echo() string { return b.statelessURL + "/probe/echo" }

func (b *gatewayBench) goodToken() string {
	resp, _ := do(b.t, "GET", b.echo()+"?q=1&r=%2F", nil, bearer(b.grant)...)
	return b.echoed(resp, nil)
}

// forgeries of the identity headers, as a client could write them.
func forgeries() []string {
	var out []string
	for _, name := range identityHeaders {
		out = append(out, name, "mallory", strings.ToLower(name), "mallory", strings.ToUpper(name), "mallory",
			strings.ReplaceAll(name, "-", "_"), "mallory",
			strings.Replace(name, "-", "_", 1), "mallory", strings.Replace(name, "Request-", "Request_", 1), "mallory")
	}
	return out
}

func (b *gatewayBench) forgedIdentity() string {
	spoofed := strings.Builder{}
	for i, forged := 0, forgeries(); i < len(forged); i += 2 {
		fmt.Fprintf(&spoofed, "%s: %s\r\n", forged[i], forged[i+1])
	}
	got := b.echoed(b.raw("GET /mcp/probe/echo HTTP/1.1\r\nHost: " + b.host() + "\r\nAuthorization: Bearer " + b.grant.AccessToken + "\r\n" + spoofed.String() + "\r\n"))
	if got != passes {
		return got
	}
	resp, err := b.raw("GET /mcp/probe/echo HTTP/1.1\r\nHost: " + b.host() + "\r\n" + spoofed.String() + "\r\n")
	if err != nil || resp.StatusCode != http.StatusUnauthorized || len(b.stateless.requests()) > 0 {
		return fmt.Sprintf("without a token: %v %v", resp, err)
	}
	return "replaced or removed"
}

// forgedStranger has a name like those of the identity headers.
func (b *gatewayBench) forgedStranger() string {
	resp, _ := do(b.t, "GET", b.echo(), nil, append(bearer(b.grant), "X-Auth-Request-Preferred-Username", "mallory")...)
	mustEqual(b.t, "status", resp.StatusCode, http.StatusOK)
	if seen := b.stateless.requests(); len(seen) != 1 || seen[0].Header.Get("X-Auth-Request-Preferred-Username") != "" {
		return "passes"
	}
	return "removed"
}

func (b *gatewayBench) host() string { return b.name + ":" + b.port }

// forgedAddress claims to be elsewhere, in every dialect.
func (b *gatewayBench) forgedAddress() string {
	elsewhere := func(method, path, host string) []string {
		return []string{
			"X-Forwarded-Method", method, "X-Forwarded-Uri", path, "X-Forwarded-Host", host, "X-Forwarded-Proto", "https", "X-Forwarded-Port", "1",
			"X-Forwarded-Prefix", path, "X-Forwarded-Server", host, "X-Forwarded-For", "192.0.2.1", "Forwarded", "host=" + host + ";proto=https",
			"X-Original-Method", method, "X-Original-URL", "http://" + host + path, "X-Original-URI", path, "X-Original-Host", host,
			"X-Rewrite-URL", path, "X-Real-IP", "127.0.0.1", "X-Http-Method-Override", method,
			"Path", path, "Method", method, "X-Envoy-Original-Path", path, "X-Envoy-Original-Host", host, "X-Envoy-Internal", "true",
			"X-Envoy-Auth-Headers-To-Remove", "x-auth-request-user", "X-Sent-From", "nginx-ingress-controller",
		}
	}
	other := b.other()
	fromPage := []string{"Origin", page, "Access-Control-Request-Method", "POST"}
	for name, forged := range map[string][]string{
		"nothing":     fromPage,
		"preflight":   append(elsewhere("OPTIONS", "/mcp", b.host()), fromPage...),
		"public path": elsewhere("GET", "/.well-known/oauth-protected-resource/mcp", b.host()),
		"other path":  elsewhere("POST", "/other/mcp", b.host()),
		"other host":  elsewhere("POST", "/mcp", b.otherName+":"+b.port),
		"no path":     elsewhere("POST", "", b.host()),
	} {
		if got := b.outcome(b.ask("POST", nil, forged...)); got != "401 with a challenge" {
			return name + " without a token: " + got
		}
		if got := b.outcome(b.ask("POST", nil, append(forged, bearer(other)...)...)); got != "401 with a challenge: invalid_token" {
			return name + " with a token of the other path: " + got
		}
		resp, _ := do(b.t, "GET", b.echo(), nil, append(forged, bearer(b.grant)...)...)
		if got := b.echoed(resp, nil); got != passes {
			return name + " with a good token: " + got
		}
	}
	return "no effect"
}

func (b *gatewayBench) hopByHop() string {
	got := b.echoed(b.raw("GET /mcp/probe/echo HTTP/1.1\r\nHost: " + b.host() + "\r\nAuthorization: Bearer " + b.grant.AccessToken +
		"\r\nConnection: close, X-Auth-Request-User, x-auth-request-email, X-Auth-Request-Groups\r\n\r\n"))
	if got == passes {
		return "the identity arrives"
	}
	return got
}

// hopByHopAddress tries to take from the sub-request what it is decided by. A
// refusal is as good as no effect.
func (b *gatewayBench) hopByHopAddress() string {
	for name, token := range map[string]string{"good token": b.grant.AccessToken, "no token": "x"} {
		resp, err := b.raw("GET /mcp/probe/echo HTTP/1.1\r\nHost: " + b.host() + "\r\nAuthorization: Bearer " + token + "\r\nConnection: close, Authorization, " +
			"X-Forwarded-Uri, X-Forwarded-Host, X-Forwarded-Method, X-Original-Url, X-Original-Method, Host, Content-Length, Mcp-Name, Mcp-Method\r\n\r\n")
		if err != nil {
			return err.Error()
		}
		seen := b.stateless.requests()
		switch {
		case resp.StatusCode >= 400 && len(seen) == 0:
		case resp.StatusCode == http.StatusOK && name == "good token" && len(seen) == 1 && identityIn(seen[0].Header) == passes:
		default:
			return fmt.Sprintf("%s: %s, %d requests reached the MCP server", name, resp.Status, len(seen))
		}
	}
	return "no effect"
}

// onlyReader hides its size, so that the body goes chunked.
type onlyReader struct{ io.Reader }

func (b *gatewayBench) post(body io.Reader, size int, header ...string) string {
	resp, text := do(b.t, "POST", b.echo(), body, header...)
	var got struct{ Bytes int }
	if resp.StatusCode != http.StatusOK {
		return b.outcome(resp)
	}
	if err := json.Unmarshal(text, &got); err != nil || got.Bytes != size {
		return fmt.Sprintf("%d of %d bytes arrived (%v)", got.Bytes, size, err)
	}
	return "arrives whole"
}

const megabyte = 1 << 20

// largeMessage is a message of JSON-RPC with a megabyte.
func largeMessage() []byte {
	const before, after = `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"`, `"}}`
	return []byte(before + strings.Repeat("x", megabyte-len(before)-len(after)) + after)
}

func (b *gatewayBench) megabyte() string {
	return b.post(bytes.NewReader(largeMessage()), megabyte, append(bearer(b.grant), "Content-Type", "application/json")...)
}

func (b *gatewayBench) chunked() string {
	return b.post(onlyReader{bytes.NewReader(largeMessage())}, megabyte, append(bearer(b.grant), "Content-Type", "application/json")...)
}

// strictPath is an MCP server that lets nothing pass that cannot be decided.
const strictPath = "/mcp/strict"

// reader is alice without the scope for writing, at the MCP server of a path.
func (b *gatewayBench) reader(path string) grant {
	person := alice
	person.keep = func(scope string) bool { return scope != scopeWrite }
	client := register(b.t, b.statelessURL)
	client.resource = origin(b.statelessURL) + path
	g, _ := client.signIn(b.t, person)
	b.stateless.requests()
	return g
}

// seen runs a case at the same gateway where it shows the body, in one of the ways
// of its page.
func seen(run func(*gatewayBench) string) func(*gatewayBench) string {
	return func(b *gatewayBench) string {
		if b.kind.serves {
			return run(b)
		}
		if b.seeing == nil {
			kind, can := seesBody(b.kind)
			if !can {
				return cannotBeHad
			}
			b.seeing = newGatewayBench(b.parent, kind)
		}
		b.seeing.t = b.t
		return run(b.seeing)
	}
}

// cannotBeHad is what comes of asking for the body where a gateway never shows it.
const cannotBeHad = "cannot be had"

// message sends one of JSON-RPC.
func (b *gatewayBench) message(path, method, params string, g grant, header ...string) (*http.Response, string) {
	b.t.Helper()
	header = append(append(bearer(g), "Content-Type", "application/json", "Accept", "application/json, text/event-stream"), header...)
	for range 3 {
		resp, text, err := doUnlessCut(b.t, "POST", origin(b.statelessURL)+path, strings.NewReader(rpc(method, params)), header...)
		if err == nil {
			return resp, string(text)
		}
		// Proxies in Go cut one answer in some hundreds: of a server that answers before
		// the proxy has sent it the end of the body.
		b.t.Logf("%s is cut: %v", method, err)
		b.stateless.requests()
	}
	b.t.Fatalf("%s is cut each time", method)
	return nil, ""
}

// reached is the outcome of a message, or who let it pass.
func (b *gatewayBench) reached(resp *http.Response) string {
	arrived := len(b.stateless.requests())
	switch {
	case resp.StatusCode == http.StatusOK && arrived == 1:
		return "passes"
	case arrived > 0:
		return "the MCP server refuses it"
	}
	return b.outcome(resp)
}

// older is a client of an older revision, which says nothing in headers.
func (b *gatewayBench) older() string {
	resp, _ := b.message("/mcp", "tools/call", `{"name":"write_note","arguments":{}}`, b.reader("/mcp"), "MCP-Protocol-Version", legacy)
	return b.reached(resp)
}

func (b *gatewayBench) olderStrict() string {
	g := b.reader(strictPath)
	if b.kind.serves { // the body decides, so a client of an older revision is as welcome as any
		resp, _ := b.message(strictPath, "tools/call", `{"name":"read_notes","arguments":{}}`, g, "MCP-Protocol-Version", legacy)
		if got := b.reached(resp); got != "passes" {
			return "a tool that is granted: " + got
		}
	}
	resp, _ := b.message(strictPath, "tools/call", `{"name":"write_note","arguments":{}}`, g, "MCP-Protocol-Version", legacy)
	return b.reached(resp)
}

// lyingHeaders is a client of the current revision whose headers name a tool that is
// granted, and whose body another.
func (b *gatewayBench) lyingHeaders() string {
	resp, _ := b.message("/mcp", "tools/call", `{"name":"write_note","arguments":{},"_meta":`+metaOfModern+`}`, b.reader("/mcp"),
		"MCP-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "read_notes")
	return b.reached(resp)
}

// metaOfModern is what each request of 2026-07-28 has.
const metaOfModern = `{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientInfo":{"name":"e2e","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

// listed asks for a list as clients of both kinds of revisions do.
func (b *gatewayBench) listed() string {
	g := b.reader("/mcp")
	list := func(params string, header ...string) func() string {
		return func() string {
			resp, text := b.message("/mcp", "tools/list", params, g, header...)
			b.stateless.requests()
			switch {
			case resp.StatusCode != http.StatusOK || !strings.Contains(text, `"read_notes"`):
				return fmt.Sprintf("%s: %.300s", resp.Status, text)
			case strings.Contains(text, `"write_note"`):
				return "whole"
			}
			return "what the token opens"
		}
	}
	return b.same(map[string]func() string{
		"older":  list(`{}`, "MCP-Protocol-Version", legacy),
		"recent": list(`{"_meta":`+metaOfModern+`}`, "MCP-Protocol-Version", modern, "Mcp-Method", "tools/list"),
	})
}

// lying is a client of an older revision, with headers that say something harmless
// over a body that calls a tool which is not granted.
func (b *gatewayBench) lying() string {
	resp, _ := b.message("/mcp", "tools/call", `{"name":"write_note","arguments":{}}`, b.reader("/mcp"),
		"MCP-Protocol-Version", legacy, "Mcp-Method", "tools/call", "Mcp-Name", "read_notes")
	return b.reached(resp)
}

// megabyteAnonymous is a body that is not wanted: nothing may wait for it. The
// client reads while it sends, because a gateway may answer and hang up.
func (b *gatewayBench) megabyteAnonymous() string {
	head := "POST /mcp HTTP/1.1\r\nHost: " + b.host() + "\r\nContent-Type: application/json\r\n"
	send := func(request string) func() string {
		return func() string {
			began := time.Now()
			conn, err := dial(b.t, b.host())
			if err != nil {
				return err.Error()
			}
			defer conn.Close()
			go io.WriteString(conn, request)
			req, _ := http.NewRequest("POST", b.statelessURL, nil)
			resp, err := http.ReadResponse(bufio.NewReader(conn), req)
			if err != nil {
				return err.Error()
			}
			got := b.outcome(resp)
			if took := time.Since(began); took > 2*time.Second {
				got += " after " + took.String()
			}
			return got
		}
	}
	body := strings.Repeat("x", megabyte)
	return b.same(map[string]func() string{
		"sized":   send(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, megabyte, body)),
		"chunked": send(fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, megabyte, body)),
	})
}

// stream reads events and notes when each came.
func (b *gatewayBench) stream(target string, first chan struct{}) (status int, arrived []time.Duration, err error) {
	req, err := http.NewRequestWithContext(b.parent.Context(), "GET", target, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+b.grant.AccessToken)
	req.Header.Set("Accept", "text/event-stream")
	began := time.Now()
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data:") {
			arrived = append(arrived, time.Since(began))
			if len(arrived) == 1 && first != nil {
				close(first)
			}
		}
	}
	return resp.StatusCode, arrived, lines.Err()
}

func (b *gatewayBench) events() string {
	var got string
	for range 3 { // the machine may be busy, but not three times in a row
		status, arrived, err := b.stream(b.statelessURL+"/probe/events", nil)
		switch {
		case err != nil || status != http.StatusOK || len(arrived) != eventCount:
			return fmt.Sprintf("%d, %d of %d events, %v", status, len(arrived), eventCount, err)
		case arrived[eventCount-1]-arrived[0] < eventPause*(eventCount-1)/2:
			got = "held back"
		case arrived[0] > 200*time.Millisecond:
			got = fmt.Sprintf("first event after %v", arrived[0].Round(100*time.Millisecond))
		default:
			return "first event within 200 ms, each at once"
		}
	}
	return got
}

// longStreamSeconds is how long the long stream is; E2E_STREAM_SECONDS is for
// those who have the time.
func longStreamSeconds() string {
	if s := os.Getenv("E2E_STREAM_SECONDS"); s != "" {
		return s
	}
	return "10"
}

// startLongStream reads while the other cases run.
func (b *gatewayBench) startLongStream(t *testing.T) {
	t.Helper()
	b.long = make(chan string, 1)
	first := make(chan struct{})
	go func() {
		want := longStreamSeconds()
		status, arrived, err := b.stream(b.statelessURL+"/probe/events?seconds="+want, first)
		if err != nil || status != http.StatusOK || fmt.Sprint(len(arrived)-1) != want {
			b.long <- fmt.Sprintf("%d, %d of %s events, %v", status, max(0, len(arrived)-1), want, err)
			return
		}
		b.long <- "whole"
	}()
	select {
	case <-first:
	case <-time.After(5 * time.Second): // the case itself fails
	}
}

func (b *gatewayBench) longStream() string { return <-b.long }

func (b *gatewayBench) largeHeaders() string {
	header := bearer(b.grant)
	for i := range 12 {
		header = append(header, fmt.Sprintf("X-Large-%d", i), strings.Repeat("x", 1000))
	}
	resp, _ := do(b.t, "GET", b.echo(), nil, header...)
	return b.echoed(resp, nil)
}

// preflight is what a browser asks before it sends a token (Fetch, section 4.8).
func (b *gatewayBench) preflight() string {
	resp := b.ask("OPTIONS", nil, "Origin", page,
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,mcp-protocol-version")
	h := resp.Header
	allowed := strings.ToLower(h.Get("Access-Control-Allow-Headers"))
	switch {
	case resp.StatusCode/100 != 2:
		return b.outcome(resp)
	case !forOrigin(h):
		return fmt.Sprintf("allows the origins %q", h.Values("Access-Control-Allow-Origin"))
	case !strings.Contains(h.Get("Access-Control-Allow-Methods"), "DELETE"):
		return "allows the methods " + h.Get("Access-Control-Allow-Methods")
	case !strings.Contains(allowed, "authorization") || !strings.Contains(allowed, "mcp-protocol-version"):
		return "allows the headers " + allowed
	case len(b.stateless.requests()) > 0:
		return "passed to the MCP server"
	}
	return "answered without a token"
}

func forOrigin(h http.Header) bool {
	lines := h.Values("Access-Control-Allow-Origin")
	return len(lines) == 1 && (lines[0] == "*" || lines[0] == page)
}

func readable(resp *http.Response) string {
	switch {
	case !forOrigin(resp.Header):
		return fmt.Sprintf("Access-Control-Allow-Origin is %q", resp.Header.Values("Access-Control-Allow-Origin"))
	case !strings.Contains(strings.ToLower(strings.Join(resp.Header.Values("Access-Control-Expose-Headers"), ",")), "www-authenticate"):
		return "WWW-Authenticate is not exposed"
	}
	return "readable"
}

func (b *gatewayBench) denialForPage() string {
	resp := b.ask("POST", nil, "Origin", page)
	if got := b.outcome(resp); got != "401 with a challenge" {
		return got
	}
	return readable(resp)
}

// answerForPage is from an MCP server that has CORS headers of its own.
func (b *gatewayBench) answerForPage() string {
	resp, _ := do(b.t, "GET", b.statelessURL+"/probe/page", nil, append(bearer(b.grant), "Origin", page)...)
	mustEqual(b.t, "status", resp.StatusCode, http.StatusOK)
	return readable(resp)
}

// oddities are targets that two components may read in two ways.
var oddities = []string{
	"//mcp", "/x/../mcp", "/%6dcp", "/%6Dcp/", "/mcp/%2e%2e/mcp", "/mcp/..;/x", "/mcp;x=1", "/mcp;/../other", "/mcp%2f..%2fx", "/mcp/./probe/echo",
	"/mcp/../other", "/mcp/../../etc", "/mcp/%2e%2e/other", "/mcp/.%2e/other", "/mcp/%2e./other", "/mcp/%252e%252e/other", "/mcp%5c..%5cother", `/mcp\..\other`, `/mcp/..\other`,
	`\mcp`, `/x\..\mcp`, "/MCP", "/mcp%00", "/mcp%00/x", "/mcp%0d%0aX-Auth-Request-User:%20mallory", "/mcp%20", "/mcp/%c0%ae%c0%ae/other", "/mcp/%u002e%u002e/other", "/mcp#x", "/mcp%23/../x", "/mcp?/../x", "/mcpx", "/mcp.json",
	"/.well-known/oauth-protected-resource/../../mcp", "/.well-known/oauth-protected-resource/%2e%2e/%2e%2e/mcp", "/.well-known/oauth-protected-resource/..%2f..%2fmcp",
	`/.well-known/oauth-protected-resource\..\..\mcp`, "/.well-known/oauth-protected-resource;/../../mcp", "/.well-known/oauth-protected-resource//../../mcp",
	"/authorize/../mcp", "/token/..;/mcp", "/authorize%2f..%2fmcp", "/openid/v1/jwks/../../../mcp", "/openid/v1/jwks/%2e%2e/%2e%2e/%2e%2e/mcp", "/login;/mcp", "/_mcp_auth", "/_mcp_auth/../mcp", "/authenticate/../mcp",
	"http://localhost/mcp", "http://other.example/mcp", "*", "mcp",
}

func (b *gatewayBench) oddPaths() string {
	for _, target := range oddities {
		resp, err := b.raw("GET " + target + " HTTP/1.1\r\nHost: " + b.host() + "\r\nConnection: close\r\n\r\n")
		if seen := b.stateless.requests(); len(seen) > 0 {
			return fmt.Sprintf("%s reached the MCP server as %s", target, seen[0].RequestURI)
		}
		// Caddy answers 200 with nothing for a host that it does not know.
		if err == nil && resp.StatusCode < 300 && resp.ContentLength != 0 && !strings.HasPrefix(target, "/.well-known/") {
			return fmt.Sprintf("%s answered %s", target, resp.Status)
		}
	}
	return "nothing passes"
}

// oddPathsWithToken are decided as the MCP server reads them: a token for /mcp
// opens nothing else.
func (b *gatewayBench) oddPathsWithToken() string {
	for _, target := range oddities {
		_, err := b.raw("GET " + target + " HTTP/1.1\r\nHost: " + b.host() + "\r\nAuthorization: Bearer " + b.grant.AccessToken + "\r\nConnection: close\r\n\r\n")
		_ = err // a gateway may hang up on some
		for _, seen := range b.stateless.requests() {
			// As careless servers read it: decoded, backslashes and parameters too.
			read := strings.ReplaceAll(seen.URL.Path, `\`, "/")
			segments := strings.Split(read, "/")
			for i := range segments {
				segments[i], _, _ = strings.Cut(segments[i], ";")
			}
			if clean := path.Clean("/" + strings.Join(segments, "/")); clean != "/mcp" && !strings.HasPrefix(clean, "/mcp/") {
				return fmt.Sprintf("%s reached the MCP server as %s", target, seen.RequestURI)
			}
			if got := identityIn(seen.Header); got != passes {
				return fmt.Sprintf("%s: %s", target, got)
			}
		}
	}
	return "refused, or nothing but the MCP server's path"
}

func (b *gatewayBench) oddHosts() string {
	token := "Authorization: Bearer " + b.grant.AccessToken + "\r\n"
	for _, request := range []string{
		"GET /mcp/probe/echo HTTP/1.0\r\n" + token + "\r\n",
		"GET /mcp/probe/echo HTTP/1.1\r\n" + token + "\r\n",
		"GET /mcp/probe/echo HTTP/1.1\r\nHost:\r\n" + token + "\r\n",
		"GET /mcp/probe/echo HTTP/1.1\r\nHost: other.example\r\n" + token + "\r\n",
		"GET /mcp/probe/echo HTTP/1.1\r\nHost: " + b.host() + "\r\nHost: other.example\r\n" + token + "\r\n",
		"GET /mcp/probe/echo HTTP/1.1\r\nHost: other.example\r\nHost: " + b.host() + "\r\n" + token + "\r\n",
		"GET /mcp/probe/echo HTTP/1.1\r\nHost: " + b.otherName + ":" + b.port + "\r\n" + token + "\r\n",
		"GET /mcp/probe/echo HTTP/1.1\r\nHost: " + b.name + "\r\n" + token + "\r\n",
		"GET /mcp/probe/echo HTTP/1.1\r\nHost: " + b.host() + "@other.example\r\n" + token + "\r\n",
		"GET /mcp/probe/echo HTTP/1.1\r\nHost : " + b.host() + "\r\n" + token + "\r\n",
	} {
		resp, err := b.raw(strings.Replace(request, "\r\n", "\r\nConnection: close\r\n", 1))
		if n := len(b.stateless.requests()); n > 0 || err == nil && resp.StatusCode < 300 && resp.ContentLength != 0 {
			return fmt.Sprintf("%q: %d requests reached the MCP server", strings.Replace(request, token, "", 1), n)
		}
	}
	return "nothing passes"
}

// twoHosts sends requests whose request line names one MCP host and whose Host
// header another (RFC 9112, section 3.2.2: the request line counts): the
// gateway must route by the host that the service is told, or a token of one
// MCP server would open the other.
func (b *gatewayBench) twoHosts() string {
	const path = "/mcp/probe/echo"
	other := b.otherName + ":" + b.port
	token := b.minted(time.Now(), func(c *token.Claims) { c.Issuer, c.Audience = "http://"+other, "http://"+other+"/mcp" })
	direct, _ := do(b.t, "GET", "http://"+b.serviceAddress+"/authenticate/forwarded", nil, "Authorization", "Bearer "+token,
		"X-Forwarded-Method", "GET", "X-Forwarded-Proto", "http", "X-Forwarded-Host", other, "X-Forwarded-Uri", path)
	if b.kind.serves {
		direct, _ = do(b.t, "GET", "http://"+other+path, nil, "Authorization", "Bearer "+token)
	}
	mustEqual(b.t, "status of the other host's token at its own host", direct.StatusCode, http.StatusOK)
	for _, hosts := range [][2]string{{b.host(), other}, {other, b.host()}} {
		resp, err := b.raw("GET http://" + hosts[0] + path + " HTTP/1.1\r\nHost: " + hosts[1] + "\r\nConnection: close\r\nAuthorization: Bearer " + token + "\r\n\r\n")
		if n := len(b.stateless.requests()); n > 0 || err == nil && resp.StatusCode < 300 && resp.ContentLength != 0 {
			return fmt.Sprintf("%s: %d requests reached the MCP server", strings.ReplaceAll(strings.Join(hosts[:], ", Host "), ":"+b.port, ""), n)
		}
	}
	return "nothing passes"
}

func (b *gatewayBench) publicPaths() string {
	answers := map[string]int{
		"GET /.well-known/oauth-protected-resource":       0,
		"GET /.well-known/oauth-protected-resource/mcp":   http.StatusOK,
		"GET /.well-known/oauth-authorization-server":     http.StatusOK,
		"GET /.well-known/openid-configuration":           http.StatusOK,
		"GET /openid/v1/jwks":                             http.StatusOK,
		"POST /register":                                  http.StatusBadRequest,
		"GET /authorize":                                  http.StatusBadRequest,
		"POST /token":                                     http.StatusBadRequest,
		"POST /revoke":                                    http.StatusBadRequest,
		"GET /callback?state=x&code=y":                    0,
		"GET /callback/corp?state=x&code=y":               0, // where there are several identity providers
		"GET /login":                                      0,
		"POST /consent":                                   0,
		"OPTIONS /token":                                  http.StatusNoContent,
		"OPTIONS /.well-known/oauth-protected-resource":   http.StatusNoContent,
		"OPTIONS /.well-known/oauth-authorization-server": http.StatusNoContent,
	}
	for _, request := range slices.Sorted(maps.Keys(answers)) {
		want := answers[request]
		method, target, _ := strings.Cut(request, " ")
		direct, directText := do(b.t, method, "http://"+b.serviceAddress+target, nil, "Host", b.host(), "Origin", page, "Access-Control-Request-Method", "POST")
		resp, text := do(b.t, method, origin(b.statelessURL)+target, nil, "Origin", page, "Access-Control-Request-Method", "POST")
		if want != 0 && direct.StatusCode != want {
			return fmt.Sprintf("%s: the service answers %s, not %d", request, direct.Status, want)
		}
		if resp.StatusCode != direct.StatusCode || len(text) != len(directText) {
			return fmt.Sprintf("%s: %s with %d bytes, and directly %s with %d", request, resp.Status, len(text), direct.Status, len(directText))
		}
		if cors := "Access-Control-Allow-Origin"; fmt.Sprint(resp.Header.Values(cors)) != fmt.Sprint(direct.Header.Values(cors)) {
			return fmt.Sprintf("%s: %s is %q, and directly %q", request, cors, resp.Header.Values(cors), direct.Header.Values(cors))
		}
	}
	if len(b.stateless.requests()) > 0 {
		return "reach the MCP server"
	}
	return "reach the service"
}

func (b *gatewayBench) foreignPaths() string {
	for _, target := range []string{"/", "/other/mcp", "/metrics", "/healthz", "/readyz", "/authenticate", "/authenticate/forwarded", "/authenticate/envoy/mcp", "/_mcp_auth", "/debug/pprof/"} {
		resp, _ := do(b.t, "GET", origin(b.statelessURL)+target, nil, bearer(b.grant)...)
		if resp.StatusCode < 400 || len(b.stateless.requests()) > 0 {
			return target + " answered " + resp.Status
		}
	}
	return "nothing passes"
}

// doctor looks at the gateway as an operator would have it looked at.
func (b *gatewayBench) doctor() string {
	out, err := exec.Command(serviceBinary(b.t), "doctor", "--origin", page, "--output", "json", b.statelessURL).Output()
	b.stateless.requests()
	if err == nil {
		return "no fault"
	}
	b.t.Logf("doctor: %v\n%s", err, tail(string(out), 8<<10))
	return err.Error()
}

func (b *gatewayBench) serviceDown() string {
	if b.kind.serves {
		return notAsked
	}
	b.service.stop(b.t)
	return b.same(map[string]func() string{
		"without a token": func() string { return b.outcome(b.ask("POST", nil)) },
		"with a token":    func() string { return b.outcome(b.ask("POST", nil, bearer(b.grant)...)) },
	})
}

// notAsked is what comes of a sub-request where there is none.
const notAsked = "does not apply"

// serviceHangs has a service that takes the question and never answers.
func (b *gatewayBench) serviceHangs() string {
	if b.kind.serves {
		return notAsked
	}
	for _, address := range []string{b.serviceAddress, b.grpcAddress} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			b.t.Fatal(err)
		}
		var conns []net.Conn
		done := make(chan bool)
		go func() {
			defer close(done)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conns = append(conns, conn)
			}
		}()
		defer func() {
			l.Close()
			<-done
			for _, conn := range conns {
				conn.Close()
			}
		}()
	}
	began := time.Now()
	got := b.outcome(b.ask("POST", nil, bearer(b.grant)...))
	if took := time.Since(began); took > 10*time.Second {
		return got + " after " + took.Round(time.Second).String()
	}
	return got + " in time"
}

// serviceConfused has another program where the service should be.
func (b *gatewayBench) serviceConfused() string {
	if b.kind.serves {
		return notAsked
	}
	var answer http.HandlerFunc
	for _, address := range []string{b.serviceAddress, b.grpcAddress} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			b.t.Fatal(err)
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) })}
		go server.Serve(l)
		defer server.Close()
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.example/")
			w.WriteHeader(code)
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"302": status(302), "404": status(404), "405": status(405), "500": status(500), "503": status(503), "304": status(304),
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	} {
		answer = handler
		resp := b.ask("POST", nil, bearer(b.grant)...)
		if len(b.stateless.requests()) > 0 || resp.StatusCode == http.StatusOK {
			return fmt.Sprintf("%s: %s", name, resp.Status)
		}
	}
	return "nothing passes"
}

func (b *gatewayBench) serviceBack() string {
	if !b.kind.serves {
		b.startService(b.parent, serviceBinary(b.parent))
	}
	got := ""
	for began := time.Now(); time.Since(began) < 12*time.Second; time.Sleep(200 * time.Millisecond) {
		resp, _ := do(b.t, "GET", b.echo(), nil, bearer(b.grant)...)
		if got = b.echoed(resp, nil); got == passes {
			break
		}
	}
	return got
}

// raw sends a request byte by byte.
func (b *gatewayBench) raw(request string) (*http.Response, error) {
	b.t.Helper()
	conn, err := dial(b.t, b.host())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, megabyte))
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, err
}
