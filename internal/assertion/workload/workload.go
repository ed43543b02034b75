// Package workload is the kind of assertion that a platform signs about one of its
// workloads: workload identity federation (SEP-1933 of MCP), the Workload
// Authorization Grant (draft-carleton-workload-authz-grant) and SPIFFE JWT-SVIDs. A
// subject of a registered issuer needs no registration of its own: the rules go by
// what the issuer says of it.
package workload

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
)

// Name is the value of the key kind.
const Name = "workload"

// Kind is the kind of assertion.
type Kind struct{}

// Name implements assertion.Kind.
func (Kind) Name() string { return Name }

// Types implements assertion.Kind. JWT-SVIDs have JOSE or JWT.
func (Kind) Types() []string { return []string{"", "jwt", "jose"} }

// Defaults implements assertion.Kind.
func (Kind) Defaults() assertion.Defaults {
	return assertion.Defaults{SingleUse: true, MaxLifetime: time.Hour}
}

// NeedsClient implements assertion.Kind.
func (Kind) NeedsClient() bool { return false }

// Check implements assertion.Kind.
func (Kind) Check(c assertion.Checked) {
	c.Only("id-jag", "tenants", len(c.Tenants) > 0)
	c.Only("id-jag", "publicClients", c.PublicClients)
	c.Only("id-jag", "email", c.Email)
	for i, r := range c.Rules {
		c.Element("rules", i).Only("kubernetes", "serviceAccounts", len(r.ServiceAccounts) > 0)
	}
}

const (
	maxRoles   = 200
	maxContext = 256 // bytes
)

// Read implements assertion.Kind.
func (Kind) Read(t *assertion.Token) error {
	if err := t.ForUs(true); err != nil {
		return err
	}
	if t.Claims.Has("act") {
		return errors.New("it has the claim act, and a workload acts for itself here")
	}
	id, err := t.Subject()
	if err != nil {
		return err
	}
	if err := authority(t, id.Subject); err != nil {
		return err
	}
	claim.Fill(context.Background(), &id, t.Claims, claim.Names{Name: "name", Groups: "groups", Verified: func(string, claim.Set) bool { return false }})
	roles, problem := t.Claims.Groups("roles")
	if problem != "" || id.Unknown.Groups {
		return errors.New("groups or roles cannot be read in full")
	}
	t.Roles, problem = claim.Groups(roles, nil)
	if problem != "" || len(t.Roles) > maxRoles {
		return errors.New("roles cannot be read in full")
	}
	ctx, problem := t.Claims.Text("ctx")
	namespace, wrong := t.Claims.Text("namespace")
	if problem != "" || wrong != "" || len(ctx) > maxContext {
		return errors.New("ctx or namespace is not a short text")
	}
	t.Person, t.Context, t.Namespace = id, claim.Name(ctx), namespace
	return nil
}

// authority: the host in a subject that is a URI is the issuer's, or one that the
// entry names (draft-carleton-workload-authz-grant, section 3.2).
func authority(t *assertion.Token, sub string) error {
	u, err := url.Parse(sub)
	if err != nil || u.Scheme != "wimse" && u.Scheme != "spiffe" {
		return nil
	}
	if u.Host != t.Config.Host() && !slices.Contains(t.Config.TrustDomains, u.Host) {
		return fmt.Errorf("sub names the trust domain %.100q, which is not the issuer's", u.Host)
	}
	return nil
}
