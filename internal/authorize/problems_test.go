package authorize

import (
	"slices"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// A page has the words of the audit log: each of its problems is a reason or the code of
// an OAuth error, so that neither can be renamed alone.
func TestProblemsAreReasons(t *testing.T) {
	codes := []oauth.ErrorCode{oauth.InvalidScope, oauth.InvalidTarget, oauth.InvalidRequest, oauth.InteractionRequired, oauth.TemporarilyUnavailable, oauth.ServerError}
	for _, p := range slices.DeleteFunc(slices.Clone(page.Problems), func(p page.Problem) bool { return p == page.TooManyRequests || p == page.PageNotAllowed }) { // that of every limit
		if !slices.Contains(reasons.All(), reasons.Reason(p)) && !slices.Contains(codes, oauth.ErrorCode(p)) {
			t.Errorf("%q is neither a reason nor the code of an error", p)
		}
	}
}
