package config

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/jpeg"
	"image/png"
	"io/fs"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

const svgHead = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 8 8">`

// logos are files by name, for readLogo.
var logos = map[string]string{
	"logo.png":      pngOf(8, 8),
	"logo.jpg":      jpegOf(8, 8),
	"logo.webp":     "RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00",
	"logo.svg":      `<?xml version="1.0"?><!-- a mark -->` + svgHead + `<style>path{fill:#000}@media (prefers-color-scheme:dark){path{fill:#fff}}</style><path d="M0 0h8"/><use xlink:href="#a"/></svg>`,
	"named.png":     svgHead + `</svg>`,
	"script.svg":    svgHead + `<script>alert(1)</script></svg>`,
	"capital.svg":   svgHead + `<SCRIPT/></svg>`,
	"handler.svg":   svgHead + `<g onload="alert(1)"/></svg>`,
	"outside.svg":   svgHead + `<image href="https://evil.example/x.png"/></svg>`,
	"link.svg":      svgHead + `<a xlink:href="javascript:alert(1)"><path/></a></svg>`,
	"html.svg":      svgHead + `<foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject></svg>`,
	"doctype.svg":   `<!DOCTYPE svg [<!ENTITY a "b">]>` + svgHead + `</svg>`,
	"page.svg":      `<html><body><svg/></body></html>`,
	"foreign.svg":   `<svg xmlns="http://www.w3.org/1999/xhtml"/>`,
	"broken.svg":    svgHead + `<g></svg>`,
	"comment.svg":   `<!-- <svg -->`,
	"text.png":      "not an image",
	"empty.png":     "",
	"truncated.png": "\x89PNG\r\n\x1a\n",
	"wide.png":      pngOf(2049, 1),
	"large.svg":     svgHead + strings.Repeat(" ", 64<<10) + "</svg>",
}

func pngOf(w, h int) string {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		panic(err)
	}
	return b.String()
}

func jpegOf(w, h int) string {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)), nil); err != nil {
		panic(err)
	}
	return b.String()
}

func parseBranding(text string) (*Config, error) {
	return Parse([]byte(minimal+"branding: "+text+"\n"), func(name string) ([]byte, error) {
		content, ok := logos[name]
		switch {
		case ok:
			return []byte(content), nil
		case name == "secret":
			return []byte("secret"), nil
		}
		return nil, fs.ErrNotExist
	})
}

func TestBranding(t *testing.T) {
	if got := mustParse(t, minimal).Branding; got.Name != "" || got.LogoDataURI != "" || got.AccentColor != "" {
		t.Errorf("absent: %+v", got)
	}
	c, err := parseBranding(`{name: Example Corp, logoFile: logo.svg, accentColor: "#0A7D55", supportURL: "mailto:help@example.com", privacyURL: "https://example.com/privacy", termsURL: "https://example.com/terms"}`)
	if err != nil {
		t.Fatal(err)
	}
	if b := c.Branding; b.Name != "Example Corp" || b.LogoDataURI != "data:image/svg+xml;base64,"+base64.StdEncoding.EncodeToString([]byte(logos["logo.svg"])) || b.AccentColor != "#0a7d55" ||
		b.SupportURL != "mailto:help@example.com" || b.PrivacyURL != "https://example.com/privacy" || b.TermsURL != "https://example.com/terms" {
		t.Errorf("%+v", b)
	}
	for name, want := range map[string]string{"logo.png": "image/png", "logo.jpg": "image/jpeg", "logo.webp": "image/webp", "named.png": "image/svg+xml"} {
		if c, err := parseBranding("{logoFile: " + name + "}"); err != nil || !strings.HasPrefix(c.Branding.LogoDataURI, "data:"+want+";base64,") {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestBrandingMistakes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{accentColor: green}`, `branding.accentColor: "green" is not a colour`},
		{`{accentColor: "#fff"}`, "branding.accentColor: "},
		{`{accentColor: "#ffffff;}*{display:none"}`, "branding.accentColor: "},
		{`{accentColor: 123456}`, "branding.accentColor: must be text, not a number; put it in quotes"},
		{`{supportURL: "javascript:alert(1)"}`, "branding.supportURL: "},
		{`{supportURL: "http://help.example.com"}`, "branding.supportURL: "},
		{`{supportURL: "mailto:"}`, "branding.supportURL: "},
		{`{supportURL: "https:///x"}`, "branding.supportURL: "},
		{`{supportURL: "https://a:b@example.com/"}`, "branding.supportURL: "},
		{`{supportURL: "https://example.com/\u202e"}`, "branding.supportURL: "},
		{`{supportURL: help@example.com}`, `or "mailto:help@example.com"`},
		{`{privacyURL: "mailto:a@example.com"}`, "branding.privacyURL: "},
		{`{termsURL: /terms}`, "branding.termsURL: "},
		{`{name: "Exa\u202emple"}`, "branding.name: holds a control or invisible character"},
		{`{logo: logo.png}`, "branding.logo: unknown key"},
		{`{logoFile: nowhere.png}`, "branding.logoFile: there is no such file"},
		{`{logoFile: text.png}`, "branding.logoFile: is not a PNG, JPEG, WebP or SVG image"},
		{`{logoFile: empty.png}`, "branding.logoFile: is not a PNG, JPEG, WebP or SVG image"},
		{`{logoFile: truncated.png}`, "branding.logoFile: is not a PNG, JPEG, WebP or SVG image: "},
		{`{logoFile: wide.png}`, "branding.logoFile: has 2049 by 1 pixels"},
		{`{logoFile: large.svg}`, "branding.logoFile: the file is larger than 64 KiB"},
		{`{logoFile: script.svg}`, "<script> element"},
		{`{logoFile: capital.svg}`, "<SCRIPT> element"},
		{`{logoFile: handler.svg}`, `the script attribute "onload"`},
		{`{logoFile: outside.svg}`, "refers to something outside itself"},
		{`{logoFile: link.svg}`, "refers to something outside itself"},
		{`{logoFile: html.svg}`, "<foreignObject> element"},
		{`{logoFile: doctype.svg}`, "with a DOCTYPE"},
		{`{logoFile: page.svg}`, "its outermost element"},
		{`{logoFile: foreign.svg}`, "its outermost element"},
		{`{logoFile: broken.svg}`, "not well-formed"},
		{`{logoFile: comment.svg}`, "is not an SVG image"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			_, err := parseBranding(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.(conf.Errors)) != 1 {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
