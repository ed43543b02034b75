//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// forwardsBody are the gateways that can, with what their pages say about it
// put below a line of their recipes.
func forwardsBody() []gateway {
	below := map[string]struct{ page, line string }{
		"Envoy HTTP": {"envoy", "transport_api_version: V3\n"},
		"Envoy gRPC": {"envoy", "transport_api_version: V3\n"},
		"Traefik":    {"traefik", "trustForwardHeader: false\n"},
	}
	var kinds []gateway
	for _, kind := range gatewayKinds {
		place, can := below[kind.name]
		if !can {
			continue
		}
		plain := kind.start
		kind.start = func(t *testing.T, path string, site gatewaySite) *process {
			site.edit = func(recipe string) string {
				before, _, _ := strings.Cut(recipe, place.line)
				indent := before[strings.LastIndexByte(before, '\n')+1:]
				added := place.line
				for line := range strings.Lines(block(t, place.page, "The body", "yml", 0)) {
					added += indent + line
				}
				return substitute(t, recipe, place.line, added)
			}
			return plain(t, path, site)
		}
		kind.sees = "body"
		kinds = append(kinds, kind)
	}
	return kinds
}

// seesBody is a gateway as it shows the body: Envoy over gRPC by its MCP filter, with
// that for lists, and the others by forwarding it.
func seesBody(kind gateway) (gateway, bool) {
	if kind.name == "Envoy gRPC" {
		kind.sees, kind.start = "envoyMCP", func(t *testing.T, path string, site gatewaySite) *process {
			return startEnvoy(t, path, envoyFilters(t, site))
		}
		return kind, true
	}
	kinds := forwardsBody()
	i := slices.IndexFunc(kinds, func(g gateway) bool { return g.name == kind.name })
	if i < 0 {
		return kind, false
	}
	return kinds[i], true
}

// TestBodyThroughGateways has the body decide, whatever the headers say, at
// every gateway that can forward it (RS-HDR-09, RS-HDR-10).
func TestBodyThroughGateways(t *testing.T) {
	kinds := forwardsBody()
	mustEqual(t, "number of gateways that forward the body", len(kinds), 3)
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			track(t)
			kind.path(t)
			st := newStack(t, setup{provider: "static", gateway: &kind, change: func(file map[string]any) {
				file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["body"] = true
			}})
			person := alice
			person.keep = func(scope string) bool { return scope != scopeWrite }
			g, _ := signIn(t, st.statelessURL, person)
			st.stateless.requests()
			for _, c := range bodyCases {
				t.Run(c.name, func(t *testing.T) {
					if c.media == nil {
						c.media = []string{"Content-Type", "application/json"}
					}
					header := append(append(bearer(g), c.media...), "Accept", "application/json, text/event-stream")
					var body io.Reader = strings.NewReader(c.body)
					if c.chunked {
						body = struct{ io.Reader }{body}
					}
					resp, text := do(t, c.method, st.statelessURL, body, append(header, c.header...)...)
					arrived := len(st.stateless.requests())
					if c.want == http.StatusOK {
						if arrived != 1 || resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
							t.Errorf("answered %s, %d requests arrived: %s", resp.Status, arrived, text)
						}
						return
					}
					if arrived > 0 {
						t.Errorf("%d requests arrived", arrived)
					}
					if kind.name == "Traefik" && c.want == http.StatusRequestEntityTooLarge {
						c.want = http.StatusForbidden // there the service itself finds it too large
					}
					mustEqual(t, "status", resp.StatusCode, c.want)
					if strings.Contains(c.body, "write_note") && c.want == http.StatusForbidden && !strings.Contains(resp.Header.Get("WWW-Authenticate"), scopeWrite) {
						t.Errorf("the challenge does not name %s: %q", scopeWrite, resp.Header.Get("WWW-Authenticate"))
					}
				})
			}
		})
	}
}

const (
	readCall  = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_notes","arguments":{}}}`
	writeCall = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"write_note","arguments":{}}}`
)

// bodyCases are requests with a token that may read and not write. The MCP
// server answers what it likes to a request that arrives: want is 200 then.
var bodyCases = []struct {
	name, method, body string
	header, media      []string // media is what says how to read the body, by default Content-Type: application/json
	chunked            bool
	want               int
}{
	{name: "a tool that is granted, of an older client", method: "POST", body: readCall, want: 200},
	{name: "a tool that is not, of an older client", method: "POST", body: writeCall, want: 403},
	{name: "the same without a length", method: "POST", body: writeCall, chunked: true, want: 403},
	{name: "granted, without a length", method: "POST", body: readCall, chunked: true, want: 200},
	{name: "headers that say otherwise", method: "POST", body: writeCall, want: 400,
		header: []string{"MCP-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "read_notes"}},
	{name: "a batch with one that is not granted", method: "POST", body: "[" + readCall + "," + writeCall + "]", want: 403},
	{name: "a name that stands twice", method: "POST", want: 400,
		body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_notes","name":"write_note"}}`},
	{name: "a name in another case", method: "POST", want: 400,
		body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_notes","Name":"write_note"}}`},
	{name: "no JSON", method: "POST", body: "tools/call write_note", want: 400},
	{name: "granted, with a charset", method: "POST", body: readCall, want: 200, media: []string{"Content-Type", "Application/JSON;charset=UTF-8"}},
	{name: "UTF-7, by which a server would read another tool", method: "POST", want: 415, media: []string{"Content-Type", "application/json; charset=utf-7"},
		body: readCall[:len(readCall)-1] + `,"+AHA-arams":{"name":"write_note","arguments":{}}}`},
	{name: "no media type", method: "POST", body: readCall, want: 415, media: []string{}},
	{name: "another media type", method: "POST", body: readCall, want: 415, media: []string{"Content-Type", "text/plain"}},
	{name: "two media types", method: "POST", body: readCall, want: 415, media: []string{"Content-Type", "application/json", "Content-Type", "application/json; charset=utf-7"}},
	{name: "a content coding", method: "POST", body: readCall, want: 415, media: []string{"Content-Type", "application/json", "Content-Encoding", "deflate"}},
	{name: "no body", method: "POST", want: 403},
	{name: "a stream", method: "GET", want: 200},
	{name: "more than a megabyte", method: "POST", want: 413,
		body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_notes","arguments":{"x":"` + string(bytes.Repeat([]byte("x"), 1<<20)) + `"}}}`},
}
