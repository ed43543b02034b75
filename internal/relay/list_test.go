package relay_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`

// What a person sees is what they may call, and what they could be allowed to,
// with a real server and a real client, in JSON and as events, page by page.
func TestListedAndCallable(t *testing.T) {
	t.Parallel()
	for _, o := range []struct {
		json, hide bool
		page       int
		stateless  bool
	}{{page: 3, stateless: true}, {json: true, page: 100}, {json: true, hide: true, page: 3}, {hide: true, page: 100, stateless: true}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			m := mcp.NewServer(&mcp.Implementation{Name: "many"}, &mcp.ServerOptions{PageSize: o.page})
			for _, name := range []string{"look", "list_a", "list_b", "put", "secret", "zap"} {
				mcp.AddTool(m, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
					return &mcp.CallToolResult{}, nil, nil
				})
			}
			h := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m }, &mcp.StreamableHTTPOptions{JSONResponse: o.json, Stateless: o.stateless})
			s := serve(t, h.ServeHTTP, func(f *config.HostFile) {
				f.HideGrantable = o.hide
				f.Policy = config.PolicyFile{Rules: []rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Anyone: true, Tools: []string{"list_b"}}}}
			})
			session, err := mcp.NewClient(&mcp.Implementation{Name: "c"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{
				Endpoint: servertest.Resource, HTTPClient: s.client(), DisableStandaloneSSE: true,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			var listed []string
			for tool, err := range session.Tools(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				listed = append(listed, tool.Name)
			}
			want := []string{"list_a", "look", "put"} // put by signing in for more
			if o.hide {
				want = []string{"list_a", "look"}
			}
			if slices.Sort(listed); !slices.Equal(listed, want) {
				t.Errorf("listed are %v, want %v", listed, want)
			}
			for _, name := range []string{"look", "list_a", "list_b", "put", "secret", "zap"} {
				a := s.post(t, strings.Replace(look, "look", name, 1), "Accept", "application/json, text/event-stream")
				if callable := a.Status != http.StatusForbidden; callable != (name == "look" || name == "list_a") {
					t.Errorf("%s: %d", name, a.Status)
				}
			}
		})
	}
}

func TestListAnswers(t *testing.T) {
	t.Parallel()
	var answer http.HandlerFunc
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
	const full, shown = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"look"},{"name":"secret"}]}}`, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"look"}]}}`
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, full)
	z.Close()
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `{"name":"secret_%d","description":"%s"},`, i, strings.Repeat("x", 200))
	}
	long := `{"jsonrpc":"2.0","id":1,"result":{"tools":[` + many.String() + `{"name":"look"}]}}`
	typed := func(media, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", media)
			status(200, header...)(w, r)
			io.WriteString(w, body)
		}
	}
	worded := func(w http.ResponseWriter, r *http.Request) { // as servers of HTTP+SSE do
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(202)
		io.WriteString(w, "secret")
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		status int
		body   string // "" for an error
	}{
		"JSON":               {typed("application/json", full), 200, shown},
		"with a charset":     {typed("Application/JSON; charset=utf-8", full), 200, shown},
		"events":             {typed("text/event-stream", "event: message\ndata: "+full+"\n\n"), 200, "event: message\ndata: " + shown + "\n\n"},
		"ten thousand":       {typed("application/json", long), 200, shown},
		"ten thousand event": {typed("text/event-stream", "data: "+long+"\n\n"), 200, "data: " + shown + "\n\n"},
		"another id":         {typed("application/json", strings.Replace(full, `"id":1`, `"id":"7"`, 1)), 200, strings.Replace(shown, `"id":1`, `"id":"7"`, 1)},
		"no id":              {typed("application/json", strings.Replace(full, `"id":1,`, "", 1)), 200, strings.Replace(shown, `"id":1,`, "", 1)},
		"accepted":           {status(202), 202, ""},
		"accepted, in words": {worded, 202, ""},
		"error":              {typed("application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}`), 200, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}`},
		"compressed":         {typed("application/json", packed.String(), "Content-Encoding", "gzip"), 502, ""},
		"compressed events":  {typed("text/event-stream", packed.String(), "Content-Encoding", "br"), 502, ""},
		"another type":       {typed("text/html", full), 502, ""},
		"no type":            {typed("", full), 502, ""},
		"no JSON":            {typed("application/json", "secret"), 502, ""},
		"cut":                {typed("application/json", full[:60]), 502, ""},
		"duplicate":          {typed("application/json", strings.Replace(full, `"id":1`, `"result":{}`, 1)), 502, ""},
		"too long":           {typed("application/json", `{"result":{"tools":[],"x":"`+strings.Repeat("secret", 3<<20)+`"}}`), 502, ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer = tt.answer
			for range 2 { // the second time from memory
				a := s.post(t, list, "Accept-Encoding", "gzip, br")
				if a.Status != tt.status || tt.body != "" && a.Body != tt.body || strings.Contains(a.Body, "secret") {
					t.Errorf("%d %.200s", a.Status, a.Body)
				}
				if tt.body != "" && (a.Header.Get("Cache-Control") != "private, no-store" || a.Header.Get("Etag") != "") {
					t.Errorf("%v", a.Header)
				}
				if tt.status == 502 && s.Log.Last(audit.RelayFailed)["reason"] != "mcp_server_answer" {
					t.Errorf("audit says %v", s.Log.Last(audit.RelayFailed))
				}
			}
			if got := s.last().Header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("the server was asked for %q, want %q", got, "identity")
			}
		})
	}
	t.Run("an answer to a call is not looked at", func(t *testing.T) {
		answer = typed("application/json", packed.String(), "Content-Encoding", "gzip", "Etag", `"1"`)
		resp, err := s.Do(s.request(t, http.MethodPost, "/mcp", look, "Accept-Encoding", "gzip"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if !bytes.Equal(body, packed.Bytes()) || resp.Header.Get("Etag") != `"1"` || s.last().Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%q %v", body, resp.Header)
		}
	})
	t.Run("a stream that goes on with an earlier answer", func(t *testing.T) {
		answer = typed("text/event-stream", "id: 1\ndata:\n\nid: 2\ndata: "+full+"\n\n")
		if a := s.Send(t, s.request(t, http.MethodGet, "/mcp", "", "Last-Event-ID", "1")); a.Body != "id: 1\ndata:\n\nid: 2\ndata: "+shown+"\n\n" {
			t.Errorf("%s", a.Body)
		}
	})
	t.Run("an event without an end", func(t *testing.T) {
		answer = func(w http.ResponseWriter, r *http.Request) {
			typed("text/event-stream", "data: ")(w, r)
			for range 64 { // MiB
				if _, err := io.WriteString(w, strings.Repeat("secret, ", 128<<10)); err != nil {
					return
				}
			}
		}
		resp, err := s.Do(s.request(t, http.MethodPost, "/mcp", list))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err == nil || len(body) > 0 {
			t.Errorf("%v %.200s", err, body)
		}
	})
	t.Run("a batch", func(t *testing.T) {
		answer = typed("application/json", "["+full+`,{"jsonrpc":"2.0","id":2,"result":{}}]`)
		a := s.post(t, "["+look+","+list+"]")
		var messages []json.RawMessage
		if json.Unmarshal([]byte(a.Body), &messages) != nil || len(messages) != 2 || string(messages[0]) != shown {
			t.Errorf("%s", a.Body)
		}
	})
}
