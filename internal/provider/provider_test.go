package provider

import (
	"context"
	"errors"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// accounts is a provider of our own that knows everybody, under one namespace.
type accounts string

func (a accounts) Authenticate(_ context.Context, username, _ string) (connector.Identity, error) {
	return connector.Identity{Namespace: string(a), Subject: username}, nil
}

func (a accounts) Recheck(_ context.Context, id connector.Identity, _ connector.Session) (connector.Identity, connector.Session, error) {
	return connector.Identity{Namespace: string(a), Subject: id.Subject}, connector.Session{}, nil
}

func TestWhosePeople(t *testing.T) {
	one := New(connector.Config{}, nil, accounts("static"))
	corp := New(connector.Config{ID: "corp"}, nil, accounts("static"))
	kept := New(connector.Config{ID: "kept", KeepSubjects: true}, nil, accounts("static"))
	moved := New(connector.Config{ID: "corp"}, nil, accounts("elsewhere"))
	corpKept := New(connector.Config{ID: "corp", KeepSubjects: true}, nil, accounts("static"))
	jane := func(p *Provider) connector.Identity {
		id, err := p.Authenticate(t.Context(), "jane", "")
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for _, tt := range []struct {
		name        string
		then, today *Provider
		same        bool
	}{
		{"the one provider", one, one, true},
		{"one of several", corp, corp, true},
		{"the one of then among several", one, kept, true},
		{"another provider's", kept, corp, false},
		{"one that was the only one, without keepSubjects", one, corp, false},
		{"keepSubjects since then", corp, corpKept, false},
		{"keepSubjects no more", corpKept, corp, false},
		{"another issuer since then", corp, moved, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			was := jane(tt.then)
			now, _, err := tt.today.Recheck(t.Context(), was, connector.Session{})
			if tt.same && (err != nil || now.Namespace != was.Namespace || now.Subject != was.Subject || now.Provider != tt.today.ID) {
				t.Errorf("%+v became %+v, %v", was, now, err)
			}
			if !tt.same && (!errors.Is(err, connector.ErrSessionOver) || now.Subject != "") {
				t.Errorf("%+v became %+v, %v", was, now, err)
			}
		})
	}
	if a, b := jane(corp), jane(kept); a.Namespace == b.Namespace {
		t.Errorf("two people are one: %q", a.Namespace)
	}
}

func TestFind(t *testing.T) {
	a, kept := New(connector.Config{ID: "a"}, nil, accounts("x")), New(connector.Config{ID: "kept", KeepSubjects: true}, nil, accounts("y"))
	for id, want := range map[string]*Provider{"a": a, "kept": kept, "": kept, "b": nil} {
		if got := (Set{a, kept}).Find(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
	if got := (Set{a}).Find(""); got != nil {
		t.Errorf("what names no provider is of %q", got.ID)
	}
}
