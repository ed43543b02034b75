package dpop

import (
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// maxURL bounds an htu.
const maxURL = 2 << 10

// sameURL reports whether the htu of a proof is the URL of a request, both without
// query and fragment (RFC 9449, section 4.3, check 9). Clients spell URLs
// differently, so that is compared after the normalisation of RFC 3986, sections
// 6.2.2 and 6.2.3. A path with and without a slash at its end stay two URLs.
func sameURL(htu, origin, path string) bool {
	if end := strings.IndexAny(htu, "?#"); end >= 0 {
		htu = htu[:end]
	}
	if rest, ok := strings.CutPrefix(htu, origin); ok && rest == path && path != "" {
		return true
	}
	claimed, ok := normal(htu)
	if !ok {
		return false
	}
	asked, ok := normal(origin + path)
	return ok && claimed == asked
}

// normal returns the normal form of an http or https URL without query.
func normal(raw string) (string, bool) {
	if len(raw) > maxURL {
		return "", false
	}
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || c == '\\' {
			return "", false
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Host == "" || u.User != nil {
		return "", false
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && scheme != "http" {
		return "", false
	}
	host, err := oauth.CanonicalHost(u.Host, scheme)
	if err != nil {
		return "", false
	}
	_, rest, _ := strings.Cut(raw, "://")
	path := "/"
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		path = removeDots(normalPercents(rest[slash:]))
	}
	return scheme + "://" + host + path, true
}

// normalPercents writes percent-encoded bytes in upper case, and those that need no
// encoding as themselves (RFC 3986, sections 6.2.2.1 and 6.2.2.2).
func normalPercents(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b.WriteByte(path[i])
			continue
		}
		encoded := path[i : i+3]
		plain, err := url.PathUnescape(encoded)
		if err == nil && strings.Contains(unreserved, plain) {
			b.WriteString(plain)
		} else {
			b.WriteString(strings.ToUpper(encoded))
		}
		i += 2
	}
	return b.String()
}

// removeDots removes dot segments from an absolute path (RFC 3986, section 5.2.4).
func removeDots(path string) string {
	var out []string
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		switch last := i == len(segments)-1; s {
		case ".", "..":
			if s == ".." && len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}
