// Package migrate translates the configuration of another proxy into one of this
// service. A predecessor is one file here and one line in Kinds. Each declares every
// option that its program knows, with what becomes of it; an option that is not
// declared is unknown and refused, and one that is declared and not carried over is
// reported. What was unsafe is reported and replaced by what lets fewer people in.
package migrate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Kind is a predecessor.
type Kind struct {
	Name string // as in --from
	// Title is how its project is called, Home where it is, Version what was read of it.
	Title, Home, Version string
	// Reads says which files Translate takes.
	Reads string
	// About is what else its users should know, in Markdown.
	About   string
	Options []Option
	read    func(*given, File)
	// translate fills in what was given is to become.
	translate func(*translation)
}

// Option is one setting of a predecessor.
type Option struct {
	// Name is the option as its program spells it: a flag without its hyphens, a
	// variable, or the path of a key, in which "[]" is each entry of a list.
	Name string
	// Becomes is the key of this service, or "" where there is none.
	Becomes string
	// Note is what is different, or why there is no such key.
	Note string
	// Secret: the value is a secret.
	Secret bool
	// Restricts: it keeps people out, so a configuration without it would let in
	// more. Where it cannot be translated, nothing is.
	Restricts bool
	// Chart: it is a value of the predecessor's chart, and means the same in this one's.
	Chart bool
}

// Kinds are the predecessors.
func Kinds() []Kind {
	return []Kind{oauth2Proxy(), mcpOAuth2Proxy(), obot(), wso2(), mcpFramework(), mcpAuthProxy()}
}

// Of finds the kind that is called name.
func Of(name string) (Kind, error) {
	var names []string
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Kind{}, fmt.Errorf("--from %q is not one of %s", name, strings.Join(names, ", "))
}

// File is a file of the predecessor.
type File struct {
	Name string
	Text []byte
}

// Request is what to translate, and what the files may not say.
type Request struct {
	Kind  Kind
	Files []File
	// URL is the public URL of the MCP server, Server the one that this service
	// reaches it by. They go before what the files say.
	URL, Server string
	// EmailDomains are the domains of the people who may sign in.
	EmailDomains []string
	// Chart: the result is values of the Helm chart.
	Chart bool
	// SecretsDir is the directory that the configuration names for secrets.
	SecretsDir string
}

// Secret is a value that belongs in a file of its own.
type Secret struct {
	Name  string // of the file
	Path  string // as the configuration names it
	Value conf.Secret
	Holds string // says what it is
	New   bool   // made here; the predecessor had another or none
}

// Remark is something to know about an option.
type Remark struct{ Option, Text string }

// Result is a translation.
type Result struct {
	// Config is the configuration, or values of the chart.
	Config  []byte
	Secrets []Secret
	// Unsafe is what the predecessor allowed and this configuration does not.
	Unsafe []Remark
	// Lost are options without a counterpart.
	Lost []Remark
	// Steps are left to do.
	Steps []string
}

// secretsName is the Secret of the cluster that holds the files, for the chart.
const secretsName = "mcp-forward-auth-migrated"

// Translate translates. The error joins every mistake in the files, one a line;
// none of them shows a value that may be secret.
func Translate(r Request) (*Result, error) {
	in := &given{options: r.Kind.Options, values: map[string]value{}}
	for _, f := range r.Files {
		r.Kind.read(in, f)
	}
	if len(in.mistakes) == 0 && len(in.values) == 0 {
		in.mistake("", "there is no option in %s", fileNames(r.Files))
	}
	return translate(r, in)
}

// translate is Translate once the files are read.
func translate(r Request, in *given) (*Result, error) {
	t := &translation{request: r, given: in, result: &Result{}, doc: newDocument()}
	if len(in.mistakes) == 0 {
		r.Kind.translate(t)
		t.leftOver()
	}
	if len(in.mistakes) > 0 {
		slices.Sort(in.mistakes)
		var all []error
		for _, m := range slices.Compact(in.mistakes) {
			all = append(all, errors.New(m))
		}
		return nil, errors.Join(all...)
	}
	t.finish()
	return t.result, nil
}

func fileNames(files []File) string {
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}
