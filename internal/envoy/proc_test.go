package envoy

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/filter"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// onlyRead shows the tool read and nothing else.
type onlyRead struct{}

func (onlyRead) Shows(method, name string) bool { return method != "tools/call" || name == "read" }

// reading is a Reader as the decision is: it wants the token, and to know what a
// message asks for.
func reading(_ context.Context, q *forwardauth.Request) (v filter.View, lists, ok bool) {
	if len(q.Authorization) != 1 || q.Authorization[0] != "Bearer good" || q.Host != "mcp.example" || q.Path != "/mcp" {
		return nil, false, false
	}
	if q.Method == "POST" && (q.Parsed == nil || !q.Parsed.Whole) {
		return nil, false, false
	}
	return onlyRead{}, q.Parsed != nil && strings.HasSuffix(q.Parsed.Method, "/list"), true
}

// talk is a conversation about one request.
type talk struct {
	t *testing.T
	proc.ExternalProcessor_ProcessClient
}

func begin(t *testing.T) talk {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := newServer(denying{}, reading, slog.New(slog.DiscardHandler), questionTime)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	c, err := proc.NewExternalProcessorClient(connect(t, l)).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return talk{t, c}
}

func headersOf(lines ...string) *proc.HttpHeaders {
	h := &core.HeaderMap{}
	for i := 0; i < len(lines); i += 2 {
		h.Headers = append(h.Headers, &core.HeaderValue{Key: lines[i], RawValue: []byte(lines[i+1])})
	}
	return &proc.HttpHeaders{Headers: h}
}

// say sends a message and returns the answer, nil if the stream has ended.
func (c talk) say(r *proc.ProcessingRequest) *proc.ProcessingResponse {
	c.t.Helper()
	if err := c.Send(r); err != nil {
		return nil
	}
	out, err := c.Recv()
	if err != nil {
		return nil
	}
	return out
}

func (c talk) request(method, asks string, more ...string) *proc.ProcessingResponse {
	c.t.Helper()
	r := &proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestHeaders{RequestHeaders: headersOf(append([]string{
		":method", method, ":path", "/mcp?x=1", ":authority", "mcp.example", "authorization", "Bearer good",
	}, more...)...)}}
	if asks != "" {
		r.MetadataContext = parseMetadata(c.t, mcp(`{"is_mcp_request":true,"method":"`+asks+`","status":"mcp_ok"}`))
	}
	return c.say(r)
}

func (c talk) headers(lines ...string) *proc.ProcessingResponse {
	c.t.Helper()
	return c.say(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: headersOf(lines...)}})
}

func (c talk) body(text string, end bool) *proc.ProcessingResponse {
	c.t.Helper()
	return c.say(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseBody{ResponseBody: &proc.HttpBody{Body: []byte(text), EndOfStream: end}}})
}

const (
	twoTools = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"delete"}],"nextCursor":"c"}}`
	oneTool  = `"tools":[{"name":"read"}]`
)

func shown(t *testing.T, r *proc.ProcessingResponse) string {
	t.Helper()
	body := r.GetResponseBody().GetResponse().GetBodyMutation()
	if body == nil {
		t.Fatalf("the body is not replaced: %v", r)
	}
	return string(body.GetBody())
}

func TestListInJSON(t *testing.T) {
	c := begin(t)
	r := c.request("POST", "tools/list")
	if m := r.GetModeOverride(); m.GetResponseHeaderMode() != mode.ProcessingMode_SEND || m.GetResponseBodyMode() != mode.ProcessingMode_BUFFERED {
		t.Errorf("mode %v", m)
	}
	if !slices.Contains(r.GetRequestHeaders().GetResponse().GetHeaderMutation().GetRemoveHeaders(), "accept-encoding") {
		t.Errorf("a compressed answer is asked for: %v", r)
	}
	r = c.headers(":status", "200", "content-type", "application/json", "content-length", "99")
	if m := r.GetModeOverride(); m.GetResponseBodyMode() != mode.ProcessingMode_BUFFERED {
		t.Errorf("the body comes in mode %v", m)
	}
	h := r.GetResponseHeaders().GetResponse().GetHeaderMutation()
	if !slices.Contains(h.GetRemoveHeaders(), "Content-Length") || len(h.GetSetHeaders()) != 1 || string(h.GetSetHeaders()[0].GetHeader().GetRawValue()) != filter.CacheControl {
		t.Errorf("headers %v", h)
	}
	if got := shown(t, c.body(twoTools, true)); !strings.Contains(got, oneTool) || strings.Contains(got, "delete") || !strings.Contains(got, `"nextCursor":"c"`) {
		t.Errorf("%s", got)
	}
}

// The answer of a tool never comes here.
func TestOtherAnswersStayAtEnvoy(t *testing.T) {
	for method, asks := range map[string]string{"POST": "tools/call", "DELETE": ""} {
		c := begin(t)
		r := c.request(method, asks)
		if m := r.GetModeOverride(); m.GetResponseHeaderMode() != mode.ProcessingMode_SKIP || m.GetResponseBodyMode() != mode.ProcessingMode_NONE || r.GetRequestHeaders() == nil {
			t.Errorf("%s %s: %v", method, asks, r)
		}
		if _, err := c.Recv(); err == nil {
			t.Errorf("%s %s: the stream stays open", method, asks)
		}
	}
	c := begin(t)
	c.request("GET", "")
	if m := c.headers(":status", "405").GetModeOverride(); m.GetResponseBodyMode() != mode.ProcessingMode_NONE || m.GetResponseHeaderMode() != mode.ProcessingMode_SKIP {
		t.Errorf("an answer to GET that is no stream: %v", m)
	}
	for name, lines := range map[string][]string{
		"a page of an error": {":status", "503", "content-type", "text/html"},
		"a redirect":         {":status", "307", "location", "/"},
	} {
		c := begin(t)
		c.request("POST", "tools/list")
		if m := c.headers(lines...).GetModeOverride(); m.GetResponseBodyMode() != mode.ProcessingMode_NONE || m.GetResponseHeaderMode() != mode.ProcessingMode_SKIP {
			t.Errorf("%s: %v", name, m)
		}
	}
}

// What is like a list in JSON is filtered as one, whatever status and spelling it has.
func TestListsInOtherWords(t *testing.T) {
	for name, lines := range map[string][]string{
		"accepted":      {":status", "202", "content-type", "application/json"},
		"not encoded":   {":status", "200", "content-type", "application/json", "content-encoding", "Identity"},
		"in capitals":   {":status", "200", "content-type", "Application/JSON ; charset=utf-8"},
		"with an error": {":status", "500", "content-type", "application/json"},
	} {
		c := begin(t)
		c.request("POST", "tools/list")
		if r := c.headers(lines...); r.GetModeOverride().GetResponseBodyMode() != mode.ProcessingMode_BUFFERED {
			t.Errorf("%s: %v", name, r)
			continue
		}
		if got := shown(t, c.body(twoTools, true)); !strings.Contains(got, oneTool) || strings.Contains(got, "delete") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// What comes out of turn ends the stream, and with it what Envoy has of the answer.
func TestOutOfTurn(t *testing.T) {
	for name, say := range map[string]func(c talk) *proc.ProcessingResponse{
		"the request again": func(c talk) *proc.ProcessingResponse {
			c.headers(":status", "200", "content-type", "application/json")
			return c.request("POST", "tools/list")
		},
		"trailers": func(c talk) *proc.ProcessingResponse {
			return c.say(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseTrailers{ResponseTrailers: &proc.HttpTrailers{}}})
		},
		"the body of the request": func(c talk) *proc.ProcessingResponse {
			return c.say(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestBody{RequestBody: &proc.HttpBody{Body: []byte(twoTools)}}})
		},
		"nothing": func(c talk) *proc.ProcessingResponse { return c.say(&proc.ProcessingRequest{}) },
	} {
		c := begin(t)
		c.request("POST", "tools/list")
		if r := say(c); r != nil {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// One event without an end is held up to the size of a message, and no further.
func TestEndlessEvent(t *testing.T) {
	c := begin(t)
	c.request("POST", "tools/list")
	c.headers(":status", "200", "content-type", "text/event-stream")
	part := "data: " + strings.Repeat("x", 1<<20)
	for sent := len(part); ; sent += len(part) {
		r := c.body(part, false)
		if sent <= filter.MaxBytes && r == nil {
			t.Fatalf("the stream has ended after %d bytes, of %d", sent, filter.MaxBytes)
		}
		if sent > filter.MaxBytes {
			if r != nil {
				t.Errorf("%d bytes are held, of %d", sent, filter.MaxBytes)
			}
			return
		}
	}
}

func TestWholeEvents(t *testing.T) {
	for stream, want := range map[string]int{
		"": 0, "data: x": 0, "data: x\n": 0, "data: x\n\n": 9, "data: x\n\ndata: y": 9, "data: x\r\n\r\n": 11, "data: x\r\r": 0, "data: x\r\rd": 9,
		"\n": 1, "\r\n": 2, "\r": 0, "a\n\nb\n\n": 6, "a\r\n\r": 0, "a\n\r\n": 4,
	} {
		if got := wholeEvents([]byte(stream)); got != want {
			t.Errorf("%q: %d, want %d", stream, got, want)
		}
	}
}

// Events are filtered as they come, however they are cut, and none is held longer
// than until its end.
func TestListInEvents(t *testing.T) {
	for _, method := range []string{"POST", "GET"} {
		c := begin(t)
		if method == "POST" {
			c.request(method, "tools/list")
		} else {
			c.request(method, "") // a stream that is taken up again may hold answers
		}
		r := c.headers(":status", "200", "content-type", "text/event-stream; charset=utf-8")
		if m := r.GetModeOverride(); m.GetResponseBodyMode() != mode.ProcessingMode_STREAMED {
			t.Fatalf("%s: mode %v", method, m)
		}
		stream := ": hello\n\nevent: message\r\ndata: " + twoTools + "\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n"
		var got strings.Builder
		for i := range len(stream) {
			got.WriteString(shown(t, c.body(stream[i:i+1], false)))
			if i == len(": hello\n\n")-1 && got.String() != ": hello\n\n" {
				t.Errorf("a whole event is held back: %q", got.String())
			}
		}
		got.WriteString(shown(t, c.body("data: cut", true)))
		for _, once := range []string{": hello", "event: message", oneTool, "notifications/message"} {
			if strings.Count(got.String(), once) != 1 {
				t.Errorf("%s: %s comes %d times in %q", method, once, strings.Count(got.String(), once), got.String())
			}
		}
		if _, err := c.Recv(); err != io.EOF {
			t.Errorf("%s: after the end of the answer %v", method, err)
		}
		if !strings.Contains(got.String(), oneTool) || strings.Contains(got.String(), "delete") || !strings.Contains(got.String(), "notifications/message") || strings.Contains(got.String(), "cut") {
			t.Errorf("%s: %q", method, got.String())
		}
	}
}

// A list that cannot be filtered is not passed on: the client gets a 502 while that is
// possible; later the stream fails, and Envoy cuts the client off.
func TestUnreadableLists(t *testing.T) {
	refused := func(name string, r *proc.ProcessingResponse) {
		t.Helper()
		if i := r.GetImmediateResponse(); i.GetStatus().GetCode() != 502 || strings.Contains(string(i.GetBody()), "delete") {
			t.Errorf("%s: %v", name, r)
		}
	}
	c := begin(t)
	c.request("POST", "tools/list")
	refused("compressed", c.headers(":status", "200", "content-type", "application/json", "content-encoding", "gzip"))
	c = begin(t)
	c.request("POST", "tools/list")
	refused("two media types", c.headers(":status", "200", "content-type", "application/json", "content-type", "text/html"))
	c = begin(t)
	c.request("POST", "tools/list")
	refused("another media type", c.headers(":status", "200", "content-type", "text/plain"))
	for name, body := range map[string]string{
		"no JSON": "delete", "two documents": twoTools + twoTools, "two results": strings.Replace(twoTools, `"id":1`, `"result":{}`, 1),
		"a list in another case": strings.Replace(twoTools, `"tools"`, `"Tools"`, 1), "tools that are no list": `{"jsonrpc":"2.0","id":1,"result":{"tools":{"a":"delete"}}}`,
	} {
		c = begin(t)
		c.request("POST", "tools/list")
		c.headers(":status", "200", "content-type", "application/json")
		refused(name, c.body(body, true))
	}
	c = begin(t)
	c.request("POST", "tools/list")
	c.headers(":status", "200", "content-type", "text/event-stream")
	if r := c.body("data: {\"result\":{\"tools\":[{\"name\":\"delete\"}]}\n\n", false); r != nil {
		t.Errorf("an event that cannot be read: %v", r)
	}
}

// A server of HTTP+SSE acknowledges the request for a list, and no word of that passes.
func TestAcknowledgedList(t *testing.T) {
	c := begin(t)
	c.request("POST", "tools/list")
	r := c.headers(":status", "202", "content-type", "text/plain")
	if !slices.Contains(r.GetResponseHeaders().GetResponse().GetHeaderMutation().GetRemoveHeaders(), "content-type") {
		t.Errorf("headers: %v", r)
	}
	if r := c.body("Accepted: delete", true); shown(t, r) != "" {
		t.Errorf("body: %v", r)
	}
}

// A request that would not be let pass is answered as the decision says, and so is one
// of which Envoy does not say what it asks for.
func TestRequestsThatAreDenied(t *testing.T) {
	for name, talk := range map[string]func(c talk) *proc.ProcessingResponse{
		"no metadata": func(c talk) *proc.ProcessingResponse { return c.request("POST", "") },
		"two tokens": func(c talk) *proc.ProcessingResponse {
			return c.request("POST", "tools/list", "authorization", "Bearer other")
		},
	} {
		if r := talk(begin(t)); r.GetImmediateResponse().GetStatus().GetCode() < 400 {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// A stream that does not begin with the headers of the request says how to set Envoy up.
func TestFirstMessage(t *testing.T) {
	for name, first := range map[string]*proc.ProcessingRequest{
		"nothing at all":  {},
		"the body first":  {Request: &proc.ProcessingRequest_ResponseBody{ResponseBody: &proc.HttpBody{Body: []byte(twoTools), EndOfStream: true}}},
		"an answer first": {Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: headersOf(":status", "200")}},
	} {
		c := begin(t)
		if err := c.Send(first); err != nil {
			t.Fatal(err)
		}
		if r, err := c.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "request_header_mode SEND") {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	if r := begin(t).request("POST", "tools/list", ":authority", "other.example"); r != nil {
		t.Errorf("a request to two hosts: %v", r)
	}
}

// A stream without a first message ends; one that waits for the server does not.
func TestTimeOfProcessing(t *testing.T) {
	l := bufconn.Listen(1 << 20)
	s := newServer(denying{}, reading, slog.New(slog.DiscardHandler), 50*time.Millisecond)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	client := proc.NewExternalProcessorClient(connect(t, l))
	silent, err := client.Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slow, err := client.Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := talk{t, slow}
	c.request("POST", "tools/list")
	if _, err := silent.Recv(); err == nil {
		t.Error("a silent stream gets an answer")
	} // meanwhile the other has waited as long
	c.headers(":status", "200", "content-type", "application/json")
	if got := shown(t, c.body(twoTools, true)); !strings.Contains(got, oneTool) {
		t.Errorf("%s", got)
	}
}

// What has come whole stays whole, whatever follows.
func FuzzWholeEvents(f *testing.F) {
	for _, seed := range []string{"data: x\n\n", "\r\r", "a\r\n\r\nb", "\n", "a\n\r"} {
		f.Add(seed, "data: y\n\n")
	}
	f.Fuzz(func(t *testing.T, came, follows string) {
		n := wholeEvents([]byte(came))
		if n < 0 || n > len(came) || n > 0 && came[n-1] != '\n' && came[n-1] != '\r' {
			t.Fatalf("%q: %d", came, n)
		}
		if later := wholeEvents([]byte(came + follows)); later < n {
			t.Errorf("%q is whole for %d bytes, and with %q behind it for %d", came, n, follows, later)
		}
	})
}
