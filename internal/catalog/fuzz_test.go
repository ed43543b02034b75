package catalog

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// FuzzAnswer: whatever a server answers to tools/list, as JSON or as an event
// stream, the fetch ends, and a catalogue is small and says only what fits a page.
func FuzzAnswer(f *testing.F) {
	list := `{"resultType":"complete","ttlMs":5,"tools":[` + tool("a") + `,` + tool("b") + `],"_meta":{"scopes":[{"name":"r","description":"Read","tools":["a"]}]}}`
	f.Add(list, false)
	f.Add(list, true)
	f.Add(`{"tools":[{"name":"a","title":"\u202ex","annotations":{"readOnlyHint":true,"destructiveHint":true}}],"nextCursor":"x"}`, false)
	f.Add(`{"tools":null,"_meta":{"scopes":{"name":"r"}}}`, false)
	f.Add(`{"tools":[{"name":"a"},{"name":"a"},{"name":""}],"_meta":{"scopes":[{"name":"offline_access"},{"name":"x y"},[],1]},"ttlMs":-1}`, true)
	f.Add(`{"tools":[{"name":"a","inputSchema":{"$ref":"http://169.254.169.254/"}}],"ttlMs":1e99}`, false)
	f.Add("not JSON", true)
	f.Fuzz(func(t *testing.T, result string, stream bool) {
		fetcher := Fetcher{transport: func() http.RoundTripper { return scripted{result, stream} }}
		c, err := fetcher.Fetch(t.Context(), "http://mcp.example/mcp")
		if err != nil {
			return
		}
		if len(c.Tools) > maxTools || len(c.Scopes) > maxScopes || c.TTL < 0 || c.Unavailable || len(c.Scopes) == 0 {
			t.Errorf("%d tools, %d scopes, ttl %v", len(c.Tools), len(c.Scopes), c.TTL)
		}
		for _, s := range c.Scopes {
			if !oauth.ValidScopeToken(s.Name) || reserved(s.Name) || !plain(s.Description, maxDescription) {
				t.Errorf("scope %q, %q", s.Name, s.Description)
			}
		}
		for _, tool := range c.Tools {
			if !acceptableToolName(tool.Name) || !plain(tool.Title, maxTitle) || !plain(tool.Description, maxDescription) {
				t.Errorf("tool %+v", tool)
			}
		}
	})
}

func plain(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit && strings.IndexFunc(s, hidden) < 0 && !strings.ContainsAny(s, "\r\n\t")
}

// scripted answers as a modern server whose tools/list has this result.
type scripted struct {
	result string
	stream bool
}

func (s scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	var m struct {
		ID     json.RawMessage
		Method string
	}
	if r.Body != nil {
		_ = json.NewDecoder(r.Body).Decode(&m)
	}
	result := s.result
	if m.Method == "server/discover" {
		result = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`
	}
	body, kind := `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":`+result+`}`, "application/json"
	if s.stream {
		body, kind = "event: message\ndata: "+strings.ReplaceAll(body, "\n", "\ndata: ")+"\n\n", "text/event-stream"
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader([]byte(body))),
	}, nil
}
