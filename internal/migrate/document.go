package migrate

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// document is the configuration that is being written: keys in the order in which
// they were set, each with the comment above it.
type document struct{ root *yaml.Node }

func newDocument() *document { return &document{&yaml.Node{Kind: yaml.MappingNode}} }

// set writes v at path, whose parts are keys and, in lists, numbers: "proxy.hosts.0.host".
func (d *document) set(path string, v any, comment ...string) {
	node := &yaml.Node{}
	if err := node.Encode(v); err != nil {
		panic(fmt.Sprintf("migrate: %s: %v", path, err)) // the kinds of this package give plain values
	}
	if node.Kind == yaml.SequenceNode && len(node.Content) > 0 && node.Content[0].Kind == yaml.ScalarNode {
		node.Style = yaml.FlowStyle
	}
	at := d.root
	parts := strings.Split(path, ".")
	for i, part := range parts {
		next := &yaml.Node{Kind: yaml.MappingNode}
		if i+1 < len(parts) {
			if _, err := strconv.Atoi(parts[i+1]); err == nil {
				next = &yaml.Node{Kind: yaml.SequenceNode}
			}
		} else {
			next = node
		}
		at = child(at, part, next, i+1 == len(parts), wrap(strings.Join(comment, "\n")))
	}
}

// child returns what stands at part of parent, and puts next there if nothing does.
func child(parent *yaml.Node, part string, next *yaml.Node, last bool, comment string) *yaml.Node {
	if parent.Kind == yaml.SequenceNode {
		n, _ := strconv.Atoi(part)
		if n < len(parent.Content) {
			return parent.Content[n]
		}
		parent.Content = append(parent.Content, next)
		return next
	}
	for i := 0; i < len(parent.Content); i += 2 {
		if parent.Content[i].Value == part {
			if last {
				*parent.Content[i+1] = *next
				parent.Content[i].HeadComment = comment
			}
			return parent.Content[i+1]
		}
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Value: part}
	if last {
		key.HeadComment = comment
	}
	parent.Content = append(parent.Content, key, next)
	return next
}

// has reports whether anything stands at path.
func (d *document) has(path string) bool {
	at := d.root
	for part := range strings.SplitSeq(path, ".") {
		found := false
		switch at.Kind {
		case yaml.SequenceNode:
			if n, err := strconv.Atoi(part); err == nil && n < len(at.Content) {
				at, found = at.Content[n], true
			}
		case yaml.MappingNode:
			for i := 0; i < len(at.Content); i += 2 {
				if at.Content[i].Value == part {
					at, found = at.Content[i+1], true
					break
				}
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// text is the document below a comment for the whole of it.
func (d *document) text(head string) []byte {
	var out bytes.Buffer
	for line := range strings.SplitSeq(wrap(head), "\n") {
		out.WriteString(line + "\n")
	}
	out.WriteString("\n")
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(d.root); err != nil {
		panic("migrate: " + err.Error()) // nodes made here can be written
	}
	return out.Bytes()
}

// wrap makes comment lines of text, of at most 100 columns.
func wrap(text string) string {
	if text == "" {
		return ""
	}
	var out []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := "#"
		for word := range strings.FieldsSeq(paragraph) {
			if len(line)+1+len(word) > 100 {
				out = append(out, line)
				line = "#"
			}
			line += " " + word
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
