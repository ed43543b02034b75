package oidc

import (
	"errors"
	"regexp"
	"strings"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
)

// tenantID stands in an issuer for the id of the tenant that issues.
const tenantID = "{tenantid}"

var guid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (c *Connector) manyTenants() bool { return strings.Contains(c.options.Issuer, tenantID) }

// issuerFits reports whether issuer is ours, or that of one of our tenants.
func (c *Connector) issuerFits(issuer string) bool {
	before, after, many := strings.Cut(c.options.Issuer, tenantID)
	if !many {
		return issuer == c.options.Issuer
	}
	rest, ok1 := strings.CutPrefix(issuer, before)
	id, ok2 := strings.CutSuffix(rest, after)
	return ok1 && ok2 && guid.MatchString(id)
}

// checkIssuer holds iss to the tenant that the token names, and the key to iss:
// without both, any tenant could issue for any other.
// https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer
func (c *Connector) checkIssuer(idToken *gooidc.IDToken, claims Claims, keyIssuer string) error {
	tenant := claims.String("tid")
	if c.manyTenants() {
		if !guid.MatchString(tenant) {
			return errors.New("tid is not a tenant id")
		}
		if idToken.Issuer != strings.Replace(c.options.Issuer, tenantID, tenant, 1) {
			return errors.New("iss is not that of the tenant")
		}
	}
	if c.options.KeyIssuer && keyIssuer != "" && idToken.Issuer != strings.Replace(keyIssuer, tenantID, tenant, 1) {
		return errors.New("the key is that of another issuer")
	}
	return nil
}
