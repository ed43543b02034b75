//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// TestShownHostIsTheBrowsers asks Node's URL, a parser of the WHATWG's standard
// as browsers have it, where each of many redirect URIs leads: for those that the
// service admits it is the host that people are shown.
func TestShownHostIsTheBrowsers(t *testing.T) {
	track(t)
	var uris, shown []string
	for _, uri := range trickyURIs() {
		kind, err := oauth.ClassifyRedirectURI(uri)
		if err != nil || kind == oauth.RedirectPrivateUse {
			continue
		}
		matched, ok := oauth.MatchRedirectURI([]string{uri}, uri)
		if !ok {
			t.Fatalf("%q does not match itself", uri)
		}
		uris, shown = append(uris, uri), append(shown, matched.DisplayHost())
	}
	if len(uris) < 1000 {
		t.Fatalf("only %d URIs are admitted", len(uris))
	}
	in, err := json.Marshal(uris)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node(t), "-e", `
		const uris = JSON.parse(require("fs").readFileSync(0, "utf8"))
		console.log(JSON.stringify(uris.map(u => { try { return new URL(u).host } catch { return null } })))`)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var hosts []*string
	if err := json.Unmarshal(out, &hosts); err != nil || len(hosts) != len(uris) {
		t.Fatalf("%d answers for %d URIs, %v", len(hosts), len(uris), err)
	}
	for i, host := range hosts {
		if host == nil {
			t.Errorf("%q is admitted, and no address to a browser", uris[i])
		} else if *host != shown[i] {
			t.Errorf("%q is shown as %q, and a browser goes to %q", uris[i], shown[i], *host)
		}
	}
	t.Logf("%d URIs", len(uris))
}

// trickyURIs are URIs put together of pieces on which parsers differ, the same
// ones each time.
func trickyURIs() []string {
	pieces := strings.Fields(`claude.ai evil.example xn--bcher-kva xn--a- xn-- xn--fsq xn--80ak6aa92e a b-c _x 1 0x7f 0177 127.0.0.1 2130706433 255 .
		.. - -- : :443 :80 :8443 :0443 @ / ? # \\ %E3%80%82 %2e %00 %40 [::1] [2001:DB8::0:1] [::ffff:1.2.3.4] [ ] ; & ! $ ' ( ) * + , = ~ ` + "` | < > \"" + ` localhost LOCALHOST A.Example 。 ß ＡB`)
	seeded := rand.New(rand.NewPCG(1, 2))
	var all []string
	for range 200_000 {
		var b strings.Builder
		b.WriteString([]string{"https://", "https://", "https://", "http://", "https:/", "https:", "https:///"}[seeded.IntN(7)])
		for range 1 + seeded.IntN(4) {
			b.WriteString(pieces[seeded.IntN(len(pieces))])
			if seeded.IntN(3) == 0 {
				b.WriteString(".")
			}
		}
		b.WriteString([]string{"", "/", "/cb", "?x"}[seeded.IntN(4)])
		all = append(all, b.String())
	}
	return all
}
