package authorize

import (
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

func TestProblemOfAnError(t *testing.T) {
	for _, tc := range []struct {
		give   *oauth.Error
		want   page.Problem
		status int
		detail string
	}{
		{&oauth.Error{Code: oauth.InvalidRequest, Reason: "redirect_uri_mismatch", Description: "d"}, page.RedirectURIMismatch, 400, ""},
		{&oauth.Error{Code: oauth.InvalidClient, Reason: "unknown_client", Description: "d"}, page.UnknownClient, 400, ""},
		{oauth.Errorf(oauth.InvalidRequest, "code_challenge is missing"), page.InvalidRequest, 400, "code_challenge is missing"},
		{oauth.Errorf(oauth.UnsupportedResponseType, "response_type must be code"), page.InvalidRequest, 400, "response_type must be code"},
		{oauth.Errorf(oauth.InvalidScope, "d"), page.InvalidScope, 400, ""},
		{oauth.Errorf(oauth.InteractionRequired, "d"), page.InteractionRequired, 400, ""},
		{&oauth.Error{Code: oauth.ServerError}, page.ServerError, 500, ""},
		{&oauth.Error{Code: oauth.TemporarilyUnavailable, Reason: "something_new"}, page.TemporarilyUnavailable, 503, ""},
	} {
		if got := errorView(tc.give, "flow"); got.Problem != tc.want || got.Status != tc.status || got.Detail != tc.detail || got.FlowID != "flow" {
			t.Errorf("%v: %+v, want %+v", tc.give, got, tc)
		}
	}
	for reason, want := range map[reasons.Reason]page.Problem{
		"used_twice": page.UsedTwice, "consent_expired": page.ConsentExpired, "cross_site_form": page.CrossSiteForm, "other_provider": page.OtherProvider,
		"malformed_form": page.OtherBrowser, "server_error": page.OtherBrowser,
	} {
		if got := startAgainView(reason, "flow"); got.Problem != want || got.Status != 403 {
			t.Errorf("%s: %+v", reason, got)
		}
	}
}
