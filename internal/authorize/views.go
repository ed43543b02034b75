package authorize

import (
	"html/template"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// view is an error page on its way; Continue is its one door to a client.
type view struct{ page.Error }

// Continue offers the user the way back to the client. target is a response to
// a matched redirect URI, made by errorRedirect.
func (v *view) Continue(target, host string) {
	v.ContinueURL = template.URL(target)
	v.ContinueLabel = "Return to " + host
}

// texts say what happened and what to do next, by audit reason or error code.
var texts = map[string]struct{ title, what, next string }{
	"unknown_client": {
		"This app is not known here",
		"The app that sent you here uses a client id that this service did not issue, or that its rules no longer accept.",
		"In the app, remove this MCP server's saved sign-in and connect again, so that it registers anew.",
	},
	"client_document_unavailable": {
		"The app cannot be recognised right now",
		"The app is known by a document that its maker publishes, and that document does not come. Nothing was granted.",
		"Wait a minute and connect again from the app. If it happens again, tell the app's maker.",
	},
	"client_document_invalid": {
		"The app is not accepted here",
		"The app is known by a document that its maker publishes. The document is not valid, or this service does not accept apps from there.",
		"Ask whoever runs this service, or the app's maker.",
	},
	"client_id_missing": {
		"The app did not say who it is",
		"The request has no client_id.",
		"Connect again from your MCP client. If it happens again, tell the app's maker.",
	},
	"redirect_uri_mismatch": {
		"The app asked to be answered at an address it did not register",
		"For your safety nothing was sent there. This is the address:",
		"If you know the app, remove this MCP server's saved sign-in in it and connect again.",
	},
	"redirect_uri_missing": {
		"The app did not say where to answer",
		"The request has no redirect_uri, and the app registered more than one.",
		"Connect again from your MCP client. If it happens again, tell the app's maker.",
	},
	string(oauth.InvalidScope): {
		"The app asked for permissions that do not exist here",
		"None of the permissions that the app asked for is offered by this MCP server.",
		"Return to the app and connect again, or ask whoever runs the MCP server.",
	},
	string(oauth.InvalidTarget): {
		"The app asked for an MCP server that is not here",
		"The address of the MCP server in the request does not belong to this host.",
		"Check the address of the MCP server in your app.",
	},
	string(oauth.TemporarilyUnavailable): {
		"Sign-in is not possible right now",
		"A part that is needed to sign you in does not answer.",
		"Wait a moment and connect again from your app.",
	},
	string(oauth.ServerError): {
		"Something went wrong on our side",
		"The service could not finish your request. Nothing was granted.",
		"Connect again from your app. If it happens again, give the number below to whoever runs this service.",
	},
	"too_many_requests": {
		"Too many requests right now",
		"This service bounds how many sign-ins it answers in a minute. Nothing was granted.",
		"Wait a minute and connect again from your app.",
	},
	"consent_expired": {
		"This page was open for too long",
		"Nothing was granted.",
		"Connect again from your app.",
	},
	"used_twice": {
		"This step was already done",
		"Each sign-in can be answered once. Nothing more was granted.",
		"If your app is still waiting, connect again from it.",
	},
	"cross_site_form": {
		"That request came from another site",
		"Only this service's own pages may answer for you. Nothing was granted.",
		"Connect again from your app.",
	},
	"unknown_provider": {
		"That way to sign in does not exist here",
		"The page asked for an identity provider that this service does not have, or has no more. Nothing was granted.",
		"Connect again from your app.",
	},
	"other_provider": {
		"The answer came from another identity provider",
		"You chose one way to sign in, and the answer came by another. For your safety it was not used, and nothing was granted.",
		"Connect again from your app. If it happens again, tell whoever runs this service.",
	},
	"other_browser": {
		"This sign-in began somewhere else",
		"It was begun in another browser or window, it is too old, or your browser blocks cookies for this site. Nothing was granted.",
		"Connect again from your app and finish in the browser that it opens.",
	},
}

// errorView is the page for a protocol error.
func errorView(oe *oauth.Error, flow string) view {
	v := view{page.Error{Status: oe.Code.Status(), FlowID: flow}}
	if oe.Code == oauth.InvalidClient {
		v.Status = http.StatusBadRequest // 401 is for the token endpoint; here no credential would help
	}
	t, ok := texts[oe.AuditReason()]
	if !ok {
		t, ok = texts[string(oe.Code)]
	}
	if !ok {
		t = struct{ title, what, next string }{
			"The app's request is not valid", "Reason: " + oe.Description + ".",
			"Connect again from your app. If it happens again, tell the app's maker.",
		}
	}
	v.Title, v.What, v.Next = t.title, t.what, t.next
	return v
}

// startAgainView is the page for a form or callback that is not ours to honour.
func startAgainView(reason, flow string) view {
	t, ok := texts[reason]
	if !ok {
		t = texts["other_browser"]
	}
	return view{page.Error{Status: http.StatusForbidden, Title: t.title, What: t.what, Next: t.next, FlowID: flow}}
}

// TooMany writes the page for a limit that is reached; flow may be "".
func TooMany(pages *page.Renderer, w http.ResponseWriter, slow *web.TooMany, flow string) {
	slow.Headers(w.Header())
	t := texts["too_many_requests"]
	pages.Error(w, page.Error{Status: http.StatusTooManyRequests, Title: t.title, What: t.what, Next: t.next, FlowID: flow})
}

func declinedView(flow string) view {
	return view{page.Error{
		Status: http.StatusForbidden, FlowID: flow, Title: "You declined",
		What: "Nothing was granted, and the app was not told anything about you.",
		Next: "You can close this window.",
	}}
}
