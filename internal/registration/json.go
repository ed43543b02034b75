package registration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// maxJSONDepth bounds how deep metadata nests. A jwks has depth four.
const maxJSONDepth = 8

// knownMembers are the members that matter here. A member that differs from one of them
// in case only is refused, because some parsers would take it for the real one.
var knownMembers = []string{
	"client_id", "client_secret", "client_secret_expires_at", "redirect_uris", "client_name", "token_endpoint_auth_method",
	"token_endpoint_auth_methods_supported", "grant_types", "response_types", "application_type", "scope", "jwks", "jwks_uri",
	"dpop_bound_access_tokens", "require_pushed_authorization_requests",
}

// objectMembers splits a JSON object into its members. It refuses repeated names at any
// depth, known names in another case, deep nesting, invalid UTF-8, data after the object,
// and everything that is not an object (RFC 8259, sections 4 and 8.1).
func objectMembers(body []byte) (map[string]json.RawMessage, error) {
	out, err := strictjson.Members(body, maxJSONDepth)
	if err != nil {
		return nil, err
	}
	for name := range out {
		if slices.ContainsFunc(knownMembers, func(k string) bool { return k != name && strings.EqualFold(k, name) }) {
			return nil, fmt.Errorf("has the member %.40q, which is a known one in another case", name)
		}
	}
	return out, nil
}

// present reports whether there is a member of this name. A null counts as absent.
func present(members map[string]json.RawMessage, name string) bool {
	raw, ok := members[name]
	return ok && string(raw) != "null"
}

// member decodes a member into target, if it is there. A null counts as absent.
func member(members map[string]json.RawMessage, name string, target any) error {
	if !present(members, name) {
		return nil
	}
	if err := json.Unmarshal(members[name], target); err != nil {
		return fmt.Errorf("has the member %s with a wrong type", name)
	}
	return nil
}
