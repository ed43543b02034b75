package certificate

import (
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// ToHTTPS sends browsers from plain HTTP to the public address of the host that
// they asked. Other requests are refused: what they carry was readable on the way,
// and a client that is sent on would not notice.
func ToHTTPS(hosts ...*resource.Host) http.Handler {
	issuers := map[string]string{}
	for _, h := range hosts {
		if name := nameOf(h.Name); h.Secure && issuers[name] == "" {
			issuers[name] = h.Issuer
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		issuer, ok := issuers[strings.TrimSuffix(strings.ToLower(nameOf(r.Host)), ".")]
		switch {
		case !ok:
			web.JSON(w, http.StatusMisdirectedRequest, web.ErrorBody{Error: "misdirected_request", Description: "this host is not configured here"})
		case r.Method != http.MethodGet && r.Method != http.MethodHead, r.Header["Authorization"] != nil, !strings.HasPrefix(r.URL.RequestURI(), "/"):
			web.JSON(w, http.StatusForbidden, web.ErrorBody{Error: "invalid_request", Description: "use https"})
		default:
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Location", issuer+r.URL.RequestURI())
			w.WriteHeader(http.StatusPermanentRedirect)
		}
	})
}
