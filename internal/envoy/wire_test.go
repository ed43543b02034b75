package envoy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// ask is a question as Envoy's generated types encode it.
func ask(tb testing.TB, r *auth.AttributeContext_HttpRequest) []byte {
	tb.Helper()
	b, err := proto.Marshal(&auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source:  &auth.AttributeContext_Peer{Principal: "spiffe://cluster/gateway"},
		Request: &auth.AttributeContext_Request{Http: r}, ContextExtensions: map[string]string{"route": "mcp"},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// reference reads a question with the generated types.
func reference(in *auth.CheckRequest) (forwardauth.Headers, [4]string, bool) {
	r := in.GetAttributes().GetRequest().GetHttp()
	var h forwardauth.Headers
	fields := map[string]*[]string{
		"authorization": &h.Authorization, "origin": &h.Origin, "access-control-request-method": &h.PreflightMethod,
		"mcp-protocol-version": &h.ProtocolVersion, "mcp-method": &h.MCPMethod, "mcp-name": &h.MCPName,
		"content-type": &h.ContentType, "content-encoding": &h.ContentEncoding,
	}
	if lines := r.GetHeaderMap().GetHeaders(); len(lines) > 0 {
		for _, l := range lines {
			value := l.GetValue()
			if len(l.GetRawValue()) > 0 {
				value = string(l.GetRawValue())
			}
			if into := fields[strings.ToLower(l.GetKey())]; into != nil {
				*into = append(*into, value)
			}
		}
	} else {
		for name, into := range fields {
			if value, ok := r.GetHeaders()[name]; ok {
				*into = []string{value}
			}
		}
	}
	path, _, _ := strings.Cut(r.GetPath(), "?")
	body := string(r.GetRawBody())
	if body == "" {
		body = r.GetBody()
	}
	return h, [4]string{r.GetMethod(), r.GetHost(), path, body}, r == nil || !strings.HasPrefix(path, "/")
}

// What the generated types can read is read the same.
func FuzzQuestion(f *testing.F) {
	f.Add(ask(f, &auth.AttributeContext_HttpRequest{
		Method: "POST", Host: "h", Path: "/mcp?x", Scheme: "https", Size: 3, Body: "abc",
		Headers: map[string]string{"authorization": "Bearer t", "mcp-method": "tools/call", "x-envoy-auth-partial-body": "true", "other": "x"},
	}))
	f.Add(ask(f, &auth.AttributeContext_HttpRequest{Path: "/mcp", RawBody: []byte("\xff"), HeaderMap: &core.HeaderMap{Headers: []*core.HeaderValue{
		{Key: "Authorization", Value: "Bearer a"}, {Key: "authorization", RawValue: []byte("Bearer \xff")}, {Key: "origin", Value: "x"},
	}}}))
	// The last of two strings counts, two messages become one.
	f.Add(append(ask(f, &auth.AttributeContext_HttpRequest{Path: "/one", Host: "h"}), ask(f, &auth.AttributeContext_HttpRequest{Path: "/two"})...))
	f.Add(ask(f, nil))
	f.Add([]byte{0x0b, 0x0c})
	f.Fuzz(func(t *testing.T, b []byte) {
		var q question
		err := q.read(b)
		var in auth.CheckRequest
		if proto.Unmarshal(b, &in) != nil {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		got := q.request()
		headers, said, ambiguous := reference(&in)
		var body []byte
		if got.Body != nil {
			body, _ = io.ReadAll(got.Body)
		}
		if !reflect.DeepEqual(got.Headers, headers) || [4]string{got.Method, got.Host, got.Path, string(body)} != said || got.Ambiguous != ambiguous {
			t.Fatalf("read %+v, body %q; want %+v %q %v", got, body, headers, said, ambiguous)
		}
	})
}

func TestQuestionIsRefused(t *testing.T) {
	good := ask(t, &auth.AttributeContext_HttpRequest{Path: "/mcp", Host: "h"})
	bad := bytes.Replace(good, []byte("/mcp"), []byte("/m\xffp"), 1)
	for name, b := range map[string][]byte{"cut": good[:len(good)-1], "not UTF-8": bad, "no message": {0xff}} {
		if err := new(question).read(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// option is a header as the generated types say it.
func option(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, Value: value}, AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD}
}

// Answers are what the generated types would write, at every length that makes
// a length one byte longer.
func TestAnswerIsWhatTheGeneratedTypesSay(t *testing.T) {
	for _, n := range []int{0, 1, 100, 127, 128, 16383, 16384, 70000} {
		long := strings.Repeat("v", n)
		subject := long[:min(n, 60_000)]
		lines := forwardauth.Lines{Names: []string{"A", "B"}, Values: []string{long, "b"}}
		token := forwardauth.NewToken(&forwardauth.Grant{Scope: "a b"}, 1_800_000_000, revocation.Facts{Subject: subject, Client: "c\xff", TokenID: "j"}, nil)
		metadata, err := structpb.NewStruct(map[string]any{"sub": subject, "client_id": "c\uFFFD", "jti": "j", "scope": "a b", "exp": 1_800_000_000})
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			decision forwardauth.Decision
			want     *auth.CheckResponse
		}{
			{forwardauth.Decision{Status: 200, Headers: lines, Remove: []string{"a_b", "c"}, Client: lines, Token: token}, &auth.CheckResponse{
				Status: &rpcstatus.Status{}, DynamicMetadata: metadata,
				HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{
					Headers: []*core.HeaderValueOption{option("A", long), option("B", "b")}, HeadersToRemove: []string{"a_b", "c"},
					ResponseHeadersToAdd: []*core.HeaderValueOption{option("A", long), option("B", "b")},
				}},
			}},
			{forwardauth.Decision{Status: 200}, &auth.CheckResponse{
				Status: &rpcstatus.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}},
			}},
			{forwardauth.Decision{Status: 401, Headers: lines, Body: long}, &auth.CheckResponse{
				Status: &rpcstatus.Status{Code: 16},
				HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
					Status: &envoytype.HttpStatus{Code: 401}, Headers: []*core.HeaderValueOption{option("A", long), option("B", "b"), option("Cache-Control", "no-store")}, Body: long,
				}},
			}},
		} {
			var got auth.CheckResponse
			if err := proto.Unmarshal(respond(&tt.decision), &got); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(&got, tt.want) {
				t.Errorf("length %d: %v\nwant %v", n, &got, tt.want)
			}
		}
	}
}

// yes decides in no time.
type yes forwardauth.Decision

func (y *yes) Decide(context.Context, *forwardauth.Request) forwardauth.Decision {
	return forwardauth.Decision(*y)
}

// exchange is all that a check costs beside grpc-go and the decision.
func exchange(tb testing.TB) func() {
	c := codec{encoding.GetCodecV2("proto")}
	s := &service{decisions: &yes{Status: http.StatusOK}, log: slog.New(slog.DiscardHandler)}
	in := mem.BufferSlice{mem.SliceBuffer(ask(tb, &auth.AttributeContext_HttpRequest{
		Method: "POST", Host: "mcp.example.com", Path: "/mcp", Scheme: "https", Headers: map[string]string{
			":authority": "mcp.example.com", ":method": "POST", ":path": "/mcp", ":scheme": "https", "authorization": "Bearer " + strings.Repeat("t", 1400),
			"content-type": "application/json", "accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list",
		},
	}))}
	return func() {
		q := new(question)
		if err := c.Unmarshal(in, q); err != nil {
			tb.Fatal(err)
		}
		out, err := s.check(tb.Context(), q)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := c.Marshal(out); err != nil {
			tb.Fatal(err)
		}
	}
}

// The strings that are kept, the question, the answer and its envelope.
func TestAllocations(t *testing.T) {
	const ceiling = 12
	if n := testing.AllocsPerRun(200, exchange(t)); n > ceiling {
		t.Errorf("reading and answering allocates %v times, more than %d", n, ceiling)
	}
}

func BenchmarkExchange(b *testing.B) {
	f := exchange(b)
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}
