package apikey

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Kind verifies keys. It implements credential.Kind.
type Kind struct {
	Keys *Store
	Now  func() time.Time
}

// Recognises reports whether raw begins as every key does, so that a key is
// refused as a key wherever it is sent.
func (Kind) Recognises(raw string, _ *resource.Resource) bool { return strings.HasPrefix(raw, Prefix) }

// Verify returns the principal of a key for r.
func (k Kind) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	if !r.APIKeys {
		return credential.Principal{}, notHere(r)
	}
	if !wellFormed(raw) {
		return credential.Principal{}, credential.Refused{Reason: reasons.APIKeyMalformed}
	}
	found := k.Keys.find(raw)
	if found == nil {
		return credential.Principal{}, credential.Refused{Reason: reasons.APIKeyUnknown, Detail: k.Keys.unknown(raw)}
	}
	p := found.principal(idOf(raw), r)
	switch {
	case k.Now().Unix() >= p.Expires:
		return credential.Principal{}, refused(&p, reasons.APIKeyExpired, "it expired at "+found.Expires.UTC().Format(time.RFC3339))
	case len(found.Resources) > 0 && !slices.Contains(found.Resources, r.URI):
		return credential.Principal{}, refused(&p, reasons.APIKeyNotAccepted, "the resources of the key do not list "+r.URI)
	}
	return p, nil
}

// refused names the holder, whom the secret has proven.
func refused(p *credential.Principal, reason reasons.Reason, detail string) error {
	return credential.Refused{Reason: reason, Subject: p.Subject, Client: p.Client, ID: p.ID, Detail: detail}
}

// notHere is the refusal of every key at an MCP server that takes none.
func notHere(r *resource.Resource) error {
	return credential.Refused{Reason: reasons.APIKeyNotAccepted, Detail: r.URI + " accepts no API keys: apiKeys.enabled is not set at its host"}
}

// never is the end of a key without one.
const never = math.MaxInt32 * 100 // some 6800 years from now, and a number that JSON readers keep

// ClientID is what rules, the audit log and the deny-list call the key with that name.
func ClientID(name string) string { return rule.KeyNamespace + ":" + name }

// Outsider is whom the rules of the policy are matched with.
func (k *Key) Outsider() *policy.Outsider {
	return &policy.Outsider{
		Person: connector.Identity{Provider: rule.KeyNamespace, Namespace: rule.KeyNamespace, Subject: k.Subject, Groups: k.Groups},
		Client: policy.Client{Key: oauth.ClientKey(ClientID(k.Name)), Kind: rule.KindKey},
	}
}

func (h *held) principal(id string, r *resource.Resource) credential.Principal {
	who := h.Outsider()
	expires := int64(never)
	if !h.Expires.IsZero() {
		expires = h.Expires.Unix()
	}
	return credential.Principal{
		Issuer: r.Host.Issuer, Audience: r.URI, Subject: who.Person.FullSubject(), Client: ClientID(h.Name), Scope: strings.Join(h.Scopes, " "), Groups: h.Groups,
		Outsider: who,
		Key:      &credential.Key{Tools: h.Tools, Sources: h.Sources},
		ID:       id, Expires: expires, Withdrawn: h.withdrawn,
	}
}
