package migrate

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// Report tells people what the configuration does not: what was unsafe, what has no
// counterpart, which files to make and what else to do. Written says that the secrets
// are in their files. No secret is shown.
func (r *Result) Report(w io.Writer, written bool) error {
	var b bytes.Buffer
	remarks := func(title string, all []Remark) {
		if len(all) == 0 {
			return
		}
		fmt.Fprintln(&b, title)
		for _, m := range all {
			fmt.Fprintf(&b, "  %s: %s\n", m.Option, m.Text)
		}
	}
	remarks("Was unsafe, and is not so here:", r.Unsafe)
	remarks("Without a counterpart:", r.Lost)
	if len(r.Secrets) > 0 {
		fmt.Fprintln(&b, map[bool]string{true: "Secrets, written:", false: "Secrets, to write into files that only this service may read, or run again with --secrets DIR:"}[written])
		for _, s := range r.Secrets {
			fmt.Fprintf(&b, "  %s: %s\n", s.Path, s.what(written))
		}
	}
	if len(r.Steps) > 0 {
		fmt.Fprintln(&b, "Left to do:")
		for _, s := range r.Steps {
			fmt.Fprintf(&b, "  %s\n", s)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// what says what a secret's file holds.
func (s Secret) what(written bool) string {
	switch {
	case written || !s.New:
		return s.Holds
	case s.Name == "seed":
		return "at least 32 random bytes, such as of: openssl rand -hex 32"
	}
	return s.Holds + ", whose hash is in the configuration; only --secrets writes it"
}

// chartOnly are the values of the chart that are no sections of the configuration.
// They are those that a kind may write.
func chartOnly(key string) bool {
	for _, k := range Kinds() {
		for _, o := range k.Options {
			if o.Chart && strings.SplitN(o.Name, ".", 2)[0] == key {
				return true
			}
		}
	}
	return key == "existingSecrets"
}

// Plain is the configuration that Config stands for: itself, or without what only
// the chart knows.
func (r *Result) Plain() []byte {
	var doc yaml.Node
	if err := yaml.Unmarshal(r.Config, &doc); err != nil || len(doc.Content) == 0 {
		return r.Config
	}
	root := doc.Content[0]
	kept := root.Content[:0:0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		if !chartOnly(root.Content[i].Value) {
			kept = append(kept, root.Content[i], root.Content[i+1])
		}
	}
	root.Content = kept
	plain, err := yaml.Marshal(&doc)
	if err != nil {
		return r.Config
	}
	return plain
}
