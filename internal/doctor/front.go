package doctor

import (
	"net/http"
	"regexp"
)

// gatewayPage matches the refusals that gateways write themselves, which do not point
// to a firewall in front of them. The page of Amazon's load balancer comes from its
// firewall.
var gatewayPage = regexp.MustCompile(`(?i)<center>(nginx|openresty|tengine)\b|<address>Apache|Request forbidden by administrative rules`)

// nginxPage matches the pages that nginx and its relatives write themselves.
var nginxPage = regexp.MustCompile(`<center>(nginx|openresty|tengine)\b`)

// overLimit reports whether an answer is that of a limit on requests. nginx says 503 for
// limit_req and limit_conn unless it is told another status; about servers behind it it
// says 502 and 504.
func overLimit(a *answer) bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable && a.media() == "text/html" && nginxPage.Match(a.body)
}

// front returns what is wrong with an answer that comes from something in front of the
// gateway, so that neither the gateway nor the server was reached; fine if it does not
// look so.
func front(a *answer) problem {
	switch s := a.status; {
	case s == http.StatusTooManyRequests:
		return limited
	case a.header.Get("Cf-Mitigated") != "" || a.header.Get("X-Amzn-Waf-Action") != "" || a.header.Get("X-Sucuri-Block") != "":
		return filtered
	case s >= 520 && s <= 527 || s == 530: // Cloudflare's, about the server behind it
		return noOrigin
	case (s == http.StatusForbidden || s == http.StatusNotAcceptable) && a.media() == "text/html" && !gatewayPage.Match(a.body):
		return filtered
	}
	return fine
}
