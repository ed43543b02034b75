package forwardauth

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// message is a JSON-RPC request; params may be empty.
func message(method, params string) string {
	if params == "" {
		params = "{}"
	}
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
}

func TestBody(t *testing.T) {
	f := newFixture(t, "a.example/mcp strict.example/mcp b.example/mcp", func(uri string, r *rule.Rules) {
		r.Body = !strings.Contains(uri, "b.example")
		r.Scopes = []rule.Scope{{Name: "notes", Resources: []string{"note://*"}}}
		if strings.Contains(uri, "strict") {
			r.ToolPolicy = rule.Strict
		}
	})
	f.scopes.names = append(f.scopes.names, "notes")
	secrets := map[string]string{}
	for _, host := range []string{"a", "b", "strict"} {
		secrets[host] = f.token(t, "https://"+host+".example/mcp", "read")
	}
	old := []string{"MCP-Protocol-Version", "2025-11-25"}
	list, put := message("tools/call", `{"name":"list","arguments":{"name":"put","Name":1}}`), message("tools/call", `{"name":"put"}`)
	for name, tt := range map[string]struct {
		method, body string
		headers      []string
		reason       Reason
	}{
		"an opened tool":                              {"POST", list, old, Allowed},
		"ATK-55 another tool, old version":            {"POST", put, old, InsufficientScope},
		"ATK-55 another tool, no version":             {"POST", put, nil, InsufficientScope},
		"ATK-55 another tool, odd version":            {"POST", put, []string{"MCP-Protocol-Version", "x"}, InsufficientScope},
		"unknown tool":                                {"POST", message("tools/call", `{"name":"drop"}`), old, NoScope},
		"other method":                                {"POST", message("tools/list", ""), old, Allowed},
		"notification":                                {"POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, old, Allowed},
		"response":                                    {"POST", `{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call"}}`, old, Allowed},
		"resource":                                    {"POST", message("resources/read", `{"uri":"note://1"}`), old, InsufficientScope},
		"modern, headers agree":                       {"POST", list, call("list"), Allowed},
		"modern, encoded header agrees":               {"POST", list, call(b64("list")), Allowed},
		"RS-HDR-09 other name in the body":            {"POST", put, call("list"), HeaderMismatch},
		"RS-HDR-09 other method in the body":          {"POST", put, []string{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list"}, HeaderMismatch},
		"RS-HDR-09 harmless body":                     {"POST", list, call("put"), HeaderMismatch},
		"RS-HDR-09 no headers":                        {"POST", list, []string{"MCP-Protocol-Version", "2026-07-28"}, HeaderMismatch},
		"RS-HDR-09 modern batch":                      {"POST", "[" + list + "]", call("list"), HeaderMismatch},
		"modern response":                             {"POST", `{"jsonrpc":"2.0","id":1,"result":{}}`, []string{"MCP-Protocol-Version", "2026-07-28"}, Allowed},
		"RS-HDR-09 batch, all opened":                 {"POST", "[" + list + "," + message("tools/list", "") + "]", old, Allowed},
		"RS-HDR-09 batch, one not opened":             {"POST", "[" + list + "," + put + "]", old, InsufficientScope},
		"RS-HDR-09 batch, one unknown":                {"POST", "[" + put + "," + message("tools/call", `{"name":"drop"}`) + "]", old, NoScope},
		"RS-HDR-09 empty batch":                       {"POST", "[]", old, MalformedBody},
		"RS-HDR-09 batch in a batch":                  {"POST", "[[" + list + "]]", old, MalformedBody},
		"RS-HDR-09 long batch":                        {"POST", "[" + strings.Repeat(list+",", maxBatch) + list + "]", old, MalformedBody},
		"RS-HDR-09 longest batch":                     {"POST", "[" + strings.Repeat(list+",", maxBatch-1) + list + "]", old, Allowed},
		"RS-HDR-09 repeated method":                   {"POST", `{"method":"tools/list","method":"tools/call","params":{"name":"put"}}`, old, MalformedBody},
		"RS-HDR-09 repeated params":                   {"POST", `{"method":"tools/call","params":{"name":"list"},"params":{"name":"put"}}`, old, MalformedBody},
		"RS-HDR-09 repeated name":                     {"POST", message("tools/call", `{"name":"list","name":"put"}`), old, MalformedBody},
		"RS-HDR-09 repeated by an escape":             {"POST", message("tools/call", `{"name":"list","n\u0061me":"put"}`), old, MalformedBody},
		"RS-HDR-09 method in another case":            {"POST", `{"method":"tools/list","Method":"tools/call","params":{"name":"put"}}`, old, MalformedBody},
		"RS-HDR-09 only in another case":              {"POST", `{"METHOD":"tools/call","params":{"name":"put"}}`, old, MalformedBody},
		"RS-HDR-09 params with a long s":              {"POST", `{"method":"tools/call","param\u017f":{"name":"put"},"params":{"name":"list"}}`, old, MalformedBody},
		"RS-HDR-09 name in another case":              {"POST", message("tools/call", `{"name":"list","NAME":"put"}`), old, MalformedBody},
		"RS-HDR-09 no name":                           {"POST", message("tools/call", `{"arguments":{}}`), old, MalformedBody},
		"RS-HDR-09 name is no text":                   {"POST", message("tools/call", `{"name":["list"]}`), old, MalformedBody},
		"RS-HDR-09 name is an object":                 {"POST", message("tools/call", `{"name":{"name":"list"}}`), old, MalformedBody},
		"RS-HDR-09 no params":                         {"POST", `{"method":"tools/call"}`, old, MalformedBody},
		"RS-HDR-09 params by position":                {"POST", message("tools/call", `["list"]`), old, MalformedBody},
		"RS-HDR-09 method is no text":                 {"POST", `{"method":1}`, old, MalformedBody},
		"RS-HDR-09 broken escape":                     {"POST", message("tools/call", `{"name":"list\ud800"}`), old, MalformedBody},
		"RS-HDR-09 not UTF-8":                         {"POST", message("tools/call", "{\"name\":\"list\xff\"}"), old, MalformedBody},
		"RS-HDR-09 two documents":                     {"POST", list + put, old, MalformedBody},
		"RS-HDR-09 a second line":                     {"POST", list + "\n" + put, old, MalformedBody},
		"RS-HDR-09 no JSON":                           {"POST", "name=put", old, MalformedBody},
		"RS-HDR-09 a comma too many":                  {"POST", `{"method":"tools/list",}`, old, MalformedBody},
		"RS-HDR-09 cut":                               {"POST", list[:len(list)-1], old, MalformedBody},
		"RS-HDR-09 byte order mark":                   {"POST", "\ufeff" + list, old, MalformedBody},
		"RS-HDR-09 half a surrogate pair in a member": {"POST", message("tools/call", `{"name":"list","name\ud800":"put"}`), old, MalformedBody},
		"RS-HDR-09 NUL in the name":                   {"POST", message("tools/call", `{"name":"list\u0000put"}`), old, MalformedBody},
		"RS-HDR-09 NUL in a member":                   {"POST", message("tools/call", `{"name":"list","name\u0000x":"put"}`), old, MalformedBody},
		"RS-HDR-09 NUL after the document":            {"POST", list + "\x00", old, MalformedBody},
		"RS-HDR-09 prototype of a message":            {"POST", `{"id":1,"result":{},"__proto__":{"method":"tools/call","params":{"name":"put"}}}`, old, MalformedBody},
		"RS-HDR-09 prototype of the params":           {"POST", message("prompts/list", `{"__proto__":{"name":"put"}}`), old, MalformedBody},
		"RS-HDR-09 neither request nor response":      {"POST", `{"jsonrpc":"2.0","id":1,"params":{"name":"put"}}`, old, MalformedBody},
		"RS-HDR-09 method is null":                    {"POST", `{"method":null,"params":{"name":"put"}}`, old, MalformedBody},
		"RS-HDR-09 result in another case":            {"POST", `{"id":1,"Result":{}}`, old, MalformedBody},
		"RS-HDR-09 a text alone":                      {"POST", `"tools/call"`, old, MalformedBody},
		"RS-HDR-09 a number in a batch":               {"POST", "[1]", old, MalformedBody},
		"RS-HDR-09 a number that no parser has":       {"POST", `{"id":NaN,"method":"tools/list"}`, old, MalformedBody},
		"RS-HDR-09 a comment":                         {"POST", `{"method":"tools/list"/*,"method":"tools/call"*/}`, old, MalformedBody},
		"RS-HDR-09 too many members":                  {"POST", message("tools/call", `{"name":"list"`+manyMembers(maxMembers)+`}`), old, MalformedBody},
		"as many members as there may be":             {"POST", message("tools/call", `{"name":"list"`+manyMembers(maxMembers-1)+`}`), old, Allowed},
		"numbers of any size":                         {"POST", message("tools/call", `{"name":"list","arguments":[1e999,-0,`+strings.Repeat("9", 5000)+`]}`), old, Allowed},
		"text of any kind, where nothing looks":       {"POST", message("tools/call", `{"name":"list","arguments":{"a":"\ufffd\u0000\ud800","a":"\\\"}{]["}}`), old, Allowed},
		"escapes that say the same":                   {"POST", message("tools/call", `{"n\u0061me":"l\u0069st"}`), old, Allowed},
		"as deep as there may be":                     {"POST", message("tools/call", `{"name":"list","arguments":`+strings.Repeat("[", maxDepth-2)+strings.Repeat("]", maxDepth-2)+`}`), old, Allowed},
		"one deeper":                                  {"POST", message("tools/call", `{"name":"list","arguments":`+strings.Repeat("[", maxDepth-1)+strings.Repeat("]", maxDepth-1)+`}`), old, MalformedBody},
		"deep":                                        {"POST", message("tools/call", `{"name":"list","arguments":`+strings.Repeat("[", 300)+strings.Repeat("]", 300)+`}`), old, MalformedBody},
		"the largest body":                            {"POST", list + strings.Repeat(" ", maxBody-len(list)), old, Allowed},
		"too large":                                   {"POST", list + strings.Repeat(" ", maxBody-len(list)+1), old, BodyTooLarge},
		"white space around":                          {"POST", " \r\n" + list + "\n ", old, Allowed},
		"none":                                        {"POST", "", old, BodyMissing},
		"none, method not told":                       {"", "", old, BodyMissing},
		"stream":                                      {"GET", "", old, Allowed},
		"end of a session":                            {"DELETE", "", old, Allowed},
		"GET with a body":                             {"GET", put, old, InsufficientScope},
	} {
		for _, host := range []string{"a", "strict"} {
			t.Run(name+"/"+host, func(t *testing.T) {
				r := forwardedRequest(tt.method, "https://"+host+".example/mcp", tt.body, append([]string{"Authorization", "Bearer " + secrets[host]}, tt.headers...)...)
				if tt.method == "" {
					r.Header.Del("X-Forwarded-Method")
				}
				before := f.reasons[tt.reason]
				resp := f.ask(t, r)
				if f.reasons[tt.reason] != before+1 {
					t.Errorf("status %d, want %s: %s", resp.StatusCode, tt.reason, f.audit.String()[max(0, f.audit.Len()-400):])
				}
			})
		}
	}
	for value, want := range map[string]Reason{
		"application/json":                               Allowed,
		"Application/JSON":                               Allowed,
		"application/json; charset=utf-8":                Allowed,
		"application/json;charset=UTF-8":                 Allowed,
		"application/json ; Charset=\"utf-8\" ":          Allowed,
		"":                                               WrongMediaType,
		"application/json; charset=utf-7":                WrongMediaType,
		"application/json; charset=utf-16":               WrongMediaType,
		"application/json; charset=utf-8; charset=utf-7": WrongMediaType,
		"application/json; charset=utf-8, charset=utf-7": WrongMediaType,
		"application/json; charset=utf-8;":               WrongMediaType,
		"application/json; charset*=utf-8''utf-7":        WrongMediaType,
		"application/json; charset = utf-8":              WrongMediaType,
		"application/json; x=\"; charset=utf-7":          WrongMediaType,
		"application/json; x=\"a\"; charset=utf-7":       WrongMediaType,
		"application/json; charset=\"utf-8":              WrongMediaType,
		"application/json; charset='utf-8'":              WrongMediaType,
		"application/json; charset=":                     WrongMediaType,
		"application/json;":                              WrongMediaType,
		"application/json, text/plain":                   WrongMediaType,
		"application/json, application/json":             WrongMediaType,
		"application/json\u00a0":                         WrongMediaType,
		"application/j\u017fon":                          WrongMediaType,
		"application/json; char\u017fet=utf-8":           WrongMediaType,
		"application/json-rpc":                           WrongMediaType,
		"application/x-www-form-urlencoded":              WrongMediaType,
		"text/json":                                      WrongMediaType,
		"multipart/form-data; boundary=application/json": WrongMediaType,
	} {
		t.Run("ATK-55 Content-Type "+value, func(t *testing.T) {
			f.wantOfBody(t, secrets["a"], list, want, "Content-Type", value)
		})
	}
	for value, want := range map[string]Reason{
		"identity": Allowed, "Identity": Allowed, "": EncodedBody, "gzip": EncodedBody, "deflate": EncodedBody, "br": EncodedBody,
		"identity, gzip": EncodedBody, "\u0130dentity": EncodedBody,
	} {
		t.Run("ATK-55 Content-Encoding "+value, func(t *testing.T) {
			f.wantOfBody(t, secrets["a"], list, want, "Content-Type", "application/json", "Content-Encoding", value)
		})
	}
	t.Run("ATK-55 no Content-Type", func(t *testing.T) { f.wantOfBody(t, secrets["a"], list, MediaTypeMissing) })
	t.Run("ATK-55 two Content-Types", func(t *testing.T) {
		f.wantOfBody(t, secrets["a"], list, WrongMediaType, "Content-Type", "application/json", "Content-Type", "application/json")
	})
	t.Run("ATK-55 two Content-Encodings", func(t *testing.T) {
		f.wantOfBody(t, secrets["a"], list, EncodedBody, "Content-Type", "application/json", "Content-Encoding", "identity", "Content-Encoding", "identity")
	})
	t.Run("a client cannot have its body decide", func(t *testing.T) {
		r := forwardedRequest("POST", "https://b.example/mcp", put, append(call("list"), "Authorization", "Bearer "+secrets["b"])...)
		if resp := f.ask(t, r); resp.StatusCode != 200 || resp.Header.Get("Connection") != "close" {
			t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
		}
	})
	t.Run("nor escape that where the gateway does not forward it", func(t *testing.T) {
		r := nginxRequest("POST", "https://a.example/mcp", append(call("list"), "Authorization", "Bearer "+secrets["a"])...)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(list)), int64(len(list))
		if resp := f.ask(t, r); resp.StatusCode != 403 {
			t.Errorf("status %d, want 403", resp.StatusCode)
		}
	})
	t.Run("Envoy sends a part", func(t *testing.T) {
		for header, want := range map[string]int{"true": 403, "false": 200} {
			r := httptest.NewRequest("POST", Path+"/envoy/mcp", strings.NewReader(list))
			r.Host = "a.example"
			if resp := f.ask(t, with(r, "Authorization", "Bearer "+secrets["a"], "Content-Type", "application/json", "X-Envoy-Auth-Partial-Body", header)); resp.StatusCode != want {
				t.Errorf("%s: status %d", header, resp.StatusCode)
			}
		}
	})
	t.Run("the body of a stranger is not read", func(t *testing.T) {
		r := forwardedRequest("POST", "https://a.example/mcp", "")
		r.Body, r.ContentLength = io.NopCloser(unread{t}), 10
		if resp := f.ask(t, r); resp.StatusCode != 401 {
			t.Errorf("status %d, want 401", resp.StatusCode)
		}
	})
}

// manyMembers are n members of an object, after another.
func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":0`, i)
	}
	return b.String()
}

// wantOfBody sends the body with exactly these headers that say what it is.
func (f *fixture) wantOfBody(t *testing.T, secret, body string, want Reason, headers ...string) {
	t.Helper()
	r := forwardedRequest("POST", aMCP, body, "Authorization", "Bearer "+secret)
	r.Header.Del("Content-Type")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	before := f.reasons[want]
	if resp := f.ask(t, r); f.reasons[want] != before+1 {
		t.Errorf("status %d, want %s", resp.StatusCode, want)
	}
}

// The work for a body grows with its length alone: whatever it is made of, it
// takes no more memory for each token.
func TestBodyIsBounded(t *testing.T) {
	for name, body := range largeBodies() {
		if _, reason := parseBody([]byte(body)); reason != Allowed {
			t.Fatalf("%s: %s", name, reason)
		}
		if n := testing.AllocsPerRun(5, func() { parseBody([]byte(body)) }); n > 200 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for name, body := range map[string]string{
		"members": message("tools/call", `{"name":"list"`+manyMembers(100_000)+`}`), "batch": "[" + strings.Repeat(message("tools/list", "")+",", 10_000) + message("tools/list", "") + "]",
		"depth": message("tools/call", `{"name":"list","arguments":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`}`),
	} {
		if n := testing.AllocsPerRun(5, func() { parseBody([]byte(body)) }); n > 1000 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// largeBodies are bodies of about a megabyte, by what they are made of.
func largeBodies() map[string]string {
	fill := func(unit, last string) string {
		return message("tools/call", `{"name":"list","arguments":[`+strings.Repeat(unit, (maxBody-200)/len(unit))+last+`]}`)
	}
	return map[string]string{
		"one text": message("tools/call", `{"name":"list","arguments":{"a":"`+strings.Repeat("x", maxBody-200)+`"}}`),
		"numbers":  fill("1,", "1"), "texts": fill(`"",`, `""`), "arrays": fill("[],", "[]"), "objects": fill(`{"a":1},`, "0"), "escapes": fill(`"\u0041",`, `""`),
	}
}

// BenchmarkBody is to be read as a ratio: no kind of body of one size may take
// much longer than another.
func BenchmarkBody(b *testing.B) {
	for name, body := range largeBodies() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				parseBody([]byte(body))
			}
		})
	}
}

type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("it is")
	return 0, io.EOF
}

// Gateways announce bodies that they never send. The answer comes all the same, and
// what follows on the connection is not read as the body.
func TestAnnouncedBody(t *testing.T) {
	f := newFixture(t, "a.example/mcp b.example/mcp", func(uri string, r *rule.Rules) { r.Body = strings.Contains(uri, "b.example") })
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	for name, tt := range map[string]struct {
		host, announce, target string
		status                 int
		waits                  bool
	}{
		"length":                 {"a.example", "Content-Length: 57", "", 200, false},
		"chunked":                {"a.example", "Transfer-Encoding: chunked", "/forwarded", 200, false},
		"length, body wanted":    {"b.example", "Content-Length: 57", "/forwarded", 403, true},
		"chunked, body wanted":   {"b.example", "Transfer-Encoding: chunked", "/forwarded", 403, true},
		"length, never wanted":   {"b.example", "Content-Length: 57", "", 403, false},
		"no body and keep-alive": {"a.example", "X-None: x", "", 200, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := f.mint(t, f.issuer, "https://"+tt.host+"/mcp", "read", personOf("jane@example.com"))
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			began := time.Now()
			fmt.Fprintf(conn, "POST %s%s HTTP/1.1\r\nHost: %s\r\n%s\r\nAuthorization: Bearer %s\r\n"+
				"X-Original-Url: https://%s/mcp\r\nX-Original-Method: POST\r\nX-Forwarded-Host: %s\r\nX-Forwarded-Uri: /mcp\r\nX-Forwarded-Method: POST\r\n\r\n",
				Path, tt.target, tt.host, tt.announce, raw, tt.host, tt.host)
			answers := bufio.NewReader(conn)
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			if took := time.Since(began); resp.StatusCode != tt.status || (took >= bodyPatience) != tt.waits {
				t.Errorf("status %d after %s", resp.StatusCode, took)
			}
			if keep := tt.announce == "X-None: x"; resp.Close == keep {
				t.Errorf("the connection closes: %v", resp.Close)
			}
			if resp.Close {
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", Path)
				if next, err := http.ReadResponse(answers, nil); err == nil {
					t.Errorf("what follows is answered with %d", next.StatusCode)
				}
			}
		})
	}
}

// leniently is a message as encoding/json reads it: the last of repeated
// members, in any case.
type leniently struct {
	Method string
	Params map[string]any
}

func lenient(t *testing.T, body string) (m leniently) {
	t.Helper()
	var all struct {
		Method json.RawMessage
		Params json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(all.Method, &m.Method)
	_ = json.Unmarshal(all.Params, &m.Params)
	return m
}

// The client's traceparent is handed on, and changes no decision.
func TestClientTrace(t *testing.T) {
	f := newFixture(t, "a.example/mcp", func(_ string, r *rule.Rules) { r.Body = true })
	var got string
	f.Endpoint.Count = func(o Outcome) { got = o.ClientTrace }
	secret := f.token(t, aMCP, "read")
	for params, want := range map[string]string{
		`{"_meta":{"traceparent":"00-1-2-01"},"name":"list"}`:                    "00-1-2-01",
		`{"name":"list","_meta":{"a":{"traceparent":"x"},"b":[1],"progress":1}}`: "",
		`{"name":"list","_meta":{"traceparent":7}}`:                              "",
		`{"name":"list","_meta":["traceparent"]}`:                                "",
		`{"name":"list","_meta":null}`:                                           "",
		`{"name":"list","arguments":{"_meta":{"traceparent":"x"}}}`:              "",
	} {
		got = "?"
		r := forwardedRequest("POST", aMCP, message("tools/call", params), "Authorization", "Bearer "+secret)
		if resp := f.ask(t, r); resp.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: %d, trace %q, want %q", params, resp.StatusCode, got, want)
		}
	}
	batch := "[" + message("tools/list", "") + "," + message("tools/call", `{"name":"list","_meta":{"traceparent":"b"}}`) + "]"
	if f.ask(t, forwardedRequest("POST", aMCP, batch, "Authorization", "Bearer "+secret)); got != "b" {
		t.Errorf("of a batch: %q, want %q", got, "b")
	}
}
