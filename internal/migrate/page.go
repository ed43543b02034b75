package migrate

import (
	"fmt"
	"strings"
)

// Page is the document about a predecessor, in Markdown: each option and what
// becomes of it.
func (k Kind) Page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# From %s\n\n<!-- Generated from internal/migrate by `go test ./internal/migrate -run Pages -update`. -->\n\n", k.Title)
	fmt.Fprintf(&b, "`mcp-forward-auth migrate --from %s FILE…` translates a configuration of [%s](%s), as its options were in the version %s. It reads %s.\n\n%s\n\n", k.Name, k.Title, k.Home, k.Version, k.Reads, k.About)
	b.WriteString("Secrets in the clear go into files of their own. An option that keeps people out and cannot be translated is an error, so that a translation never lets in more people than before.\n\n")
	b.WriteString("| Option | Becomes | |\n|---|---|---|\n")
	for _, o := range k.Options {
		becomes := "nothing"
		if o.Becomes != "" {
			becomes = "`" + o.Becomes + "`"
		}
		note := o.Note
		if o.Secret {
			note = strings.TrimPrefix(note+"; in a file of its own", "; ")
		}
		if o.Chart {
			note = "the same value of the chart, with `--chart`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(o.Name, "|", `\|`), becomes, strings.NewReplacer("|", `\|`, "*@DOMAIN", "`*@DOMAIN`", "<", "&lt;").Replace(note))
	}
	return b.String()
}
