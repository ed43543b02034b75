package doctor

import (
	"net/http"
	"regexp"
)

// gatewayPage is what gateways themselves write for a refusal, so that it says nothing
// of a firewall in front of them. That of Amazon's load balancer is its firewall's.
var gatewayPage = regexp.MustCompile(`(?i)<center>(nginx|openresty|tengine)\b|<address>Apache|Request forbidden by administrative rules`)

// front says what is wrong with an answer that comes from something in front of the
// gateway, fine if it does not look so. No gateway and no server behind it was reached.
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
