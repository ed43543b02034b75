// Package kubernetes is the kind of assertion that a Kubernetes API server signs:
// the token of a ServiceAccount, projected into a pod with this service for its
// audience. Kubernetes renews it in place and pods show it again and again, so it is
// not used up; no access token outlives it.
package kubernetes

import (
	"errors"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
)

// Name is the value of the key kind.
const Name = "kubernetes"

// Kind is the kind of assertion.
type Kind struct{}

// Name implements assertion.Kind.
func (Kind) Name() string { return Name }

// Types implements assertion.Kind: the API server sends none.
func (Kind) Types() []string { return []string{"", "jwt"} }

// Defaults implements assertion.Kind.
func (Kind) Defaults() assertion.Defaults { return assertion.Defaults{MaxLifetime: 48 * time.Hour} }

// NeedsClient implements assertion.Kind.
func (Kind) NeedsClient() bool { return false }

// Check implements assertion.Kind.
func (Kind) Check(c assertion.Checked) {
	c.Only("workload", "reusable", c.Reusable)
	c.Only("workload", "trustDomains", len(c.TrustDomains) > 0)
	c.Only("id-jag", "tenants", len(c.Tenants) > 0)
	c.Only("id-jag", "publicClients", c.PublicClients)
	c.Only("id-jag", "email", c.Email)
	for i, r := range c.Rules {
		at := c.Element("rules", i)
		at.Only("workload", "roles", len(r.Roles) > 0)
		at.Only("workload", "contexts", len(r.Contexts) > 0)
	}
}

// Account returns the namespace and the name of the ServiceAccount that a sub stands
// for; ok is false for any other subject.
func Account(sub string) (namespace, name string, ok bool) {
	rest, found := strings.CutPrefix(sub, "system:serviceaccount:")
	namespace, name, two := strings.Cut(rest, ":")
	return namespace, name, found && two && namespace != "" && name != "" && !strings.Contains(name, ":")
}

// Groups are those that Kubernetes itself has an account in.
func Groups(namespace string) []string {
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace}
}

// Read implements assertion.Kind.
func (Kind) Read(t *assertion.Token) error {
	if err := t.ForUs(true); err != nil {
		return err
	}
	namespace, name, ok := Account(t.Claims.String("sub"))
	if !ok {
		return errors.New("sub is not that of a ServiceAccount")
	}
	for pointer, want := range map[string]string{"/kubernetes.io/namespace": namespace, "/kubernetes.io/serviceaccount/name": name} {
		if got := t.Claims.String(pointer); got != want {
			return errors.New("the claim kubernetes.io is missing or names another account than sub")
		}
	}
	if t.Claims.Has("act") {
		return errors.New("it has the claim act, and a ServiceAccount acts for itself")
	}
	id, err := t.Subject()
	if err != nil {
		return err
	}
	id.Name, id.Groups = namespace+"/"+name, Groups(namespace)
	t.Person, t.Namespace, t.ServiceAccount = id, namespace, name
	return nil
}
