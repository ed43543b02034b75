package page

import (
	"net/url"
	"regexp"

	"github.com/a-h/templ"
)

type brand struct {
	Name                             string
	SupportURL, PrivacyURL, TermsURL string
	// Logo is "" or what imageData allows: templates take no other address with data in it.
	Logo templ.SafeURL
}

// imageData: an image element runs no script and loads nothing, whatever an SVG holds.
var imageData = regexp.MustCompile(`^data:image/(png|jpeg|webp|svg\+xml);base64,[A-Za-z0-9+/]+=*$`)

func checkBrand(b Brand) brand {
	out := brand{
		Name:       DisplayText(b.Name, maxName),
		SupportURL: link(b.SupportURL, "https", "mailto"), PrivacyURL: link(b.PrivacyURL, "https"), TermsURL: link(b.TermsURL, "https"),
	}
	if imageData.MatchString(b.LogoDataURI) {
		out.Logo = templ.SafeURL(b.LogoDataURI)
	}
	return out
}

// link returns address if its scheme is one of schemes.
func link(address string, schemes ...string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	for _, s := range schemes {
		if u.Scheme == s {
			return address
		}
	}
	return ""
}
