package forwardauth

import (
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// target is what a gateway asks about.
type target struct {
	host     *resource.Host
	resource *resource.Resource
	// metadataPath is the path whose metadata document the challenge names, so
	// that the document's resource is the URL the client called (RFC 9728, section 3.3).
	metadataPath string
}

// nginx reads the dialect of nginx and ingress-nginx: X-Original-URL is the
// client's URL, always set by the gateway. Host is the client's, or that of the
// auth-url when the gateway calls us by a name of its own; a Host of ours must
// agree with the URL. Without X-Original-URL the Host's only resource is meant.
func (e *Endpoint) nginx(r *http.Request) (target, Reason) {
	byHost := e.Resources.Host(r.Host)
	original := r.Header["X-Original-Url"]
	switch {
	case len(original) > 1:
		return target{host: byHost}, AmbiguousTarget
	case len(original) == 0:
		if byHost == nil {
			return target{}, UnknownHost
		}
		res, ok := byHost.Default()
		if !ok {
			return target{host: byHost}, AmbiguousTarget
		}
		return target{byHost, res, res.Path}, Allowed
	}
	hostport, path, ok := splitURL(original[0])
	if !ok {
		return target{host: byHost}, AmbiguousTarget
	}
	host := e.Resources.Host(hostport)
	if host == nil {
		return target{}, UnknownHost
	}
	// ingress-nginx sends the Host without its port, so only names are compared.
	if byHost != nil && byHost != host && hostname(byHost.Name) != hostname(host.Name) {
		return target{host: host}, AmbiguousTarget
	}
	return e.at(host, path)
}

// at finds the resource of host that path belongs to.
func (e *Endpoint) at(host *resource.Host, path string) (target, Reason) {
	if res := host.Covering(path); res != nil {
		return target{host, res, path}, Allowed
	}
	if !oauth.PlainPath(path) {
		return target{host: host}, AmbiguousTarget
	}
	return target{host: host}, UnknownResource
}

// splitURL splits "scheme://host/path?query" without decoding anything.
func splitURL(raw string) (hostport, path string, ok bool) {
	_, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", "", false
	}
	slash := strings.IndexByte(rest, '/')
	if slash <= 0 {
		return "", "", false
	}
	path, _, _ = strings.Cut(rest[slash:], "?")
	return rest[:slash], path, true
}

func hostname(hostport string) string {
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		return hostport[:i]
	}
	return hostport
}
