package forwardauth

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// Whatever a gateway passes on: an allowed request is for a resource of the
// table, by a path that reads in one way only, and every header of the answer is
// valid, with our own identity alone.
func FuzzDialect(f *testing.F) {
	fix := newFixture(f, "a.example/mcp a.example/mcp/admin b.example", nil)
	secrets := []string{fix.token(f, aMCP, "read"), fix.token(f, "https://b.example", "read")}
	for _, w := range requests {
		f.Add("/forwarded", "POST", w.host, w.path, "X-Forwarded-Uri: "+w.path+"\r\nX-Forwarded-Host: "+w.host+"\r\n")
		f.Add("/envoy"+w.path, "GET", w.host, "", "")
		f.Add("", "GET", w.host, "", "X-Original-Url: https://"+w.host+w.path+"\r\n")
		f.Add("/gateway-api", "GET", w.host, "", "Path: "+w.path+"\r\nMethod: GET\r\nX-Auth-Request-User: mallory\r\n")
	}
	f.Fuzz(func(t *testing.T, target, method, host, _, headers string) {
		for _, secret := range secrets {
			raw := method + " " + Path + target + " HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer " + secret + "\r\n" + headers + "\r\n"
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
			if err != nil || !Owns(r.RequestURI) {
				return
			}
			q := read(r)
			d := fix.Decide(t.Context(), &q)
			resp := fix.ask(t, r)
			if d.Allowed() != (resp.StatusCode == http.StatusOK) {
				t.Fatalf("%s, but status %d", d.Reason, resp.StatusCode)
			}
			if !d.Allowed() {
				continue
			}
			if !slices.Contains(fix.Resources.All(), d.Resource) || d.Token == nil || !q.NoPath && !oauth.PlainPath(q.Path) {
				t.Fatalf("allowed at %+v", q)
			}
			if !strings.HasPrefix(q.Path, d.Resource.Path) && !q.NoPath {
				t.Fatalf("%s is not below %s", q.Path, d.Resource.URI)
			}
			if resp.Header.Get("X-Auth-Request-User") != "jane" {
				t.Fatalf("%v", resp.Header)
			}
		}
	})
}

// A name that is read has one spelling, and the plain and the encoded form of a
// name give the same decision.
func FuzzMcpName(f *testing.F) {
	for _, s := range []string{"list", "=?base64?bGlzdA==?=", "=?base64?bGlzdB==?=", "a,b", " x", "=?base64?", "=?base64??=", "naïve", "\x00", "=?BASE64?eA==?="} {
		f.Add("tools/call", s)
		f.Add("prompts/get", s)
	}
	f.Fuzz(func(t *testing.T, method, value string) {
		op, reason := fromHeaders(&Headers{MCPMethod: []string{method}, MCPName: []string{value}})
		if reason != Allowed {
			return
		}
		if op.method != method || strings.Contains(method, ",") {
			t.Fatalf("method %q is read as %q", method, op.method)
		}
		if !named(method) {
			if op.name != "" {
				t.Fatalf("%q has name %q", method, op.name)
			}
			return
		}
		if op.name == "" || !utf8.ValidString(op.name) || op.name != value && b64(op.name) != value {
			t.Fatalf("%q is read as %q", value, op.name)
		}
		again, reason := fromHeaders(&Headers{MCPMethod: []string{method}, MCPName: []string{b64(op.name)}})
		if reason != Allowed || again != op {
			t.Fatalf("%q, encoded, is read as %q: %s", op.name, again.name, reason)
		}
	})
}

// bodyCorpus are bodies of every kind that a decision meets, small enough to be varied.
func bodyCorpus() []string {
	return []string{
		message("tools/call", `{"name":"list"}`),
		message("tools/call", `{"arguments":{"name":"put","a":[{},null,-0.5e-7,true]},"name":"list","_meta":{"traceparent":"00-1-2-01"}}`),
		message("tools/call", `{"name":"l\u0069st \ud83d\ude00 naïve","arguments":{"a":"\"}{","a":"\\"}}`),
		message("prompts/get", `{"name":"hello","uri":1}`),
		message("tools/list", "null"),
		"[" + message("resources/read", `{"uri":"note://x"}`) + "," + `{"id":1,"result":null}` + "]",
		`{"jsonrpc":"2.0","id":"7","error":{"code":-32601,"message":"no"}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		` { "method" : "tools/call" , "params" : { "name" : "a" , "arguments" : { "name" : [ { } ] } } } `,
		message("tools/call", `{"name":"list","arguments":[1e999,-0,`+strings.Repeat("9", 5000)+`]}`),
		message("tools/call", `{"name":"list","arguments":`+strings.Repeat("[", maxDepth-2)+strings.Repeat("]", maxDepth-2)+`}`),
	}
}

// What is read of a body does not depend on what a lenient parser would make of
// members that repeat or differ in case.
func FuzzBody(f *testing.F) {
	for _, body := range bodyCorpus() {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c, reason := parseBody([]byte(body))
		if reason != Allowed {
			return
		}
		if len(c.ops) == 0 || !c.batch && len(c.ops) != 1 || len(c.ops) > maxBatch {
			t.Fatalf("%d operations", len(c.ops))
		}
		if c.batch {
			return
		}
		got := lenient(t, body)
		if got.Method != c.ops[0].method {
			t.Fatalf("method %q, leniently %q", c.ops[0].method, got.Method)
		}
		switch got.Method {
		case toolsCall, promptsGet:
			if got.Params["name"] != c.ops[0].name {
				t.Fatalf("name %q, leniently %v", c.ops[0].name, got.Params["name"])
			}
		case resourcesRead:
			if got.Params["uri"] != c.ops[0].name {
				t.Fatalf("URI %q, leniently %v", c.ops[0].name, got.Params["uri"])
			}
		}
	})
}
