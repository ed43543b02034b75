package providertoken

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// oneValue is a guard whose store has the same value for every sign-in.
type oneValue struct {
	guard.Guard
	value string
}

func (g oneValue) Change(_ context.Context, _ string, edit guard.Edit) error {
	_, _, err := edit(g.value, time.Now())
	return err
}

// A record of the guard is of one sign-in, whatever its store does, and a handle is of the
// issuer that made it.
func TestSealedForOne(t *testing.T) {
	keys, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	h := New(keys, 10, &Held{Now: time.Now})
	r := record{SignIn: SignIn{Family: "jane", Until: time.Now().Add(time.Hour)}, Token: Token{Value: "jane's"}}
	stored, _, err := h.sealed(r)
	if err != nil {
		t.Fatal(err)
	}
	h.Guard = oneValue{value: stored}
	always := func(*state, time.Time) bool { return true }
	for family, want := range map[string]error{"jane": nil, "joe": seal.ErrInvalid} {
		if got, _, err := h.take(t.Context(), family, always); !errors.Is(err, want) || (got.Token.Value == "jane's") != (want == nil) {
			t.Errorf("the record of jane, read for %s: %q, %v", family, got.Token.Value, err)
		}
	}
	issuer := "https://mcp.example.com"
	raw, err := h.handle(&resource.Resource{URI: issuer + "/mcp", Host: &resource.Host{Issuer: issuer}}, "jane", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]error{issuer: nil, "https://other.example.com": seal.ErrInvalid} {
		if family, _, err := h.Handle(from, raw); !errors.Is(err, want) || (family == "jane") != (want == nil) {
			t.Errorf("a handle of %s, at %s: %q, %v", issuer, from, family, err)
		}
	}
}
