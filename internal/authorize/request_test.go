package authorize

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
)

func TestOffer(t *testing.T) {
	declares := &catalog.Catalogue{Declared: true, Scopes: []catalog.Scope{{Name: "read"}, {Name: "write"}, {Name: "admin"}}}
	silent := &catalog.Catalogue{Scopes: []catalog.Scope{{Name: catalog.DefaultScope}}}
	tests := []struct {
		name            string
		asked, defaults oauth.Scopes
		catalogue       *catalog.Catalogue
		want, client    oauth.Scopes
	}{
		{"AS-AUTHZ-20 nothing asked: everything", nil, nil, declares, oauth.Scopes{"read", "write", "admin"}, nil},
		{"AS-AUTHZ-20 nothing asked: the operator's default", nil, oauth.Scopes{"read"}, declares, oauth.Scopes{"read"}, nil},
		{"AS-AUTHZ-20 unknown scopes are dropped", oauth.Scopes{"write", "foreign"}, nil, declares, oauth.Scopes{"write"}, nil},
		{"AS-AUTHZ-20 nothing known remains: the default", oauth.Scopes{"openid", "email", "profile"}, oauth.Scopes{"read"}, declares, oauth.Scopes{"read"}, nil},
		{"AS-AUTHZ-20 nothing known remains: everything", oauth.Scopes{"foreign"}, nil, declares, oauth.Scopes{"read", "write", "admin"}, nil},
		{"nothing that the client may have remains", oauth.Scopes{"admin"}, oauth.Scopes{"read"}, declares, oauth.Scopes{"read"}, oauth.Scopes{"read", "write"}},
		{"the default is not for the client", nil, oauth.Scopes{"read"}, declares, oauth.Scopes{"write"}, oauth.Scopes{"write"}},
		{"nothing is for the client", nil, nil, declares, nil, oauth.Scopes{"other"}},
		{"a default that the server does not have any more", nil, oauth.Scopes{"gone"}, declares, oauth.Scopes{"read", "write", "admin"}, nil},
		{"server declares nothing", oauth.Scopes{catalog.DefaultScope}, nil, silent, oauth.Scopes{catalog.DefaultScope}, nil},
		{"AS-CONS-16 server down", nil, nil, catalog.Baseline(), oauth.Scopes{catalog.DefaultScope}, nil},
		{"AS-CONS-16 server down, scopes known from before", oauth.Scopes{"read"}, nil, catalog.Baseline(), oauth.Scopes{catalog.DefaultScope}, nil},
		{"AS-CONS-16 server down, default configured", nil, oauth.Scopes{"read"}, catalog.Baseline(), oauth.Scopes{"read"}, nil},
		{"AS-CONS-16 server down, default configured and asked for", oauth.Scopes{"read", "admin"}, oauth.Scopes{"read"}, catalog.Baseline(), oauth.Scopes{"read"}, nil},
		// A client that connected while the server was down used to be refused for
		// ever, because it asked for the stand-in that it had been told then.
		{"stand-in asked for after the server came up", oauth.Scopes{catalog.DefaultScope}, nil, declares, oauth.Scopes{"read", "write", "admin"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := offer(tt.asked, tt.defaults, &registration.Client{Scopes: tt.client}, tt.catalogue); !slices.Equal(got, tt.want) {
				t.Errorf("offered %q, want %q", got, tt.want)
			}
		})
	}
}

// What the provider says wrong is not the person's fault: it used to read
// access_denied, which sent people looking for a permission they had.
func TestLoginError(t *testing.T) {
	for err, want := range map[error][2]string{
		connector.ErrCancelled:   {"access_denied", "provider_cancelled"},
		connector.ErrNotAllowed:  {"access_denied", "account_not_allowed"},
		connector.ErrRejected:    {"server_error", "provider_rejected"},
		connector.ErrUnavailable: {"temporarily_unavailable", "provider_unavailable"},
		errors.New("else"):       {"server_error", "provider_fault"},
	} {
		got := loginError(fmt.Errorf("%w: upstream words", err))
		if [2]string{string(got.Code), string(got.Reason)} != want || strings.Contains(got.Description, "upstream") {
			t.Errorf("AS-FED-07 %v: %s %s %q", err, got.Code, got.Reason, got.Description)
		}
	}
}
