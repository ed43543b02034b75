package envoy_test

import (
	"net/http"
	"slices"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// naming is a decider that looks up these headers too.
type naming struct {
	*decider
	names []string
}

func (n naming) Others() []string { return n.names }

// A header that a decision names is seen line by line, and no other is.
func TestOtherHeaders(t *testing.T) {
	d := &decider{answer: forwardauth.Decision{Status: http.StatusForbidden}}
	for _, tt := range []struct {
		name  string
		names []string
		asked *auth.AttributeContext_HttpRequest
		want  []string
	}{
		{"joined", []string{"X-Api-Key"}, &auth.AttributeContext_HttpRequest{Headers: map[string]string{"x-api-key": "a,b", "api-key": "c"}}, []string{"a,b"}},
		{"lines", []string{"X-Api-Key"}, &auth.AttributeContext_HttpRequest{HeaderMap: &core.HeaderMap{Headers: []*core.HeaderValue{
			{Key: "x-api-key", RawValue: []byte("a")}, {Key: "X-API-Key", Value: "b"}, {Key: "api-key", Value: "c"},
		}}}, []string{"a", "b"}},
		{"not named", nil, &auth.AttributeContext_HttpRequest{Headers: map[string]string{"x-api-key": "a"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := auth.NewAuthorizationClient(dial(t, naming{d, tt.names}))
			if _, err := client.Check(t.Context(), question(tt.asked)); err != nil {
				t.Fatal(err)
			}
			if got := d.asked.Other["X-Api-Key"]; !slices.Equal(got, tt.want) || len(d.asked.Other) != min(1, len(tt.want)) {
				t.Errorf("%q of %v", got, d.asked.Other)
			}
			if (d.asked.Peer != "") != (len(tt.want) > 0) {
				t.Errorf("peer %q", d.asked.Peer)
			}
		})
	}
}
