package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// sdkServer is a real MCP server with the given tools, which puts meta into
// every tools/list answer.
func sdkServer(meta func(page int) any, pageSize int, tools ...string) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ServerOptions{PageSize: pageSize})
	for _, name := range tools {
		mcp.AddTool(s, &mcp.Tool{Name: name, Title: "The " + name, Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
			func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
				return nil, nil, nil
			})
	}
	page := 0
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			res, err := next(ctx, method, req)
			if list, ok := res.(*mcp.ListToolsResult); ok && meta != nil {
				list.Meta = mcp.Meta{"scopes": meta(page)}
				list.TTLMs = 60_000
				page++
			}
			return res, err
		}
	})
	return s
}

// recorder keeps what the service sent.
type recorder struct {
	mu       sync.Mutex
	requests []*http.Request
	methods  []string
	next     http.Handler
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(b))
	var m struct{ Method string }
	json.Unmarshal(b, &m)
	r.mu.Lock()
	r.requests = append(r.requests, req)
	r.methods = append(r.methods, req.Method+" "+m.Method)
	r.mu.Unlock()
	r.next.ServeHTTP(w, req)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.methods
	r.methods = nil
	return m
}

func serve(t *testing.T, h http.Handler) (*recorder, string) {
	t.Helper()
	r := &recorder{next: h}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	return r, srv.URL
}

func sdkHandler(s *mcp.Server, o *mcp.StreamableHTTPOptions) http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, o)
}

var notes = func(int) any {
	return []any{
		map[string]any{"name": "notes:read", "description": "Read", "tools": []any{"list", "read"}},
		map[string]any{"name": "notes:write", "tools": []any{"write"}},
	}
}

// TestFetchRealServers asks servers of the go-sdk in every mode it has.
func TestFetchRealServers(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts mcp.StreamableHTTPOptions
	}{
		{"UP-01 stateless, SSE answers", mcp.StreamableHTTPOptions{Stateless: true}},
		{"UP-01 stateless, JSON answers", mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}},
		{"UP-03 stateful, SSE answers", mcp.StreamableHTTPOptions{}},
		{"UP-03 stateful, JSON answers", mcp.StreamableHTTPOptions{JSONResponse: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec, url := serve(t, sdkHandler(sdkServer(notes, 0, "list", "read", "write"), &tc.opts))
			var f Fetcher
			for range 2 { // again with what was learnt
				c, err := f.Fetch(t.Context(), url)
				if err != nil {
					t.Fatal(err)
				}
				if !c.Declared || c.Unavailable || c.FetchedAt.IsZero() || len(c.Tools) != 3 {
					t.Errorf("got %+v", c.Tools)
				}
				if got := c.ScopesForTool("read"); !slices.Equal(got, []string{"notes:read"}) {
					t.Errorf("scopes for read: %v", got)
				}
				if tool, _ := c.Tool("list"); tool.Title != "The list" || !tool.ReadOnly || tool.Destructive {
					t.Errorf("tool: %+v", tool)
				}
			}
			for _, r := range rec.requests {
				t.Run("UP-11 no credential", func(t *testing.T) {
					for _, h := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
						if r.Header.Get(h) != "" {
							t.Errorf("%s is sent", h)
						}
					}
				})
			}
		})
	}
}

func TestFetchOlderServers(t *testing.T) {
	for _, version := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"} {
		for name, refusal := range map[string]http.HandlerFunc{
			"JSON-RPC error":     rpcError(http.StatusOK, -32601, "Method not found"),
			"400 JSON-RPC error": rpcError(http.StatusBadRequest, -32000, "Bad Request: Server not initialized"),
			"400 text": func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, "Bad Request: Unsupported protocol version", 400)
			},
			"404 text": func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
			"200 page": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "text/html") },
			"202":      func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(202) },
			"200 {}": func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, "{}")
			},
			"empty SSE": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "text/event-stream") },
			"500":       func(w http.ResponseWriter, r *http.Request) { http.Error(w, "?", 500) },
			"drops":     func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		} {
			t.Run("UP-02 UP-03 "+version+" refuses by "+name, func(t *testing.T) {
				rec, url := serve(t, olderServer(version, refusal))
				var f Fetcher
				for i := range 2 {
					c, err := f.Fetch(t.Context(), url)
					if err != nil {
						t.Fatalf("fetch %d: %v (%v)", i, err, rec.take())
					}
					if len(c.Tools) != 1 || c.Tools[0].Name != "echo" || c.Declared {
						t.Errorf("fetch %d: %+v", i, c)
					}
					asked := rec.take()
					if first := asked[0]; (first == "POST server/discover") != (i == 0) {
						t.Errorf("UP-13 fetch %d began with %s", i, first)
					}
					if last := asked[len(asked)-1]; last != "DELETE " {
						t.Errorf("session not ended: %v", asked)
					}
				}
			})
		}
	}
}

// TestFetchUpgrade: a server that changes its era is understood at the next fetch.
func TestFetchUpgrade(t *testing.T) {
	var h http.Handler = olderServer("2025-06-18", rpcError(200, -32601, "?"))
	rec, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	var f Fetcher
	if _, err := f.Fetch(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	rec.take()
	sdk := sdkHandler(sdkServer(notes, 0, "list"), &mcp.StreamableHTTPOptions{Stateless: true})
	h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if bytes.Contains(b, []byte(`"initialize"`)) {
			rpcError(400, -32601, "gone")(w, r)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		sdk.ServeHTTP(w, r)
	})
	t.Run("UP-13 upgrade detected", func(t *testing.T) {
		if c, err := f.Fetch(t.Context(), url); err != nil || !c.Declared {
			t.Errorf("%v %v", c, err)
		}
		rec.take()
		if _, err := f.Fetch(t.Context(), url); err != nil {
			t.Error(err)
		}
		if asked := rec.take(); asked[0] != "POST server/discover" {
			t.Errorf("not remembered: %v", asked)
		}
	})
	t.Run("UP-13 asked again after an hour", func(t *testing.T) {
		now := time.Now()
		f := Fetcher{Now: func() time.Time { return now }}
		rec, url := serve(t, olderServer("2025-06-18", rpcError(200, -32601, "?")))
		for i, first := range []string{"POST server/discover", "POST initialize", "POST initialize", "POST server/discover", "POST initialize"} {
			if _, err := f.Fetch(t.Context(), url); err != nil {
				t.Fatal(err)
			}
			if got := rec.take()[0]; got != first {
				t.Errorf("fetch %d: %s", i, got)
			}
			now = now.Add(25 * time.Minute)
		}
	})
}

// olderServer is a hand-written server of the initialize era.
func olderServer(version string, refuse http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		var m struct {
			ID     json.RawMessage
			Method string
		}
		json.Unmarshal(body, &m)
		answer := func(result string) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
		}
		switch {
		case m.Method == "initialize":
			w.Header().Set("Mcp-Session-Id", "s1")
			answer(`{"protocolVersion":"` + version + `","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}`)
		case r.Header.Get("Mcp-Session-Id") != "s1":
			refuse(w, r)
		case r.Header.Get("Mcp-Protocol-Version") != version:
			http.Error(w, "wrong version header", 400)
		case m.Method == "notifications/initialized":
			w.WriteHeader(http.StatusAccepted)
		case m.Method == "tools/list":
			answer(`{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}`)
		default:
			rpcError(200, -32601, "?")(w, r)
		}
	})
}

func rpcError(status, code int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var m struct{ ID json.RawMessage }
		json.NewDecoder(r.Body).Decode(&m)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q}}`, m.ID, code, message)
	}
}

// modernServer is a hand-written stateless server; list writes the answer to tools/list.
func modernServer(list func(w http.ResponseWriter, id, cursor string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct{ Cursor string }
		}
		json.NewDecoder(r.Body).Decode(&m)
		switch m.Method {
		case "server/discover":
			jsonAnswer(w, string(m.ID), `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`)
		case "tools/list":
			list(w, string(m.ID), m.Params.Cursor)
		case "": // an answer to a question of the server
			w.WriteHeader(http.StatusAccepted)
		default:
			http.Error(w, "unexpected "+m.Method, http.StatusBadRequest)
		}
	})
}

func jsonAnswer(w http.ResponseWriter, id, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}

func tool(name string) string { return `{"name":"` + name + `","inputSchema":{"type":"object"}}` }

// TestFetchFailures: whatever is wrong, the fetch ends soon with the right result.
func TestFetchFailures(t *testing.T) {
	modernList := func(result string) http.Handler {
		return modernServer(func(w http.ResponseWriter, id, _ string) { jsonAnswer(w, id, result) })
	}
	manyTools := make([]string, maxTools+1)
	for i := range manyTools {
		manyTools[i] = tool(fmt.Sprint("t", i))
	}
	page := 0
	for _, tc := range []struct {
		name, result string
		handler      http.Handler
	}{
		{"UP-12 401", ResultUnauthorized, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(401)
		})},
		{"UP-12 403", ResultUnauthorized, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) })},
		{"HTML answer", ResultInvalid, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>hello")
		})},
		{"HTML as JSON", ResultInvalid, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, "<html>hello")
		})},
		{"404", ResultInvalid, http.NotFoundHandler()},
		{"500", ResultInvalid, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })},
		{"drops the connection", ResultUnreachable, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })},
		{"UP-12 huge body", ResultTooLarge, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for range 100 {
				io.WriteString(w, strings.Repeat(" ", 1<<20))
			}
		})},
		{"UP-12 huge error body", ResultTooLarge, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			for range 100 {
				io.WriteString(w, strings.Repeat(" ", 1<<20))
			}
		})},
		{"UP-05 endless SSE", ResultTooLarge, modernServer(func(w http.ResponseWriter, id, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			for range 1 << 20 {
				if _, err := io.WriteString(w, ": "+strings.Repeat("x", 1000)+"\n\n"); err != nil {
					return
				}
			}
		})},
		{"UP-05 bytes over all pages", ResultTooLarge, modernServer(func(w http.ResponseWriter, id, cursor string) {
			jsonAnswer(w, id, `{"tools":[],"_meta":{"x":"`+strings.Repeat("x", 1<<18)+`"},"nextCursor":"`+cursor+`x"}`)
		})},
		{"ATK-61 cursor loop", ResultInvalid, modernServer(func(w http.ResponseWriter, id, cursor string) {
			jsonAnswer(w, id, `{"tools":[],"nextCursor":"`+map[string]string{"": "a", "a": "b", "b": "a"}[cursor]+`"}`)
		})},
		{"UP-05 endless pages", ResultTooLarge, modernServer(func(w http.ResponseWriter, id, cursor string) {
			page++
			jsonAnswer(w, id, fmt.Sprintf(`{"tools":[],"nextCursor":"%d"}`, page))
		})},
		{"UP-05 too many tools", ResultTooLarge, modernList(`{"tools":[` + strings.Join(manyTools, ",") + `]}`)},
		{"UP-04 input required", ResultInvalid, modernList(`{"resultType":"input_required","inputRequests":{},"tools":[]}`)},
		{"UP-04 unknown result type", ResultInvalid, modernList(`{"resultType":"later","tools":[]}`)},
		{"UP-04 answer to another request", ResultInvalid, modernServer(func(w http.ResponseWriter, id, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":999,\"result\":{\"tools\":[]}}\n\n")
		})},
		{"UP-09 nothing but bad scopes", ResultInvalid, modernList(`{"tools":[],"_meta":{"scopes":[{"name":"bad name"}]}}`)},
		{"JSON-RPC error", ResultInvalid, rpcError(200, -32603, "broken\x1b[31m")},
		{"error on the second page", ResultInvalid, modernServer(func(w http.ResponseWriter, id, cursor string) {
			if cursor != "" {
				w.WriteHeader(502)
				return
			}
			jsonAnswer(w, id, `{"tools":[],"nextCursor":"2"}`)
		})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec, url := serve(t, tc.handler)
			begin := time.Now()
			c, err := new(Fetcher).Fetch(t.Context(), url)
			fetchErr, ok := errors.AsType[*Error](err)
			if !ok || c != nil {
				t.Fatalf("got %v, %v", c, err)
			}
			if fetchErr.Result != tc.result {
				t.Errorf("result %q, want %q: %v (%v)", fetchErr.Result, tc.result, err, rec.take())
			}
			if !slices.Contains(Results, fetchErr.Result) {
				t.Errorf("result outside the closed set")
			}
			if d := time.Since(begin); d > 3*time.Second {
				t.Errorf("took %v", d)
			}
			if asked := rec.take(); len(asked) > 2*maxPages {
				t.Errorf("%d requests", len(asked))
			}
			if strings.ContainsFunc(err.Error(), hidden) {
				t.Errorf("control characters in %q", err)
			}
		})
	}
	t.Run("UP-12 nobody listens", func(t *testing.T) {
		srv := httptest.NewServer(nil)
		srv.Close()
		_, err := new(Fetcher).Fetch(t.Context(), srv.URL)
		if e, ok := errors.AsType[*Error](err); !ok || e.Result != ResultUnreachable {
			t.Errorf("%v", err)
		}
	})
	t.Run("UP-12 unknown certificate", func(t *testing.T) {
		srv := httptest.NewTLSServer(http.NotFoundHandler())
		defer srv.Close()
		srv.Config.ErrorLog = discard
		_, err := new(Fetcher).Fetch(t.Context(), srv.URL)
		if e, ok := errors.AsType[*Error](err); !ok || e.Result != ResultCertificate || !strings.Contains(err.Error(), "caFile") {
			t.Errorf("%v", err)
		}
	})
	t.Run("UP-12 a name that does not exist", func(t *testing.T) {
		f := Fetcher{transport: func() http.RoundTripper {
			return roundTripper(func(*http.Request) (*http.Response, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "mcp.invalid", IsNotFound: true}}
			})
		}}
		_, err := f.Fetch(t.Context(), "http://mcp.invalid/mcp")
		if e, ok := errors.AsType[*Error](err); !ok || e.Result != ResultNoSuchHost {
			t.Errorf("%v", err)
		}
	})
}

func TestFetchRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprintf("UP-12 %d to the metadata address", status), func(t *testing.T) {
			var dialled []string
			f := Fetcher{transport: func() http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					dialled = append(dialled, r.URL.Host)
					return &http.Response{
						StatusCode: status, Request: r, Body: http.NoBody, ProtoMajor: 1,
						Header: http.Header{"Location": {"http://169.254.169.254/latest/meta-data/"}},
					}, nil
				})
			}}
			_, err := f.Fetch(t.Context(), "http://mcp.example/mcp")
			if e, ok := errors.AsType[*Error](err); !ok || e.Result != ResultRedirect {
				t.Errorf("%v", err)
			}
			if !slices.Equal(slices.Compact(dialled), []string{"mcp.example"}) {
				t.Errorf("asked %v", dialled)
			}
		})
	}
}

// TestFetchHang bounds the time with servers that do not answer.
func TestFetchHang(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then does the server notice that the client left
		<-r.Context().Done()
	}
	t.Run("UP-12 at once", func(t *testing.T) {
		_, url := serve(t, http.HandlerFunc(hang))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := new(Fetcher).Fetch(ctx, url)
		if e, ok := errors.AsType[*Error](err); !ok || e.Result != ResultTimeout {
			t.Errorf("%v", err)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
	})
	t.Run("UP-12 in the list", func(t *testing.T) {
		_, url := serve(t, modernServer(func(w http.ResponseWriter, id, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			time.Sleep(600 * time.Millisecond)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := new(Fetcher).Fetch(ctx, url)
		if e, ok := errors.AsType[*Error](err); !ok || e.Result != ResultTimeout {
			t.Errorf("%v", err)
		}
	})
	t.Run("UP-12 no request outlives its fetch", func(t *testing.T) {
		_, url := serve(t, http.HandlerFunc(hang))
		ctx, cancel := context.WithCancel(t.Context())
		w := &wire{base: http.DefaultTransport, endpoint: url}
		time.AfterFunc(50*time.Millisecond, cancel)
		begin := time.Now()
		if resp, err := w.client(ctx).Post(url, "text/plain", nil); err == nil { // a request with a context of its own
			t.Errorf("answered %s", resp.Status)
		}
		if resp, err := w.client(ctx).Post(url, "text/plain", nil); err == nil {
			t.Errorf("a late request is answered %s", resp.Status)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
		if w.unreachable.Load() != nil {
			t.Error("our own leaving counts against the server")
		}
	})
	t.Run("UP-12 the end of a session is not waited for", func(t *testing.T) {
		older := olderServer("2025-06-18", rpcError(200, -32601, "?"))
		_, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				hang(w, r)
				return
			}
			older.ServeHTTP(w, r)
		}))
		begin := time.Now()
		if _, err := new(Fetcher).Fetch(t.Context(), url); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > closeTimeout+time.Second {
			t.Errorf("took %v", d)
		}
	})
	t.Run("UP-02 only what it does not know", func(t *testing.T) {
		if testing.Short() {
			t.Skip("waits for the probe to give up")
		}
		_, url := serve(t, olderServer("2025-03-26", hang))
		begin := time.Now()
		if _, err := new(Fetcher).Fetch(t.Context(), url); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > probeTimeout+3*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestFetchAnswers(t *testing.T) {
	get := func(t *testing.T, h http.Handler) *Catalogue {
		t.Helper()
		_, url := serve(t, h)
		c, err := new(Fetcher).Fetch(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("UP-04 SSE with noise, stream left open", func(t *testing.T) {
		begin := time.Now()
		c := get(t, modernServer(func(w http.ResponseWriter, id, _ string) {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			io.WriteString(w, ": hello\n\nevent: ping\ndata: {}\n\nid: 7\ndata:\n\n")
			io.WriteString(w, `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`+"\n\n")
			io.WriteString(w, `data: {"jsonrpc":"2.0","id":77,"method":"sampling/createMessage","params":{"messages":[]}}`+"\n\n")
			fmt.Fprintf(w, "event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"tools\":[%s]}}\r\n\r\n", id, tool("a"))
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}))
		if len(c.Tools) != 1 {
			t.Errorf("%+v", c)
		}
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("took %v", d)
		}
	})
	t.Run("UP-05 UP-09 ATK-61 merge over pages", func(t *testing.T) {
		pages := map[string]string{
			"":  `{"ttlMs":900000,"tools":[` + tool("a") + `,` + tool("b") + `],"_meta":{"scopes":[{"name":"r","description":"first","tools":["a","late","ghost"]},{"name":"bad name"}]},"nextCursor":"2"}`,
			"2": `{"ttlMs":600000,"tools":[` + tool("late") + `,{"name":"a","title":"again","inputSchema":{"type":"object"}}],"_meta":{"scopes":[{"name":"r","description":"second","tools":["b","a"]},{"name":"w","tools":["late"]}]},"nextCursor":"3"}`,
			"3": `{"ttlMs":700000,"tools":[` + tool("z") + `]}`,
		}
		c := get(t, modernServer(func(w http.ResponseWriter, id, cursor string) { jsonAnswer(w, id, pages[cursor]) }))
		want := []Scope{{Name: "r", Description: "first", Tools: []string{"a", "b", "late"}}, {Name: "w", Tools: []string{"late"}}}
		if fmt.Sprint(c.Scopes) != fmt.Sprint(want) || c.Dropped != 1 || !c.Declared {
			t.Errorf("%+v", c.Scopes)
		}
		if a, _ := c.Tool("a"); len(c.Tools) != 4 || a.Title != "" {
			t.Errorf("%+v", c.Tools)
		}
		if c.TTL != 10*time.Minute {
			t.Errorf("UP-07 ttl %v is not the shortest", c.TTL)
		}
		if len(c.ScopesForTool("z")) != 0 || len(c.ScopesForTool("late")) != 2 {
			t.Error("wrong scopes for tools")
		}
	})
	t.Run("UP-05 sdk server in pages of one", func(t *testing.T) {
		c := get(t, sdkHandler(sdkServer(notes, 1, "list", "read", "write"), nil))
		if len(c.Tools) != 3 || len(c.Scopes) != 2 {
			t.Errorf("%+v %+v", c.Tools, c.Scopes)
		}
	})
	t.Run("UP-09 no scopes declared", func(t *testing.T) {
		c := get(t, sdkHandler(sdkServer(nil, 0, "b", "a"), &mcp.StreamableHTTPOptions{Stateless: true}))
		if c.Declared || c.Unavailable || fmt.Sprint(c.Scopes) != "[{mcp Use this server's tools [a b]}]" {
			t.Errorf("%+v", c)
		}
	})
	t.Run("no tools at all", func(t *testing.T) {
		c := get(t, modernServer(func(w http.ResponseWriter, id, _ string) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, id)
		}))
		if len(c.Tools) != 0 || c.Unavailable || c.Scopes[0].Name != DefaultScope {
			t.Errorf("%+v", c)
		}
	})
	t.Run("UP-05 cursor lost once", func(t *testing.T) {
		calls := 0
		c := get(t, modernServer(func(w http.ResponseWriter, id, cursor string) {
			if calls++; calls == 2 {
				w.WriteHeader(400)
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"cursor"}}`, id)
				return
			}
			jsonAnswer(w, id, map[string]string{
				"":  `{"tools":[` + tool("a") + `],"nextCursor":"2"}`,
				"2": `{"tools":[` + tool("b") + `]}`}[cursor])
		}))
		if len(c.Tools) != 2 || calls != 4 {
			t.Errorf("%d calls, %+v", calls, c.Tools)
		}
	})
	t.Run("UP-03 session lost once", func(t *testing.T) {
		lost := false
		older := olderServer("2025-06-18", rpcError(200, -32601, "?"))
		c := get(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(b))
			if bytes.Contains(b, []byte("tools/list")) && !lost {
				lost = true
				http.NotFound(w, r)
				return
			}
			older.ServeHTTP(w, r)
		}))
		if len(c.Tools) != 1 || !lost {
			t.Errorf("%+v", c)
		}
	})
	t.Run("UP-02 modern server of another revision", func(t *testing.T) {
		calls := 0
		h := modernServer(func(w http.ResponseWriter, id, _ string) { jsonAnswer(w, id, `{"tools":[`+tool("a")+`]}`) })
		c := get(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if calls++; calls == 1 {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(400)
				io.WriteString(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"unsupported","data":{"supported":["2026-07-28"],"requested":"x"}}}`)
				return
			}
			h.ServeHTTP(w, r)
		}))
		if len(c.Tools) != 1 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("UP-01 modern request", func(t *testing.T) {
		rec, url := serve(t, sdkHandler(sdkServer(notes, 0, "list"), &mcp.StreamableHTTPOptions{Stateless: true}))
		if _, err := new(Fetcher).Fetch(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(rec.methods) != "[POST server/discover POST tools/list]" {
			t.Errorf("asked %v", rec.methods)
		}
		r := rec.requests[1]
		for h, want := range map[string]string{
			"Mcp-Protocol-Version": modern, "Mcp-Method": "tools/list",
			"Accept": "application/json, text/event-stream", "Content-Type": "application/json",
		} {
			if got := r.Header.Get(h); got != want {
				t.Errorf("%s: %q", h, got)
			}
		}
	})
}
