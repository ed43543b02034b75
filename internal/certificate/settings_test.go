package certificate_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
)

func TestSettings(t *testing.T) {
	for section, want := range map[string]string{
		"{}": "",
		"{acme: {enabled: true, agreeToTerms: true, cacheDir: /var/lib/x, email: ops@example.com}, redirect: ':80'}": "",
		"{acme: {enabled: true}}": "tls.acme.agreeToTerms: is required|tls.acme.cacheDir: is required",
		"{acme: {enabled: true, agreeToTerms: true, cacheDir: x, directoryURL: 'http://ca.example'}}": `tls.acme.directoryURL: "http://ca.example" must use https`,
		"{acme: {email: a, cacheDir: x}}": "tls.acme.cacheDir: has no effect while tls.acme.enabled is false|tls.acme.email: has no effect",
		"{redirect: ':80'}":               "tls.redirect: sends to https, which needs tls.certificates or tls.acme",
		"{certificates: [{certFile: c, keyFile: k}], redirect: nowhere}":     `tls.redirect: "nowhere" is not an address such as ":80"|tls.certificates[0].certFile: and keyFile are not a certificate and its key`,
		"{certificates: [{certFile: c}, {keyFile: k}]}":                      "tls.certificates[0].keyFile: is empty; name a file|tls.certificates[1].certFile: is empty; name a file",
		"{certificates: [{certFile: nowhere, keyFile: k}]}":                  "tls.certificates[0].certFile: there is no such file",
		"{certificates: [{certFile: c, keyFile: k}], acme: {enabled: true}}": "tls.acme.enabled: is another source of certificates than tls.certificates",
	} {
		err := parse(section, "mcp.example.com, scheme: https")
		for _, mistake := range strings.Split(want, "|") {
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), mistake) {
				t.Errorf("%s:\n%v\nwant\n%s", section, err, want)
			}
		}
	}
	const acme = "{acme: {enabled: true, agreeToTerms: true, cacheDir: x}}"
	for host, want := range map[string]string{
		"'127.0.0.1:8443'": `"127.0.0.1" is no public DNS name`, "intranet": `"intranet" is no public DNS name`, "localhost, scheme: http": "no host has the scheme https", "'mcp.example.com:8443'": "",
	} {
		if err := parse(acme, host); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func parse(section, host string) error {
	_, err := config.Parse([]byte(`
provider: {name: oidc, issuerURL: "https://login.example.com", clientID: x, clientSecret: none}
proxy: {hosts: [{endpoint: "http://mcp/mcp", host: `+host+`}]}
tls: `+section+"\n"), func(name string) ([]byte, error) {
		if name == "nowhere" {
			return nil, fs.ErrNotExist
		}
		return []byte("no PEM"), nil
	})
	return err
}
