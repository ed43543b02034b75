package page

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // for image.DecodeConfig
	_ "image/png"
	"io"
	"io/fs"
	"net/url"
	"regexp"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Bounds of the logo, which is part of every page.
const (
	maxLogoBytes  = 64 << 10
	maxLogoPixels = 2048 // each side
)

var accentColor = regexp.MustCompile(`^#[0-9A-Fa-f]{6}$`)

// Brand is the `branding` section: what an operator may change. See docs/pages.md.
// The zero value is fine. A value that could make the page fetch or run something is
// ignored, not rendered.
type Brand struct {
	// Name at the top of each page, such as the company's. Default: none.
	Name string `json:"name" check:"text"`
	// File with the logo: PNG, JPEG, WebP, or SVG without scripts; at most 64 KiB, shown 2rem high. It becomes part of each page. A relative path starts at the directory of the configuration file. Default: none.
	LogoFile string `json:"logoFile"`
	// Colour of the main button, such as "#0a7d55". The button's text, and the shade of links and marks, follow from it so that all of it can be read, on light pages and dark ones. Default: a blue.
	AccentColor string `json:"accentColor"`
	// Where people get help, linked on each page: https or mailto. Default: none.
	SupportURL string `json:"supportURL"`
	// Privacy notice, linked on each page; https. Default: none.
	PrivacyURL string `json:"privacyURL"`
	// Terms of use, linked on each page; https. Default: none.
	TermsURL string `json:"termsURL"`

	// LogoDataURI is LogoFile as "data:image/…;base64,…": the pages never load a file.
	LogoDataURI string
}

// Resolve checks the section and reads the logo.
func (b *Brand) Resolve(c conf.Section) {
	checkLink(c, "supportURL", b.SupportURL, "https", "mailto")
	checkLink(c, "privacyURL", b.PrivacyURL, "https")
	checkLink(c, "termsURL", b.TermsURL, "https")
	if b.AccentColor != "" && !accentColor.MatchString(b.AccentColor) {
		c.Add(c.Key("accentColor"), `%s is not a colour such as "#0a7d55": a number sign and six hexadecimal digits, in quotes`, conf.Show(b.AccentColor))
	}
	b.AccentColor = strings.ToLower(b.AccentColor)
	if b.LogoFile != "" {
		data, mediaType := readLogo(c, c.Key("logoFile"), b.LogoFile)
		b.LogoDataURI = "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(data)
	}
}

// checkLink checks an address that the pages link.
func checkLink(c conf.Section, key, value string, schemes ...string) {
	at := c.Key(key)
	if value == "" {
		return
	}
	likely := `a URL such as "https://help.example.com/"`
	if len(schemes) > 1 {
		likely += ` or "mailto:help@example.com"`
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || len(value) > conf.MaxURL || conf.HasOther(value, conf.VisibleASCII):
		c.Add(at, "%s is not %s", conf.Show(value), likely)
	case u.Scheme == "https" && u.Hostname() != "" && u.User == nil:
	case u.Scheme == "mailto" && len(schemes) > 1 && strings.Contains(u.Opaque, "@"):
	default:
		c.Add(at, "%s is not %s", conf.Show(value), likely)
	}
}

// readLogo reads an image. What it is, its content says, not its name.
func readLogo(c conf.Section, at, name string) (data []byte, mediaType string) {
	data, err := c.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Add(at, "there is no such file; a relative path starts at the directory of the configuration file")
		return nil, ""
	case errors.Is(err, conf.ErrTooLarge), len(data) > maxLogoBytes:
		c.Add(at, "the file is larger than 64 KiB; it is part of every page")
		return nil, ""
	case err != nil:
		c.Add(at, "the file cannot be read")
		return nil, ""
	}
	mediaType, problem := imageType(data)
	if problem != "" {
		c.Add(at, "%s", problem)
	}
	return data, mediaType
}

// imageType sniffs an image that is fit for a page, or says what is wrong with it.
func imageType(data []byte) (mediaType, problem string) {
	const none = "is not a PNG, JPEG, WebP or SVG image"
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		mediaType = "image/png"
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		mediaType = "image/jpeg"
	case len(data) > 16 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return "image/webp", ""
	case bytes.Contains(data, []byte("<svg")):
		return "image/svg+xml", svgProblem(data)
	default:
		return "", none
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case err != nil:
		return "", none + ": " + err.Error()
	case c.Width > maxLogoPixels || c.Height > maxLogoPixels:
		return "", fmt.Sprintf("has %d by %d pixels; at most %d on each side are allowed", c.Width, c.Height, maxLogoPixels)
	}
	return mediaType, ""
}

// svgProblem says why an SVG is no picture alone, or "". In an image element no
// browser runs its scripts or loads what it refers to; refusing both says so to
// the operator, and keeps the file harmless wherever it goes next.
func svgProblem(data []byte) string {
	d := xml.NewDecoder(bytes.NewReader(data))
	root := true
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if root {
				return "is not an SVG image"
			}
			return ""
		}
		if err != nil {
			return "is not an SVG image: it is not well-formed XML"
		}
		switch t := token.(type) {
		case xml.Directive:
			return "is an SVG image with a DOCTYPE; take it out"
		case xml.StartElement:
			if root && (t.Name.Local != "svg" || t.Name.Space != "http://www.w3.org/2000/svg") {
				return `is not an SVG image: its outermost element must be <svg xmlns="http://www.w3.org/2000/svg">`
			}
			root = false
			if problem := elementProblem(t); problem != "" {
				return problem
			}
		}
	}
}

func elementProblem(e xml.StartElement) string {
	switch strings.ToLower(e.Name.Local) {
	case "script", "foreignobject", "handler", "listener", "iframe", "object", "embed", "audio", "video":
		return fmt.Sprintf("is an SVG image with a <%s> element; a logo is a picture alone", e.Name.Local)
	}
	for _, a := range e.Attr {
		name := strings.ToLower(a.Name.Local)
		switch {
		case strings.HasPrefix(name, "on"):
			return fmt.Sprintf("is an SVG image with the script attribute %s; take it out", conf.Show(a.Name.Local))
		case name == "href" && !strings.HasPrefix(a.Value, "#") && !strings.HasPrefix(a.Value, "data:image/"):
			return "is an SVG image that refers to something outside itself; put it into the file"
		}
	}
	return ""
}
