// Package idjag is the kind of assertion by which an enterprise's identity provider
// lets a client act for a person at this service without a page: the identity
// assertion authorization grant (draft-ietf-oauth-identity-assertion-authz-grant), as
// MCP's enterprise-managed authorization profiles it. The person is the one who signs
// in at the same provider.
package idjag

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

const (
	// Name is the value of the key kind.
	Name = "id-jag"
	// Profile is what metadata names it by.
	Profile = "urn:ietf:params:oauth:grant-profile:id-jag"

	maxResources = 20
)

// Kind is the kind of assertion.
type Kind struct{}

// Name implements assertion.Kind.
func (Kind) Name() string { return Name }

// Types implements assertion.Kind.
func (Kind) Types() []string {
	return []string{"oauth-id-jag+jwt", "application/oauth-id-jag+jwt"}
}

// Defaults implements assertion.Kind.
func (Kind) Defaults() assertion.Defaults {
	return assertion.Defaults{SingleUse: true, MaxLifetime: 10 * time.Minute}
}

// NeedsClient implements assertion.Kind.
func (Kind) NeedsClient() bool { return true }

// Check implements assertion.Kind.
func (Kind) Check(c assertion.Checked) {
	c.Only("workload", "reusable", c.Reusable)
	c.Only("workload", "trustDomains", len(c.TrustDomains) > 0)
	if strings.HasPrefix(c.Issuer, "spiffe://") {
		c.Add(c.Key("issuer"), "%s is a trust domain of workloads; an identity provider has an https URL", conf.Show(c.Issuer))
	}
	for i, tenant := range c.Tenants {
		if tenant == "" || conf.HasOther(tenant, conf.Letters+"0123456789-._") {
			c.Add(conf.Element(c.Key("tenants"), i), "%s is not a tenant: letters, digits, '-', '.' and '_'", conf.Show(tenant))
		}
	}
	for i, r := range c.Rules {
		at := c.Element("rules", i)
		at.Only("kubernetes", "serviceAccounts", len(r.ServiceAccounts) > 0)
		at.Only("workload", "namespaces", len(r.Namespaces) > 0)
		at.Only("workload", "roles", len(r.Roles) > 0)
		at.Only("workload", "contexts", len(r.Contexts) > 0)
	}
}

// Read implements assertion.Kind.
func (Kind) Read(t *assertion.Token) error {
	if audiences, ok := t.Texts("aud"); !ok || len(audiences) != 1 {
		return errors.New("aud is not one value")
	}
	for _, check := range []func(*assertion.Token) error{func(t *assertion.Token) error { return t.ForUs(false) }, client, person, resources, scopes, acting} {
		if err := check(t); err != nil {
			return err
		}
	}
	return nil
}

// client: the provider made the assertion for one client of this service.
func client(t *assertion.Token) error {
	if id, problem := t.Claims.Text("client_id"); problem != "" || id == "" || id != t.Client {
		return errors.New("client_id is missing or is not the client that shows the assertion")
	}
	return nil
}

// person is who the provider says it is about. One of an issuer of several tenants is
// another for each of them.
func person(t *assertion.Token) error {
	id, err := t.Subject()
	if err != nil {
		return err
	}
	for _, name := range []string{"tenant", "aud_tenant"} {
		if _, problem := t.Claims.Text(name); problem != "" {
			return fmt.Errorf("%s cannot be read", name)
		}
	}
	if t.Claims.Has("aud_tenant") {
		return errors.New("it has the claim aud_tenant, and this service has no tenants")
	}
	switch tenant := t.Claims.String("tenant"); {
	case len(t.Config.Tenants) == 0 && tenant != "":
		return errors.New("it has the claim tenant, and the entry names no tenants")
	case len(t.Config.Tenants) > 0 && !slices.Contains(t.Config.Tenants, tenant):
		return errors.New("its tenant is not one that the entry names")
	case tenant != "":
		id.Subject = tenant + ":" + id.Subject
	}
	names := claim.Names{Name: "name", Groups: "groups", Verified: func(string, claim.Set) bool { return true }}
	if t.Config.Email {
		names.Email = "email"
	}
	claim.Fill(context.Background(), &id, t.Claims, names)
	t.Person = id
	return nil
}

// resources are those that the assertion is for: of several the rules must leave one.
func resources(t *assertion.Token) error {
	if !t.Claims.Has("resource") {
		return nil
	}
	named, ok := t.Texts("resource")
	if !ok || len(named) == 0 || len(named) > maxResources {
		return errors.New("resource cannot be read")
	}
	t.Named = named
	return nil
}

func scopes(t *assertion.Token) error {
	if !t.Claims.Has("scope") {
		return nil
	}
	text, problem := t.Claims.Text("scope")
	if problem != "" {
		return errors.New("scope is not text")
	}
	list, err := oauth.ParseScopes(text)
	if err != nil {
		return errors.New("scope is malformed")
	}
	t.Scopes = append(oauth.Scopes{}, list...)
	return nil
}

// acting reads who acts for the person, where the provider says so.
func acting(t *assertion.Token) (err error) {
	if t.Claims.Has("act") {
		t.Actor, err = actor.Parse(t.Claims["act"], t.Config.Issuer)
	}
	return err
}
