package grant

import (
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// clientCredentials is the client_credentials grant (RFC 6749, section 4.4). It is for
// clients of the configuration that have credentials, scopes and resources there. A
// client that registered itself could have any name.
func (e *Endpoint) clientCredentials(c *call) (*Response, error) {
	if !c.client.PreRegistered || c.client.AuthMethod == registration.AuthNone {
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "this client may not use the grant %s", clientCredentialsType)
	}
	return e.serveMachine(c, machine{
		who: policy.Outsider{
			Person: connector.Identity{Provider: rule.ClientNamespace, Namespace: rule.ClientNamespace, Subject: c.client.ID},
			Client: policyClient(c), ClientID: c.client.ID,
		},
		client: c.client.ID,
		may: func(r *resource.Resource) oauth.Scopes {
			if len(c.client.Resources) == 0 || !c.client.MayReach(r.URI) {
				return nil
			}
			return c.client.Scopes
		},
	})
}

// clientCredentialsType is the value of grant_type.
const clientCredentialsType = "client_credentials"
