// Package microsoft signs people in with Microsoft Entra ID. Its invariants: a
// person is tid and oid, never an address or a login name, which a tenant's
// administrator writes as they like; a token counts only if its issuer, its key
// and its tenant agree; and where several tenants are admitted, no tenant can
// name a group of another.
package microsoft

import (
	"cmp"
	"net/http"
	"regexp"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

const (
	// Namespace is that of every identity, in the clouds of single countries
	// with "@" and the host behind it.
	Namespace = "microsoft"
	// ConsumerTenant is the one of all personal accounts.
	// https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference
	ConsumerTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

	defaultCloud = "https://login.microsoftonline.com"
)

// Connector implements connector.Connector and connector.Rechecker.
type Connector struct{ *oidc.Connector }

// New returns a connector. A nil client means the default transport; see
// upstream.NewClient.
func New(s *Settings, client *http.Client) Connector {
	cloud := cmp.Or(s.BaseURL, defaultCloud)
	g := groups{graph: clouds[cloud], manyTenants: len(s.Tenants) != 1}
	o := oidc.OptionsOf(s.KeyedApp, client)
	if len(o.Scopes) == 0 {
		o.Scopes = defaultScopes
	}
	o.KeyIssuer, o.OfflineScope, o.Namespace, o.ExtraAuthParams = true, true, s.Namespace(), s.Params
	o.Subject, o.TrustEmail, o.Groups = subject, verified, g.of
	o.Admit = func(claims oidc.Claims) error { return admit(s.Tenants, claims) }
	if s.InsecureTrustUnverifiedEmail {
		o.TrustEmail = func(string, oidc.Claims) bool { return true }
	}
	o.Issuer = cloud + "/" + authority(s.Tenants) + "/v2.0"
	if len(s.Tenants) != 1 {
		o.Issuer, o.Discovery = cloud+"/{tenantid}/v2.0", o.Issuer
	}
	return Connector{oidc.New(o)}
}

// authority is the narrowest one that knows all tenants; empty stands for any.
// https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols-oidc#find-your-apps-openid-configuration-document-uri
func authority(tenants []string) string {
	switch {
	case len(tenants) == 1:
		return tenants[0]
	case len(tenants) == 0, slices.Contains(tenants, ConsumerTenant):
		return "common"
	}
	return "organizations"
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// subject is what Microsoft says to key data by: oid is unique in its tenant, and
// sub, which differs from application to application, would not survive a new
// registration of this service.
// https://learn.microsoft.com/en-us/entra/identity-platform/claims-validation#validate-the-subject
func subject(claims oidc.Claims) (string, error) {
	tenant, object := claims.String("tid"), claims.String("oid")
	if !guid.MatchString(tenant) || !guid.MatchString(object) {
		return "", upstream.Rejected("ID token without tid and oid", nil)
	}
	return tenant + "/" + object, nil
}

func admit(tenants []string, claims oidc.Claims) error {
	tenant := claims.String("tid")
	if len(tenants) > 0 && !slices.Contains(tenants, tenant) {
		return upstream.NotAllowed("tenant " + upstream.Clip(tenant) + " is not admitted")
	}
	return nil
}

// verified: the claim email alone is what an administrator wrote. The optional
// claim xms_edov says that its domain belongs to the tenant, or that the person
// has proved to own the address; documented as a boolean, it was seen as a number
// and as text.
// https://learn.microsoft.com/en-us/entra/identity-platform/optional-claims-reference
func verified(_ string, claims oidc.Claims) bool {
	return claims.IsTrue("xms_edov") || slices.Contains([]string{"1", `"1"`}, string(claims["xms_edov"]))
}
